"""Answers what is asked about dead letters, and does to them what is asked."""

from __future__ import annotations

from aiohttp import web

from services.connection_api.access.auth import actor_of
from services.connection_api.rest import models
from services.connection_api.rest.requests import (
    read_body,
    read_cursor,
    read_id,
    read_number,
    read_query,
    read_time,
    write,
    write_page,
)
from services.connection_api.state import State
from shared.http import Handler
from shared.letter_choice import PREFIX, number_of


class DeadLetters:
    """The routes about dead letters."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers by their operations' names."""
        return {
            "list_dead_letters": self.list,
            "list_dead_letter_groups": self.list_groups,
            "get_dead_letter": self.get,
            "discard_dead_letters": self.discard,
            "replay_dead_letters": self.replay,
            "list_dead_letter_replays": self.list_replays,
            "get_dead_letter_replay": self.get_replay,
        }

    async def list(self, request: web.Request) -> web.Response:
        """Show a page of dead letters."""
        query = read_query(request, models.LetterQuery)
        place = read_cursor(query.cursor, parts=1)
        found = await self._state.letters.list_newest(
            query.model_dump(), before=read_number(place[0]) if place else None, limit=query.limit + 1
        )
        return write_page(
            models.Page[models.LetterAnswer],
            found,
            limit=query.limit,
            place=lambda last: [last.id.removeprefix(PREFIX)],
        )

    async def list_groups(self, request: web.Request) -> web.Response:
        """Show a page of groups."""
        query = read_query(request, models.LetterGroupQuery)
        place = read_cursor(query.cursor, parts=2)
        found = await self._state.letters.groups(
            query.model_dump(), before=(read_time(place[0]), place[1]) if place else None, limit=query.limit + 1
        )
        return write_page(
            models.Page[models.LetterGroupAnswer],
            found,
            limit=query.limit,
            place=lambda last: [last.last_seen_at.isoformat(), last.id],
        )

    async def get(self, request: web.Request) -> web.Response:
        """Show a dead letter with its body."""
        letter_id = read_id(request)
        number_of(letter_id)
        return write(await self._state.letters.get(letter_id))

    async def discard(self, request: web.Request) -> web.Response:
        """Delete dead letters for good."""
        chosen = await read_body(request, models.LetterChoice)
        number = await self._state.letters.discard(chosen, by=actor_of(request))
        return write(models.DiscardAnswer(discarded=number))

    async def replay(self, request: web.Request) -> web.Response:
        """Begin to try dead letters again."""
        chosen = await read_body(request, models.LetterChoice)
        return write(await self._state.replays.request(chosen, by=actor_of(request)), status=202)

    async def list_replays(self, request: web.Request) -> web.Response:
        """Show a page of replays."""
        query = read_query(request, models.PageQuery)
        place = read_cursor(query.cursor, parts=2)
        found = await self._state.replays.list_newest(
            before=(read_time(place[0]), place[1]) if place else None, limit=query.limit + 1
        )
        return write_page(
            models.Page[models.ReplayAnswer],
            found,
            limit=query.limit,
            place=lambda last: [last.requested_at.isoformat(), last.id],
        )

    async def get_replay(self, request: web.Request) -> web.Response:
        """Show how far a replay is."""
        return write(await self._state.replays.get(read_id(request)))
