"""Which messages a channel is due: a pure rule over what it was last told, how a connection is now, and the time.

- A change is told when it has held for a minute. Trouble that comes again within a minute has not gone meanwhile, so an
  account that flaps is told once.
- Of one connection a channel hears at most three messages in ten minutes; the last state is told when they are over.
- *Recovered* follows only what was told.
- In quiet hours nothing is told. What still holds when they end is told then; what has come and gone is not. A message
  that is on its way waits until they end; a test always goes.
- A channel that did not choose an event is told of the others, as if that one did not exist.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from services.connection_api.alarms.channel import TEST, Channel, Event, QuietHours

HOLD = timedelta(seconds=60)  # for which a change has to hold
WINDOW = timedelta(minutes=10)
MOST = 3  # messages of one connection within the window


class Need(BaseModel):
    """What can be told of a connection that is not well: the event, and the cause's code."""

    model_config = ConfigDict(frozen=True)

    event: Event
    code: str


@dataclass(frozen=True, slots=True)
class Look:
    """How a connection is: what it needs, the worst first; and when its newest backfill ended well."""

    needs: tuple[Need, ...] = ()
    backfilled_at: datetime | None = None


class Memory(BaseModel):
    """What a channel was told of a connection, and what has changed since."""

    model_config = ConfigDict(frozen=True)

    told: Need | None = None
    seen: Need | None = None  # at the last look
    changed_at: datetime | None = None  # when `seen` became what it is
    trouble_since: datetime | None = None  # None: it has been well for a minute
    told_at: tuple[datetime, ...] = ()  # within the window
    backfilled_at: datetime | None = None  # the backfill that was told last


@dataclass(frozen=True, slots=True)
class Due:
    """A message to queue; `need` is what it is about, if anything is needed."""

    event: Event
    need: Need | None = None


def decide(memory: Memory, look: Look, *, channel: Channel, now: datetime) -> tuple[Memory, Sequence[Due]]:
    """Return what to remember after a look, and the messages to queue, at the time `now`."""
    memory = _see(memory, _chosen(look.needs, channel.events), now)
    if channel.quiet and channel.quiet.include(now):
        return memory, ()
    due = [one for one in (_change(memory, now), _backfill(memory, look, channel)) if one]
    room = MOST - len(memory.told_at)
    told = [one for one in due if one.event in channel.events][: max(0, room)]
    for one in due:
        if one in told or one.event not in channel.events:
            memory = _told(memory, one, look, now)
    return memory.model_copy(update={"told_at": (*memory.told_at, *(now for _ in told))}), told


def held_for(event: str, quiet: QuietHours | None, *, at: datetime) -> timedelta:
    """Return how long a message waits that would be sent at a time: until quiet hours end, and a test never."""
    if event == TEST or quiet is None or not quiet.include(at):
        return timedelta()
    return quiet.end_after(at) - at


def _chosen(needs: Sequence[Need], events: Collection[str]) -> Need | None:
    return next((need for need in needs if need.event in events), None)


def _see(memory: Memory, need: Need | None, now: datetime) -> Memory:
    """Note what a look has found, and since when that is so."""
    changed_at = memory.changed_at if need == memory.seen else now
    has_been_well = need is None and (changed_at is None or now - changed_at >= HOLD)
    return memory.model_copy(
        update={
            "seen": need,
            "changed_at": changed_at,
            "trouble_since": None if has_been_well else memory.trouble_since or now,
            "told_at": tuple(at for at in memory.told_at if now - at < WINDOW),
        }
    )


def _change(memory: Memory, now: datetime) -> Due | None:
    """Return what is to be told of the connection's need, if that has changed for long enough."""
    need, told = memory.seen, memory.told
    if need == told:
        return None
    if need is None:
        return None if memory.trouble_since else Due(Event.RECOVERED)
    since = memory.trouble_since if told is None else memory.changed_at
    return Due(need.event, need) if since and now - since >= HOLD else None


def _backfill(memory: Memory, look: Look, channel: Channel) -> Due | None:
    ended_at = look.backfilled_at
    if ended_at is None or ended_at <= max(channel.created_at, memory.backfilled_at or channel.created_at):
        return None
    return Due(Event.BACKFILL_DONE)


def _told(memory: Memory, due: Due, look: Look, now: datetime) -> Memory:
    if due.event is Event.BACKFILL_DONE:
        return memory.model_copy(update={"backfilled_at": look.backfilled_at})
    return memory.model_copy(update={"told": due.need, "changed_at": memory.changed_at or now})
