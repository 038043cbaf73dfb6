"""The events of one account, kept for thirty days as Stripe does, each with the object as it was."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass

EVENT_DAYS = 30


@dataclass(frozen=True, slots=True)
class Event:
    """One change. `data` is the packed object, `previous` what it was before; `changed_at` has fractions of seconds."""

    id: str
    type: str
    created: int
    resource: str
    object_id: str
    data: bytes
    previous: bytes | None
    changed_at: float
    request_id: str | None
    account: str | None = None


class Journal:
    """Events in the order in which they happened."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.created = array("q")
        self.positions: dict[str, int] = {}
        self.undelivered: set[str] = set()

    def append(self, event: Event) -> None:
        self.positions[event.id] = len(self.events)
        self.events.append(event)
        self.created.append(event.created)

    def find(self, event_id: str, *, now: float) -> Event | None:
        """Give an event, or None if it is unknown or older than thirty days."""
        position = self.positions.get(event_id)
        if position is None or position < self.first(now):
            return None
        return self.events[position]

    def first(self, now: float) -> int:
        """Give the position of the oldest event that can still be seen."""
        return self.position_at(int(now) - EVENT_DAYS * 86_400)

    def position_at(self, second: int) -> int:
        """Give the position of the first event in or after a Unix second."""
        return bisect_left(self.created, second)

    def changed_before(self, moment: float) -> int:
        """Give the position after the last event before a moment in Unix seconds."""
        return bisect_left(self.events, moment, key=lambda event: event.changed_at)
