"""Answers what is asked about destinations; an address is tried before it is kept."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web
from pydantic import SecretStr

from services.connection_api.access.auth import actor_of
from services.connection_api.life.places import require_passed
from services.connection_api.rest import models
from services.connection_api.rest.requests import read_body, read_cursor, read_id, read_query, write, write_page
from services.connection_api.state import State
from services.connection_api.waiting import read_waiting
from shared.http import Handler
from shared.postgres_probe import ProbeStep


class Destinations:
    """The routes about destinations."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers by their operations' names."""
        return {
            "test_destination": self.test,
            "create_destination": self.create,
            "list_destinations": self.list,
            "get_destination": self.get,
            "change_destination": self.change,
            "try_destination": self.try_again,
            "rebuild_destination": self.rebuild,
            "delete_destination": self.delete,
        }

    async def test(self, request: web.Request) -> web.Response:
        """Tell what works at an address and what does not."""
        wanted = await read_body(request, models.DestinationTest)
        place = wanted.place
        return _write_steps(await self._state.places.probe(*place, take_over=wanted.take_over))

    async def try_again(self, request: web.Request) -> web.Response:
        """Tell what works at a destination, with the password that is kept."""
        return _write_steps(await self._state.places.probe_kept(read_id(request)))

    async def create(self, request: web.Request) -> web.Response:
        """Keep an address that works."""
        wanted = await read_body(request, models.NewDestination)
        place, places = wanted.place, self._state.places
        require_passed(await places.probe(*place, take_over=wanted.take_over))
        destination_id = await places.add(
            wanted.name, *place, deleted_rows=wanted.deleted_rows, take_over=wanted.take_over, by=actor_of(request)
        )
        return await self._show(destination_id, status=201)

    async def list(self, request: web.Request) -> web.Response:
        """Show a page of destinations."""
        query = read_query(request, models.PageQuery)
        [after] = read_cursor(query.cursor, parts=1) or [""]
        found = await self._state.destinations.list_page(after=after, limit=query.limit + 1)
        waiting = await read_waiting(self._state.pool, [one.id for one in found])
        answers = [models.DestinationAnswer.of(one, waiting[one.id]) for one in found]
        return write_page(
            models.Page[models.DestinationAnswer], answers, limit=query.limit, place=lambda last: [last.id]
        )

    async def get(self, request: web.Request) -> web.Response:
        """Show a destination."""
        return await self._show(read_id(request))

    async def change(self, request: web.Request) -> web.Response:
        """Keep another name, another address that works, or another choice about deleted rows."""
        wanted, store = await read_body(request, models.DestinationChange), self._state.destinations
        known, places = await store.get(read_id(request)), self._state.places
        kept = await store.password(known.id) if wanted.keeps_password else SecretStr("")
        place = wanted.place(known.address, kept)
        if place:
            require_passed(await places.probe(*place, destination_id=known.id, take_over=wanted.take_over))
            await places.mark(known.id, *place, take_over=wanted.take_over, by=actor_of(request))
        elif wanted.take_over:
            await places.take_over(known.id, by=actor_of(request))
        await store.change(
            known.id, name=wanted.name, place=place, deleted_rows=wanted.deleted_rows, by=actor_of(request)
        )
        return await self._show(known.id)

    async def rebuild(self, request: web.Request) -> web.Response:
        """Read everything anew that is delivered to a destination."""
        ids = await self._state.rebuild.begin(read_id(request), by=actor_of(request))
        syncs = [models.SyncAnswer.model_validate(await self._state.syncs.get(one)) for one in ids]
        return write(models.RebuildAnswer(syncs=tuple(syncs)), status=202)

    async def delete(self, request: web.Request) -> web.Response:
        """Forget a destination."""
        await self._state.destinations.delete(read_id(request), by=actor_of(request))
        return web.Response(status=204)

    async def _show(self, destination_id: str, *, status: int = 200) -> web.Response:
        destination = await self._state.destinations.get(destination_id)
        waiting = await read_waiting(self._state.pool, [destination_id])
        return write(models.DestinationAnswer.of(destination, waiting[destination_id]), status=status)


def _write_steps(steps: Sequence[ProbeStep]) -> web.Response:
    answers = tuple(models.ProbeStepAnswer.model_validate(step) for step in steps)
    return write(models.DestinationTestAnswer(passed=steps[-1].passed, steps=answers))
