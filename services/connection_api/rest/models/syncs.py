"""Bodies and answers about syncs."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from pydantic import Field, model_validator

from services.connection_api.rest.models.base import (
    Answer,
    CountsAnswer,
    Id,
    Input,
    Moment,
    PageQuery,
    ResourceName,
    StripeId,
)
from services.connection_api.rest.models.comparisons import ComparisonAnswer
from services.connection_api.rest.models.delays import DelayAnswer
from shared.syncs import Kind, Outcome, Status


class ObjectReference(Input):
    """One object at Stripe."""

    resource: ResourceName
    id: StripeId


class NewSync(Input):
    """What is to be synced; nothing chosen compares with Stripe."""

    resources: tuple[ResourceName, ...] | None = Field(
        default=None, min_length=1, max_length=100, description="Read these anew, from the start date on."
    )
    object: ObjectReference | None = Field(default=None, description="Read this one object anew.")

    @model_validator(mode="after")
    def _choose_one(self) -> Self:
        if self.resources and self.object:
            raise ValueError("Give resources or an object, not both")
        return self


class SyncFilter(Input):
    """Which syncs are wanted."""

    kind: Kind | None = None
    status: Status | None = None
    since: Moment | None = Field(default=None, description="Queued at or after this time.")
    until: Moment | None = Field(default=None, description="Queued before this time.")


class ConnectionSyncQuery(SyncFilter, PageQuery):
    """Which part of the list of a connection's syncs is wanted."""


class SyncQuery(ConnectionSyncQuery):
    """Which part of the list of all syncs is wanted."""

    connection_id: Id | None = None


class SyncExportQuery(SyncFilter):
    """Which syncs are to be exported, and how."""

    connection_id: Id | None = None
    format: Literal["csv", "json"] = "csv"


class SyncAnswer(Answer):
    """One run of work."""

    id: str
    connection_id: str
    connection_name: str
    kind: Kind
    trigger: str
    status: Status
    outcome: Outcome = Field(
        description="As `status`, but `stopped` while Stripe refuses the key, `partial` when it succeeded and some "
        "records failed or could not be compared, `differences` when a comparison found some."
    )
    resources: tuple[str, ...]
    object_id: str | None
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
    is_stopped: bool = Field(description="Whether it waits for a key that Stripe accepts; `cause` says why.")


class RebuildAnswer(Answer):
    """The backfills that fill a destination again."""

    syncs: tuple[SyncAnswer, ...]


class SyncExportAnswer(Answer):
    """All syncs that were asked for. As CSV, each is a line whose columns the first line names."""

    data: tuple[SyncAnswer, ...]


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
    comparison: tuple[ComparisonAnswer, ...] = Field(
        default=(), description="Of a sync that compares: counts by resource and destination."
    )
    delays: tuple[DelayAnswer, ...] = Field(default=(), description="What of it is tried again, and why.")
