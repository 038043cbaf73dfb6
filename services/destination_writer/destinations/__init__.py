"""Destinations: the protocol that each fulfils, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.destination_writer.delivery import Outcome, Winner
from services.destination_writer.records import ChildPart


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


class Destination(Protocol):
    """A place where rows go.

    Every method raises `DestinationUnavailableError` when the same call may succeed later, and
    `DestinationRejectedError` when it can't; after either, nothing of the call was written.
    """

    async def prepare(self) -> None:
        """Make what the first write would have to make."""

    async def write(self, account: Account, winners: Sequence[Winner]) -> list[Written]:
        """Write the winners by the rule of `delivery`, in one transaction; answer in the same order."""

    async def write_children(self, account: Account, part: ChildPart) -> None:
        """Write a part of a child set; the part that completes it removes what is older."""

    async def close(self) -> None:
        """Let go of what is open; a second call does nothing."""
