"""Answers what is asked about destinations; an address is tried before it is kept."""

from __future__ import annotations

from aiohttp import web
from pydantic import SecretStr

from services.connection_api import models
from services.connection_api.requests import make_cursor, read_body, read_cursor, read_id, read_query, write
from services.connection_api.state import State
from shared.destinations import PostgresAddress, parse_postgres_url
from shared.errors import PayloadError
from shared.postgres_probe import ProbeStep, probe


class DestinationUnusableError(PayloadError):
    """The destination can't be used as it is."""

    def __init__(self, step: ProbeStep) -> None:
        """Take the step that failed; its code becomes the error's."""
        parts = (step.message, step.fix, step.sql)
        super().__init__(" ".join(part for part in parts if part), field="url")
        self.code = step.code or self.code  # type: ignore[misc]


class Destinations:
    """The routes about destinations."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def test(self, request: web.Request) -> web.Response:
        """Tell what works at an address and what does not."""
        wanted = await read_body(request, models.DestinationTest)
        steps = await probe(*_address(wanted))
        answers = tuple(models.ProbeStepAnswer.model_validate(step) for step in steps)
        return write(models.DestinationTestAnswer(passed=steps[-1].passed, steps=answers))

    async def create(self, request: web.Request) -> web.Response:
        """Keep an address that works."""
        wanted = await read_body(request, models.NewDestination)
        store = self._state.destinations
        address, password = _address(wanted)
        steps = await probe(address, password)
        if not steps[-1].passed:
            raise DestinationUnusableError(steps[-1])
        destination_id = await store.insert(wanted.name, address, password)
        return write(models.DestinationAnswer.of(await store.get(destination_id)), status=201)

    async def list(self, request: web.Request) -> web.Response:
        """Show a page of destinations."""
        query = read_query(request, models.PageQuery)
        [after] = read_cursor(query.cursor, parts=1) or [""]
        found = await self._state.destinations.list_page(after=after, limit=query.limit + 1)
        page = found[: query.limit]
        return write(
            models.Page[models.DestinationAnswer](
                data=tuple(models.DestinationAnswer.of(one) for one in page),
                next_cursor=make_cursor(page[-1].id) if len(found) > query.limit else None,
            )
        )

    async def get(self, request: web.Request) -> web.Response:
        """Show a destination."""
        return write(models.DestinationAnswer.of(await self._state.destinations.get(read_id(request))))

    async def delete(self, request: web.Request) -> web.Response:
        """Forget a destination."""
        await self._state.destinations.delete(read_id(request))
        return web.Response(status=204)


def _address(wanted: models.DestinationTest) -> tuple[PostgresAddress, SecretStr]:
    return parse_postgres_url(wanted.url.get_secret_value(), schema=wanted.schema_name)
