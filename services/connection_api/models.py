"""What the REST API takes and gives: one pydantic model per body, query and answer.

Unknown fields are refused, every length is bounded, and secrets only ever come in.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema

from shared.connections import LiveBy, State
from shared.destinations import DEFAULT_SCHEMA, Destination
from shared.syncs import Kind, Status

PAGE_SIZE = 25
LARGEST_PAGE = 100
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"

Id = Annotated[str, Field(pattern=r"^[a-z]{2,8}_[a-z0-9]{1,64}$")]
StripeId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]{1,255}$")]
ResourceName = Annotated[str, Field(pattern=r"^[a-z0-9_.]{1,100}$")]


def _text_only(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("Give the date as text, such as 2025-01-31 or 2025-01-31T12:00:00Z")
    return value


def _in_utc(at: datetime) -> datetime:
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("This date is too far away") from error


# A day means its beginning in UTC, and so does a time without a zone.
StartDate = Annotated[
    datetime,
    BeforeValidator(_text_only),
    AfterValidator(_in_utc),
    WithJsonSchema({"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]}),
]


class Input(BaseModel):
    """What a caller sends."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """What a caller gets."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class DestinationTest(Input):
    """A Postgres address that is to be tried."""

    url: SecretStr = Field(
        min_length=1, max_length=2000, description="`postgresql://user:password@host:5432/database?sslmode=require`"
    )
    schema_name: str = Field(
        default=DEFAULT_SCHEMA, alias="schema", min_length=1, max_length=63, description="Where the tables are made."
    )


class NewDestination(DestinationTest):
    """A Postgres database that rows shall go to."""

    name: str = Field(min_length=1, max_length=100, pattern=PRINTABLE, description="What people call it.")


class NewConnectionBody(Input):
    """A Stripe account that is to be connected."""

    api_key: SecretStr = Field(max_length=1000, description="A restricted key, `rk_live_…`.")
    destination_ids: tuple[Id, ...] = Field(min_length=1, max_length=20)
    start_date: StartDate | None = Field(
        default=None, description="Objects made before it are left out; everything, if it is not given."
    )
    resources: tuple[ResourceName, ...] | None = Field(
        default=None, min_length=1, max_length=100, description="Names of the catalogue; its defaults, if not given."
    )
    account_id: str | None = Field(
        default=None,
        pattern=r"^acct_[A-Za-z0-9]{1,64}$",
        description="Needed only where Stripe does not tell the key which account it belongs to.",
    )


class PageQuery(Input):
    """Which part of a list is wanted."""

    limit: int = Field(default=PAGE_SIZE, ge=1, le=LARGEST_PAGE)
    cursor: str | None = Field(
        default=None, max_length=500, pattern=r"^[A-Za-z0-9_\-]+$", description="`next_cursor` of the page before."
    )


class EventQuery(PageQuery):
    """Which events are wanted."""

    connection_id: Id | None = None
    event_id: StripeId | None = None
    object_id: StripeId | None = None


class DestinationAnswer(Answer):
    """A destination, without its password."""

    id: str
    name: str
    host: str
    port: int
    database: str
    user: str
    schema_name: str = Field(serialization_alias="schema")
    sslmode: str
    created_at: datetime

    @classmethod
    def of(cls, destination: Destination) -> DestinationAnswer:
        """Return what may be shown of the destination."""
        address = destination.address
        return cls(
            id=destination.id,
            name=destination.name,
            host=address.host,
            port=address.port,
            database=address.database,
            user=address.user,
            schema_name=address.schema,
            sslmode=address.sslmode,
            created_at=destination.created_at,
        )


class ProbeStepAnswer(Answer):
    """One thing that was tried at a destination."""

    name: str
    passed: bool
    message: str
    code: str | None
    fix: str | None
    sql: str | None = Field(description="Statements that an administrator of the database can run.")


class DestinationTestAnswer(Answer):
    """What was tried, in order, up to the first thing that failed."""

    passed: bool
    steps: tuple[ProbeStepAnswer, ...]


class CountsAnswer(Answer):
    """What became of records, added over all destinations."""

    inserted: int
    updated: int
    unchanged: int
    deleted: int
    ignored: int
    failed: int


class BackfillAnswer(Answer):
    """A connection's newest backfill."""

    id: str
    status: Status
    share: float = Field(ge=0, le=1, description="Part of the time range that is covered; Stripe tells no totals.")
    read: int
    stripe_calls: int
    rate_limited: int
    counts: CountsAnswer


class ConnectionAnswer(Answer):
    """A connected Stripe account."""

    id: str
    account_id: str
    account_name: str
    livemode: bool
    state: State
    cause_code: str | None
    cause: str | None
    key_hint: str
    start_date: datetime | None
    resources: tuple[str, ...]
    live_by: LiveBy
    last_event_at: datetime | None
    last_synced_at: datetime | None
    created_at: datetime
    destination_ids: tuple[str, ...]
    backfill: BackfillAnswer | None = None
    rows_today: int = Field(default=0, description="Rows inserted, updated and deleted since 00:00 UTC.")


class SyncAnswer(Answer):
    """One run of work."""

    id: str
    connection_id: str
    kind: Kind
    trigger: str
    status: Status
    resources: tuple[str, ...]
    range_start: datetime | None
    range_end: datetime | None
    cause_code: str | None
    cause: str | None
    stripe_calls: int
    rate_limited: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    read: int
    share: float = Field(ge=0, le=1)
    counts: CountsAnswer


class ProgressAnswer(Answer):
    """How far a sync is with one resource."""

    resource: str
    share: float = Field(ge=0, le=1)
    read: int
    confirmed: bool
    cause_code: str | None
    cause: str | None
    counts: CountsAnswer


class SyncDetailAnswer(SyncAnswer):
    """A sync with its progress."""

    progress: tuple[ProgressAnswer, ...] = ()


class EventAnswer(Answer):
    """An event that reached its destinations, or was answered by asking Stripe."""

    connection_id: str
    event_id: str
    type: str
    resource: str | None
    object_id: str | None
    created: int = Field(description="Stripe's clock, in seconds since 1970.")
    outcome: str
    received_at: datetime | None
    written_at: datetime


class SignInLinkAnswer(Answer):
    """A link that signs a browser in, once."""

    url: str
    expires_at: datetime


T = TypeVar("T", bound=Answer)


class Page(Answer, Generic[T]):
    """A part of a list; `next_cursor` is null on the last one."""

    data: tuple[T, ...]
    next_cursor: str | None


class Problem(Answer):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    field: str | None = None
