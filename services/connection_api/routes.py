"""Answers what is asked about connections, and registers every operation of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from aiohttp import web

from services.connection_api.access.auth import actor_of
from services.connection_api.account_filter import AccountFilter
from services.connection_api.life.connect import NewConnection
from services.connection_api.rest import models
from services.connection_api.rest.openapi import describe
from services.connection_api.rest.operations import OPENAPI_PATH, OPERATIONS
from services.connection_api.rest.requests import read_body, read_id, read_query, write
from services.connection_api.state import State
from shared.errors import NotFoundError, PayloadError
from shared.http import Access, Handler, add_route


def register(app: web.Application, handlers: Mapping[str, Handler]) -> None:
    """Add a route for every operation of the table, and the description of them all."""
    for operation in OPERATIONS:
        add_route(app, operation.method, operation.path, handlers[operation.name], operation.access)
    document = describe(OPERATIONS)

    async def openapi(_request: web.Request) -> web.Response:
        return web.json_response(document)

    add_route(app, "GET", OPENAPI_PATH, openapi, Access.PUBLIC)


class Connections:
    """The routes about connections."""

    def __init__(self, state: State, now: Callable[[], datetime]) -> None:
        """`now` gives the time with its zone."""
        self._state = state
        self._now = now

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers by their operations' names."""
        return {
            "create_connection": self.create,
            "list_connections": self.list,
            "get_connection": self.get,
            "change_connection": self.change,
            "pause_connection": self.pause,
            "resume_connection": self.resume,
            "deliver_again": self.deliver_again,
        }

    async def create(self, request: web.Request) -> web.Response:
        """Connect an account."""
        wanted = await read_body(request, models.NewConnectionBody)
        if wanted.start_date and wanted.start_date > self._now():
            raise PayloadError("The start date lies in the future. Choose today or an earlier day.", field="start_date")
        await self._require_destinations(wanted.destination_ids)
        connection_id = await self._state.connect.connect(
            NewConnection(
                api_key=wanted.api_key,
                destination_ids=tuple(dict.fromkeys(wanted.destination_ids)),
                start_date=wanted.start_date,
                resources=wanted.resources,
                account_id=wanted.account_id,
                name=wanted.name,
            ),
            by=actor_of(request),
        )
        return write(await self._describe(connection_id), status=201)

    async def list(self, request: web.Request) -> web.Response:
        """Show a page of connections."""
        query = read_query(request, models.ConnectionQuery)
        wanted = AccountFilter(q=query.q, status=query.status, cursor=query.cursor)
        _ = wanted.place  # a wrong cursor is refused before the database is asked
        return write(await self._state.reads.page(self._state.connections, wanted, limit=query.limit))

    async def get(self, request: web.Request) -> web.Response:
        """Show a connection."""
        return write(await self._describe(read_id(request)))

    async def change(self, request: web.Request) -> web.Response:
        """Give a connection another name."""
        connection_id, wanted = read_id(request), await read_body(request, models.ConnectionChange)
        await self._state.naming.rename(connection_id, wanted.name, by=actor_of(request))
        return write(await self._describe(connection_id))

    async def pause(self, request: web.Request) -> web.Response:
        """Pause a connection."""
        connection_id = read_id(request)
        await self._state.connect.pause(connection_id, by=actor_of(request))
        return write(await self._describe(connection_id))

    async def resume(self, request: web.Request) -> web.Response:
        """Resume a connection."""
        connection_id = read_id(request)
        await self._state.connect.resume(connection_id, by=actor_of(request))
        return write(await self._describe(connection_id))

    async def deliver_again(self, request: web.Request) -> web.Response:
        """Let stopped deliveries of a connection go on."""
        connection_id = read_id(request)
        await self._state.deliveries.resume(connection_id, by=actor_of(request))
        return write(await self._describe(connection_id))

    async def _require_destinations(self, destination_ids: Iterable[str]) -> None:
        """Raise `PayloadError` for an unknown one, before Stripe is asked anything."""
        try:
            for destination_id in destination_ids:
                await self._state.destinations.get(destination_id)
        except NotFoundError as error:
            raise PayloadError(error.message, field="destination_ids") from error

    async def _describe(self, connection_id: str) -> models.ConnectionAnswer:
        connection = await self._state.connections.get(connection_id)
        return await self._state.reads.describe(connection)
