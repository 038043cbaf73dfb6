"""Destinations: the protocol that each fulfils, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.destination_writer.comparison import Compared
from services.destination_writer.delivery import Outcome, Reason, Winner
from services.destination_writer.omission import Tree
from services.destination_writer.records import ChildPart, Record
from shared.catalogue import Child, Resource

NEW_COLUMNS = "new columns"  # the part of a destination that waits when only these are missing


@dataclass(frozen=True, slots=True)
class Account:
    """Whose rows they are: every key begins with it."""

    id: str
    livemode: bool


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one winner."""

    outcome: Outcome
    ask_stripe: bool = False  # a tie that only Stripe can settle
    is_cut: bool = False  # a child list in it was cut: the rest has to be fetched
    reason: Reason | None = None  # why nothing else became of it


def reason_of(outcome: Outcome, *, ask: bool, is_buried: bool) -> Reason | None:
    """Say why nothing else became of a record; `is_buried` if what it met was a tombstone."""
    if ask:
        return Reason.TIE
    if outcome is Outcome.UNCHANGED:
        return Reason.EQUAL
    if outcome is Outcome.IGNORED:
        return Reason.TOMBSTONE if is_buried else Reason.OLDER
    return None


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What one step of a cleanup took out."""

    rows: Mapping[str, int]  # by table
    last_id: str | None  # the next step begins after it; `None` at the end of the table


@dataclass(frozen=True, slots=True)
class Older:
    """Which live rows a list should have shown, had their objects been there."""

    stamp: int  # the list's first: what it showed has at least this one
    made_from: int | None = None  # Unix seconds; an object that does not tell when it was made counts as well
    made_until: int | None = None  # exclusive


@dataclass(frozen=True, slots=True)
class Span:
    """What was found among one span of ids."""

    ids: tuple[str, ...]
    last_id: str | None  # the next span begins after it; `None` at the end of the table


class Destination(Protocol):
    """A place where rows go.

    Every method raises `DestinationUnavailableError` when the same call may succeed later, and
    `DestinationRejectedError` when it can't; after either, nothing of the call was written.
    """

    async def prepare(self) -> None:
        """Look whether the place is ours to fill, and make what the first write would have to make.

        Every method raises `DestinationBlockedError` when a person has to mend something first; of some tables, when
        all others can be written.
        """

    async def extend(self) -> None:
        """Give what was made by an older release what is new since then, while records are written."""

    async def write(self, account: Account, winners: Sequence[Winner]) -> list[Written]:
        """Write the winners by the rule of `delivery`, in one transaction; answer in the same order."""

    async def write_children(self, account: Account, part: ChildPart) -> bool:
        """Write a part of a child set and say so; the part that completes it removes what is older.

        Nothing is written of a parent that is not there, is deleted or was made before `part.parent_from`.
        """

    async def delete_rows(
        self, account: Account, source: Resource | Child, *, created_before: int | None = None, after: str | None = None
    ) -> Cleaned:
        """Delete the account's rows of a table, and the children of those that go: one span of ids, after `after`.

        With `created_before` (Unix seconds) only objects that tell of an earlier creation. What is missing has no rows.
        """

    async def omit_fields(
        self, account: Account, source: Resource | Child, tree: Tree, *, after: str | None = None
    ) -> Cleaned:
        """Take what `tree` names out of the account's rows of a table, as `delete_rows` one span at a time."""

    async def compare(self, account: Account, records: Sequence[Record]) -> list[Compared]:
        """Compare records, each of another object, with their rows by the rule of `comparison`. Changes nothing.

        A child set that an equal parent shows whole and that is not the one in its table makes a difference, too.
        """

    async def find_older(self, account: Account, resource: Resource, older: Older, *, after: str | None = None) -> Span:
        """Return the ids of live rows of one span, after `after`, that a list has not shown. Changes nothing."""

    async def bury_deleted(self, account: Account, source: Resource | Child, *, after: str | None = None) -> Cleaned:
        """Take the rows of deleted objects out of a table, where that is the choice, as `delete_rows` does.

        What is older than the deletion brings none of them back.
        """

    async def close(self) -> None:
        """Let go of what is open, for good: what is asked for later is unavailable. A second call does nothing."""
