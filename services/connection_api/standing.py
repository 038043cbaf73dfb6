"""How a connection stands: its status and all that it owes, from its row and from what is noted of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.connection_api.debt_sentences import owed_by_events
from services.connection_api.status import Owed, Status, status_of
from shared.connections import LiveBy, State


@dataclass(frozen=True, slots=True)
class Standing:
    """A connection's status, and what it owes, the worst first."""

    status: Status
    owed: tuple[Owed, ...]
    state: State
    live_by: LiveBy


@dataclass(frozen=True, slots=True)
class _Situation:
    state: State
    cause: str | None
    live_by: LiveBy


def standing_of(
    row: Mapping[str, Any], owed: Sequence[Owed], *, backfill_share: float | None, now: datetime
) -> Standing:
    """Return how a connection stands at the time `now`.

    `row` has its state, cause, live_by and events_complete_to; `owed` is what `read_owed` found, and `backfill_share`
    how far the open backfill is, from 0 to 1, or `None` when none is open.
    """
    situation = _Situation(State(row["state"]), row["cause"], LiveBy(row["live_by"]))
    # A backfill is late by nature, and the events behind it wait their turn.
    is_polled = situation.live_by is LiveBy.POLLING and situation.state is State.ACTIVE
    if is_polled and backfill_share is None and row["events_complete_to"]:
        late = owed_by_events(row["events_complete_to"], now=now)
        owed = (*owed, late) if late else owed
    status = status_of(situation, owed, backfill_share=backfill_share)
    return Standing(status, tuple(owed), situation.state, situation.live_by)
