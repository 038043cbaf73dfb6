"""One message where one cause has reached many accounts: what a look has found due is folded. Pure.

Messages for the same channel are one if they tell of the same event with the same cause; where the cause lies at a
destination, of the same one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from services.connection_api.alarms.channel import Event
from services.connection_api.alarms.rule import Due
from services.connection_api.alarms.sentences import remedy_of, say, shortened
from services.connection_api.status import Owed

MOST_NAMED = 5  # accounts
DESTINATION = "dst_"  # what the id of one begins with
# What is said of one account, and of several.
OPENINGS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        Event.ACTION_REQUIRED: ("needs you", "need you"),
        Event.RECORDS_FAILED: ("needs you", "need you"),
        Event.DIFFERENCES_FOUND: ("needs you", "need you"),
        Event.DELAYED: ("is delayed", "are delayed"),
        Event.RECOVERED: ("has recovered", "have recovered"),
        Event.BACKFILL_DONE: ("has its history", "have their history"),
    }
)
SHARED: Mapping[str, str] = MappingProxyType(
    {Event.RECOVERED: "Nothing needs you any more.", Event.BACKFILL_DONE: "The backfills are done."}
)


@dataclass(frozen=True, slots=True)
class Told:
    """What a channel is due about one account, with what that account owes."""

    channel_id: str
    connection_id: str
    name: str
    due: Due
    owed: Owed | None = None

    @property
    def cause(self) -> tuple[str, str]:
        """What accounts share that are told of together: the cause's code, and the destination where it lies."""
        if self.owed is None:
            return "", ""
        about = self.owed.about or ""
        return self.owed.code, about if about.startswith(DESTINATION) else ""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message about one account, or about several: then its sentence is only what they share."""

    channel_id: str
    event: Event
    connection_ids: tuple[str, ...]
    sentence: str


def fold(told: Sequence[Told]) -> Sequence[Letter]:
    """Return the messages for what is due, each where its first one stands; accounts by their names."""
    groups: dict[tuple[str, str, tuple[str, str]], list[Told]] = {}
    for one in told:
        groups.setdefault((one.channel_id, one.due.event, one.cause), []).append(one)
    return [_letter(sorted(group, key=lambda one: (one.name, one.connection_id))) for group in groups.values()]


def say_many(event: str, names: Sequence[str], number: int, sentence: str) -> str:
    """Return what is said of `number` accounts, of which the first few have `names`."""
    one, many = OPENINGS[event]
    if number == 1 and names:
        return shortened(f"{names[0]} {one}. {sentence}")
    named = ", ".join(names[:MOST_NAMED])
    rest = number - len(names[:MOST_NAMED])
    others = "" if rest <= 0 else f" and {rest:,} other{'' if rest == 1 else 's'}"
    return shortened(f"{number:,} accounts {many}: {named}{others}. {sentence}")


def _letter(group: Sequence[Told]) -> Letter:
    first, due = group[0], group[0].due
    ids = tuple(one.connection_id for one in group)
    if len(group) == 1:
        return Letter(first.channel_id, due.event, ids, say(due, first.name, first.owed))
    return Letter(first.channel_id, due.event, ids, _shared(due, [one.owed for one in group if one.owed]))


def _shared(due: Due, owed: Sequence[Owed]) -> str:
    if not owed:
        return SHARED[due.event]
    is_same = len({one.sentence for one in owed}) == 1
    return f"{'' if is_same else 'One of them: '}{owed[0].sentence}{remedy_of(owed[0])}"
