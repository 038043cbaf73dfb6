"""Bodies and answers about syncs."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from services.connection_api.models.base import Answer, CountsAnswer, Id, Input, PageQuery, ResourceName, StripeId
from shared.syncs import Kind, Status


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


class SyncFilter(Input):
    """Which syncs are wanted."""

    connection_id: Id | None = None
    kind: Kind | None = None
    status: Status | None = None
    since: datetime | None = Field(default=None, description="Begun at or after this time.")
    until: datetime | None = Field(default=None, description="Begun before this time.")


class SyncQuery(SyncFilter, PageQuery):
    """Which part of the list of syncs is wanted."""


class SyncExportQuery(SyncFilter):
    """Which syncs are to be exported, and how."""

    format: Literal["csv", "json"] = "csv"


class SyncAnswer(Answer):
    """One run of work."""

    id: str
    connection_id: str
    kind: Kind
    trigger: str
    status: Status
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
