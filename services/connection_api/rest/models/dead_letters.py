"""Queries, bodies and answers about dead letters."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StrictBool, model_validator

from services.connection_api.rest.models.base import Answer, Id, Input, PageQuery, ResourceName

LetterId = Annotated[str, Field(pattern=r"^dlt_[0-9]{1,18}$")]
Code = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,60}$")]


class LetterFilter(Input):
    """Which dead letters are meant; what is left out does not matter."""

    group_id: Id | None = None
    connection_id: Id | None = None
    destination_id: Id | None = None
    code: Code | None = None
    resource: ResourceName | None = None
    sync_id: Id | None = Field(default=None, description="Those of records that this sync read.")


class LetterQuery(PageQuery, LetterFilter):
    """Which dead letters are wanted."""


class LetterGroupQuery(PageQuery):
    """Which groups are wanted."""

    connection_id: Id | None = None
    destination_id: Id | None = None
    code: Code | None = None
    resource: ResourceName | None = None
    sync_id: Id | None = Field(default=None, description="Those with records that this sync read.")


class LetterChoice(LetterFilter):
    """Dead letters that something is done to: by their ids, by a filter, or with `all` every one."""

    ids: tuple[LetterId, ...] = Field(default=(), max_length=100)
    all: StrictBool = Field(default=False, description="Every dead letter there is; takes no filter beside it.")

    @model_validator(mode="after")
    def _is_meant(self) -> LetterChoice:
        ways = (bool(self.ids), self.all, any(self.model_dump(exclude={"ids", "all"}).values()))
        if sum(ways) != 1:
            raise ValueError("Name ids, a filter, or all: exactly one of them")
        return self


class LetterAnswer(Answer):
    """A record that can't be written, or a signed webhook that can't be used."""

    id: str
    group_id: str
    stage: str = Field(description="Where it ended: gateway, parse or write, or the topic that a bug ended it on.")
    code: str
    reason: str
    connection_id: str | None
    destination_id: str | None
    resource: str | None
    object_id: str | None
    topic: str
    partition: int
    offset: int
    attempts: int
    first_seen_at: datetime
    last_seen_at: datetime
    is_replaying: bool


class LetterDetailAnswer(LetterAnswer):
    """A dead letter with its body."""

    headers: dict[str, str]
    size: int = Field(description="Of the body, in bytes.")
    body: str = Field(description="As it came, its beginning if it is long; keys and secrets are masked.")
    is_cut: bool


class LetterGroupAnswer(Answer):
    """Dead letters with one cause."""

    id: str
    letters: int
    code: str
    summary: str = Field(description="The reason without ids, quoted values and numbers.")
    connection_id: str | None
    destination_id: str | None
    resource: str | None
    first_seen_at: datetime
    last_seen_at: datetime
    example_id: str | None = Field(description="The newest of its letters.")


class DiscardAnswer(Answer):
    """What was discarded."""

    discarded: int


class ReplayAnswer(Answer):
    """How far a replay of dead letters is."""

    id: str
    status: str = Field(description="running, or done.")
    letters: int = Field(description="How many were meant when it was asked for.")
    written: int
    asked: int = Field(description="Too old or unreadable: Stripe is asked for their objects instead.")
    failed: int = Field(description="They are dead letters once more, with the new reason.")
    skipped: int = Field(description="They can't be replayed, and stay.")
    waiting: int = Field(description="On their way, or waiting for a destination.")
    note: str | None = Field(description="Why the first of the skipped can't be replayed.")
    requested_at: datetime
    finished_at: datetime | None
