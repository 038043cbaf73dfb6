"""Bodies and answers about connections, their keys, start dates, choices and removal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import Field, SecretStr

from services.connection_api.rest.models.base import (
    PRINTABLE,
    Answer,
    CountsAnswer,
    Id,
    Input,
    PageQuery,
    ResourceName,
    StartDate,
)
from services.connection_api.status import Remedy, Severity, Tone, Word
from shared.catalogue import Group
from shared.connections import LiveBy, State
from shared.key_check import Grant
from shared.removals import Step
from shared.syncs import Status

FieldPath = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}(\.[a-z0-9_]{1,64}){0,7}$")]
OmittedFields = Annotated[dict[ResourceName, tuple[FieldPath, ...]], Field(max_length=100)]
ApiKeyText = Annotated[SecretStr, Field(max_length=1000, description="A restricted key, `rk_live_…`.")]


ConnectionName = Annotated[
    str, Field(min_length=1, max_length=100, pattern=PRINTABLE, description="No two connections have the same.")
]


class NewConnectionBody(Input):
    """A Stripe account that is to be connected."""

    api_key: ApiKeyText
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
    name: ConnectionName | None = Field(
        default=None, description="What the connection is called; the account's and the destination's, if not given."
    )


class ConnectionChange(Input):
    """What is changed of a connection by itself."""

    name: ConnectionName


class ConnectionQuery(PageQuery):
    """Which connections are wanted."""

    q: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        pattern=PRINTABLE,
        description="Part of its name, or of the account's name or id.",
    )
    status: Word | None = None


class NewKeyCheck(Input):
    """A key that is to be checked, without keeping it."""

    api_key: ApiKeyText
    connection_id: Id | None = Field(
        default=None, description="Whose key it shall replace: account and mode must match."
    )
    account_id: str | None = Field(default=None, pattern=r"^acct_[A-Za-z0-9]{1,64}$")
    resources: tuple[ResourceName, ...] | None = Field(default=None, min_length=1, max_length=100)


class NewKey(Input):
    """A key that shall replace a connection's."""

    api_key: ApiKeyText


class NewStartDate(Input):
    """From when on objects are kept."""

    start_date: StartDate | None = Field(description="Null keeps everything that Stripe has.")
    delete_older: bool = Field(
        default=False, description="Whether rows of older objects are deleted. Otherwise they stay as they are."
    )


class StartDateQuestion(Input):
    """A start date whose cost is to be estimated."""

    start_date: StartDate | None


class NewChoice(Input):
    """What of an account is synced."""

    resources: tuple[ResourceName, ...] | None = Field(
        default=None, min_length=1, max_length=100, description="As it is, if not given. What is new is backfilled."
    )
    omitted_fields: OmittedFields | None = Field(
        default=None,
        description="By resource, paths such as `billing_details.address` that are never written; those that were are "
        "taken out. As it is, if not given.",
    )
    destination_ids: tuple[Id, ...] | None = Field(
        default=None, min_length=1, max_length=20, description="As it is, if not given. A new one gets all history."
    )


class NewRemoval(Input):
    """The consent to remove a connection for good."""

    account_name: str = Field(
        max_length=500,
        description="The connection's name or id, as a proof that it is the right one. The account's name or id "
        "will do where no other connection has the same.",
    )
    delete_rows: bool = Field(description="Whether its rows are deleted from the destinations too.")


class NewSetup(Input):
    """A key and where its rows shall go; kept for a day, until the connection is made."""

    api_key: ApiKeyText
    destination_ids: tuple[Id, ...] = Field(min_length=1, max_length=20)
    account_id: str | None = Field(default=None, pattern=r"^acct_[A-Za-z0-9]{1,64}$")


class SetupConsent(Input):
    """What completes a set-up."""

    start_date: StartDate | None = None
    resources: tuple[ResourceName, ...] | None = Field(default=None, min_length=1, max_length=100)
    omitted_fields: OmittedFields = Field(default_factory=dict)
    name: ConnectionName | None = None


class BackfillAnswer(Answer):
    """A connection's newest backfill."""

    id: str
    status: Status
    share: float = Field(ge=0, le=1, description="Part of the time range that is covered; Stripe tells no totals.")
    read: int
    stripe_calls: int
    rate_limited: int
    counts: CountsAnswer


class StatusAnswer(Answer):
    """How a connection is, in the words that the dashboard shows."""

    word: Word
    text: str
    sentence: str
    tone: Tone
    percent: int | None
    remedy: Remedy | None = Field(description="What a person has to do, if anything.")
    fix: str | None = Field(description="The same in a sentence.")


class OwedAnswer(Answer):
    """One thing that a connection owes its destinations; without any, it is live."""

    code: str
    severity: Severity = Field(description="`person`: it needs somebody; `late`: it comes by itself.")
    sentence: str
    fix: str | None = Field(description="What a person does about it.")
    remedy: Remedy | None
    about: str | None = Field(description="Id of the destination or the sync that it is about.")
    letters: str | None = Field(description="Id of the group of dead letters with its cause.")
    since: datetime | None
    attempts: int | None = Field(description="How often it was tried.")
    next_try_at: datetime | None


class FaultAnswer(Answer):
    """A resource that Stripe refuses to give: it alone has stopped."""

    resource: str
    code: str
    cause: str
    permission: str | None
    since: datetime


