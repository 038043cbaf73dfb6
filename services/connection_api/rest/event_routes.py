"""Answers what is asked about events."""

from __future__ import annotations

from aiohttp import web

from services.connection_api.rest import models
from services.connection_api.rest.event_search import EventSearch, of_type
from services.connection_api.rest.requests import read_cursor, read_query, read_stripe_id, read_time, write, write_page
from services.connection_api.state import State
from shared.http import Handler


class Events:
    """The routes about events."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers by their operations' names."""
        return {"list_events": self.list, "get_event": self.get}

    async def list(self, request: web.Request) -> web.Response:
        """Show a page of events."""
        query = read_query(request, models.EventQuery)
        place = read_cursor(query.cursor, parts=3)
        found = await self._state.events.list_newest(
            EventSearch(
                connection_id=query.connection_id,
                event_id=query.event_id,
                object_id=query.object_id,
                resource=query.resource,
                outcome=query.outcome,
                since=query.since,
                until=query.until,
                **(of_type(query.type) if query.type else {}),
            ),
            before=(read_time(place[0]), place[1], place[2]) if place else None,
            limit=query.limit + 1,
        )
        return write_page(
            models.Page[models.EventAnswer],
            found,
            limit=query.limit,
            place=lambda last: [last.written_at.isoformat(), last.connection_id, last.event_id],
        )

    async def get(self, request: web.Request) -> web.Response:
        """Show an event's way to every destination."""
        return write(await self._state.events.life(read_stripe_id(request)))
