"""`/v1/events`: thirty days of events, in the API version that the account had."""

from __future__ import annotations

from collections.abc import Sequence

from simulator import errors
from simulator.events import matches_type, render_event
from simulator.journal import Event
from simulator.parameters import Parameters, parse_list
from simulator.shapes import State
from simulator.world import World

_MAX_TYPES = 20


class EventReads:
    """Lists and retrieves events.

    `omitted` are prefixes of types that the list leaves out, as Stripe's does; events show up in it
    `delay` seconds late.
    """

    def __init__(
        self, world: World, *, version: str, now: float, omitted: tuple[str, ...] = (), delay: float = 0.0
    ) -> None:
        self.world = world
        self.version = version
        self.now = now
        self.omitted = omitted
        self.delay = delay

    def list_events(self, pairs: Sequence[tuple[str, str]]) -> State:
        """Give a page of events, newest first."""
        parameters = parse_list(
            pairs, table=None, resource="event", filters=("type", "types", "delivery_success"), created=True
        )
        types = tuple(value for name, value in pairs if name.partition("[")[0] in ("type", "types"))
        if len(types) > _MAX_TYPES:
            raise errors.bad_parameter(f"You may only specify up to {_MAX_TYPES} types.", "types")
        delivered = dict(pairs).get("delivery_success")
        found, has_more = self._page(parameters, types, delivered)
        body = [render_event(self.world, event, self.version) for event in found]
        return {"object": "list", "data": body, "has_more": has_more, "url": "/v1/events"}

    def retrieve(self, event_id: str) -> State:
        """Give one event."""
        event = self.world.journal.find(event_id, now=self.now)
        if event is None:
            raise errors.no_such("event", event_id)
        return render_event(self.world, event, self.version)

    def _page(self, parameters: Parameters, types: tuple[str, ...], delivered: str | None) -> tuple[list[Event], bool]:
        journal, query = self.world.journal, parameters.query
        low = journal.first(self.now)
        high = journal.changed_before(self.now - self.delay) if self.delay else len(journal.events)
        low = max(low, journal.position_at(query.created_from or 0))
        if query.created_to is not None:
            high = min(high, journal.position_at(query.created_to))
        if query.starting_after:
            high = min(high, self._position("starting_after", query.starting_after))
        if query.ending_before:
            low = max(low, self._position("ending_before", query.ending_before) + 1)
        upwards = query.ending_before is not None
        order = range(low, high) if upwards else range(high - 1, low - 1, -1)
        found: list[Event] = []
        for i in order:
            event = journal.events[i]
            if self._is_wanted(event, types, delivered):
                if len(found) == query.limit:
                    return (found[::-1] if upwards else found), True
                found.append(event)
        return (found[::-1] if upwards else found), False

    def _position(self, param: str, event_id: str) -> int:
        position = self.world.journal.positions.get(event_id)
        if position is None:
            raise errors.no_such("event", event_id, param=param, status=400)
        return position

    def _is_wanted(self, event: Event, types: tuple[str, ...], delivered: str | None) -> bool:
        if event.type.startswith(self.omitted) or (event.account and self.world.connected_to is None):
            return False
        if types and not matches_type(event.type, types):
            return False
        return delivered is None or (event.id not in self.world.journal.undelivered) == (delivered == "true")