class WayAnswer(Answer):
    """One way in which changes reach Tillstream."""

    name: str = Field(description="`webhooks`, `polling` or `comparing`.")
    title: str
    sentence: str
    last_at: datetime | None = Field(description="The last event, poll or comparison.")
    next_at: datetime | None = Field(description="When Stripe is asked next.")
    reads_per_day: int | None = Field(description="Calls to Stripe in a day; null until a day is over.")


class FreshnessAnswer(Answer):
    """How fresh each way is, and what it takes of Stripe's read allowance."""

    ways: tuple[WayAnswer, ...]
    reads_per_month: int | None = Field(description="Null until a day is over.")
    cost: str = Field(description="The same in a sentence.")


class ConnectionAnswer(Answer):
    """A connected Stripe account."""

    id: str
    name: str = Field(description="What people call the connection.")
    account_id: str
    account_name: str
    livemode: bool
    state: State
    cause_code: str | None
    cause: str | None
    status: StatusAnswer
    owed: tuple[OwedAnswer, ...] = Field(description="All that is owed, the worst first; `status` says the first.")
    faults: tuple[FaultAnswer, ...]
    key_hint: str
    key_version: int
    start_date: datetime | None
    resources: tuple[str, ...]
    omitted_fields: Mapping[str, tuple[str, ...]]
    live_by: LiveBy
    last_event_at: datetime | None
    last_synced_at: datetime | None = Field(
        description="When a destination last confirmed a row; of several destinations, the one furthest behind."
    )
    created_at: datetime
    destination_ids: tuple[str, ...]
    backfill: BackfillAnswer | None
    rows: int = Field(description="Rows inserted since it was connected, less those deleted, over all destinations.")
    rows_today: int = Field(description="Rows inserted, updated and deleted since 00:00 UTC.")
    freshness: FreshnessAnswer


class PermissionAnswer(Answer):
    """One row of the checklist."""

    toggle: str = Field(description="The name of the row on Stripe's page for restricted keys.")
    slug: str = Field(description="As Stripe's errors name it, such as `rak_charge_read`.")
    grant: Grant
    required: bool
    resources: tuple[str, ...]
    words: str | None = Field(default=None, description="What Stripe said, where it refused for another reason.")


class GroupAnswer(Answer):
    """A block of permissions as Stripe shows them."""

    group: Group | None = Field(description="Null for Webhook Endpoints.")
    title: str
    access: str
    passed: bool = Field(description="Whether nothing that is required is missing.")
    permissions: tuple[PermissionAnswer, ...]


class KeyCheckAnswer(Answer):
    """What a key may do."""

    account_id: str
    account_name: str
    livemode: bool
    key_hint: str
    passed: bool
    sentence: str
    groups: tuple[GroupAnswer, ...]


class EstimateAnswer(Answer):
    """What a start date would cost."""

    objects: int | None = Field(description="About so many; null when it can't be told.")
    objects_least: int | None
    objects_most: int | None
    seconds: float | None
    is_known: bool = Field(description="Whether it was counted where this account was read before.")
    calls: int = Field(description="Calls that the estimate itself has cost.")
    older_rows: int | None = Field(description="Rows in the destinations of objects made before the date.")
    sentence: str
    by_resource: Mapping[str, int | None]


class TableRowsAnswer(Answer):
    """A table of a destination, and how many rows of the connection it has."""

    destination_id: str
    destination_name: str
    table: str
    rows: int


class RemovalPreviewAnswer(Answer):
    """What a removal would take away."""

    name: str
    account_name: str
    webhook_endpoint_id: str | None
    tables: tuple[TableRowsAnswer, ...]
    unreachable: tuple[str, ...] = Field(description="Names of destinations that could not be asked.")
    syncs: int
    events: int
    dead_letters: int
    parked_records: int


class StepAnswer(Answer):
    """A step of a removal that was done."""

    name: Step
    at: datetime
    counts: Mapping[str, int]
    note: str | None


class WaitAnswer(Answer):
    """Something that a removal tries again until it succeeds."""

    code: str
    cause: str
    destination_id: str | None = Field(description="The destination that holds it up, if one does.")
    since: datetime
    attempts: int = Field(description="How often it was tried.")
    next_try_at: datetime


class LeftoverAnswer(Answer):
    """Records of the connection on a topic of Kafka: nobody reads them any more."""

    topic: str
    until: datetime = Field(description="Then Kafka has deleted them, as Tillstream has made the topic.")


class RemovalAnswer(Answer):
    """A removal, and in the end its receipt."""

    id: str
    connection_id: str
    account_id: str
    livemode: bool
    deletes_rows: bool
    is_done: bool
    steps: tuple[StepAnswer, ...]
    cause: str | None = Field(description="Why the current step waits.")
    waits: tuple[WaitAnswer, ...] = Field(description="What is tried again, since when and how often.")
    leftovers: tuple[LeftoverAnswer, ...] = Field(description="Of one that is done: what Kafka may still hold.")
    requested_at: datetime
    finished_at: datetime | None


class SetupAnswer(Answer):
    """A connection that is being made."""

    id: str
    destination_ids: tuple[str, ...]
    key_check: KeyCheckAnswer
    created_at: datetime
    expires_at: datetime


class ResourceAnswer(Answer):
    """A resource of the catalogue."""

    name: str
    table: str
    group: Group
    permission: str
    is_default: bool
    has_created_filter: bool
    children: tuple[str, ...]
