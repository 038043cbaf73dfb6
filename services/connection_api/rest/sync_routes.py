"""Answers what is asked about syncs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from aiohttp import hdrs, web

from services.connection_api.access.auth import actor_of
from services.connection_api.rest import models
from services.connection_api.rest.requests import (
    read_body,
    read_cursor,
    read_id,
    read_query,
    read_time,
    write,
    write_page,
)
from services.connection_api.rest.sync_export import as_csv, as_json
from services.connection_api.state import State
from shared.delays import delays_of_sync
from shared.errors import TransientError
from shared.http import Handler
from shared.log import get_logger

FILTERS = frozenset(models.SyncFilter.model_fields)


class Syncs:
    """The routes about syncs."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers by their operations' names."""
        return {
            "create_sync": self.create,
            "list_syncs": self.list_of_connection,
            "list_all_syncs": self.list_all,
            "export_syncs": self.export,
            "get_sync": self.get,
            "pause_sync": self.pause,
            "resume_sync": self.resume,
            "cancel_sync": self.cancel,
        }

    async def create(self, request: web.Request) -> web.Response:
        """Compare with Stripe, or read anew what is named."""
        connection_id, wanted = read_id(request), await read_body(request, models.NewSync)
        sync_id = await self._state.connect.sync_now(
            connection_id,
            resources=wanted.resources,
            sought=(wanted.object.resource, wanted.object.id) if wanted.object else None,
            by=actor_of(request),
        )
        return await self._show(sync_id, status=202)

    async def list_of_connection(self, request: web.Request) -> web.Response:
        """Show a page of a connection's syncs."""
        connection_id, query = read_id(request), read_query(request, models.ConnectionSyncQuery)
        place = _place(query)
        await self._state.connections.get(connection_id)
        return await self._list(connection_id, query, place)

    async def list_all(self, request: web.Request) -> web.Response:
        """Show a page of all syncs."""
        query = read_query(request, models.SyncQuery)
        return await self._list(query.connection_id, query, _place(query))

    async def export(self, request: web.Request) -> web.StreamResponse:
        """Send all syncs that are wanted, as a file."""
        query = read_query(request, models.SyncExportQuery)
        syncs = self._state.syncs.iterate(query.connection_id, **_filters(query))
        pieces = as_csv(syncs) if query.format == "csv" else as_json(syncs)
        first = await anext(pieces)  # while nothing is sent yet, a database that is away can be told
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: "text/csv; charset=utf-8" if query.format == "csv" else "application/json",
                hdrs.CONTENT_DISPOSITION: f'attachment; filename="syncs.{query.format}"',
                hdrs.CACHE_CONTROL: "no-store",
            }
        )
        await response.prepare(request)
        await response.write(first)
        return await _send(request, response, pieces)

    async def get(self, request: web.Request) -> web.Response:
        """Show a sync with its progress."""
        sync_id = read_id(request)
        sync = models.SyncAnswer.model_validate(await self._state.syncs.get(sync_id))
        progress = await self._state.syncs.progress(sync_id)
        lines = tuple(models.ProgressAnswer.model_validate(one) for one in progress)
        counts = await self._state.comparisons.counts(sync_id)
        compared = tuple(models.ComparisonAnswer.model_validate(one) for one in counts)
        found = await delays_of_sync(self._state.pool, sync_id)
        delays = tuple(models.DelayAnswer.model_validate(one) for one in found)
        return write(models.SyncDetailAnswer(**dict(sync), progress=lines, comparison=compared, delays=delays))

    async def pause(self, request: web.Request) -> web.Response:
        """Let a sync wait."""
        sync_id = read_id(request)
        await self._state.steering.pause(sync_id, by=actor_of(request))
        return await self._show(sync_id)

    async def resume(self, request: web.Request) -> web.Response:
        """Let a sync go on."""
        sync_id = read_id(request)
        await self._state.steering.resume(sync_id, by=actor_of(request))
        return await self._show(sync_id)

    async def cancel(self, request: web.Request) -> web.Response:
        """Give a sync up."""
        sync_id = read_id(request)
        await self._state.steering.cancel(sync_id, by=actor_of(request))
        return await self._show(sync_id)

    async def _list(self, connection_id: str | None, query: models.ConnectionSyncQuery, place: Any) -> web.Response:
        found = await self._state.syncs.list_newest(
            connection_id, **_filters(query), before=place, limit=query.limit + 1
        )
        return write_page(
            models.Page[models.SyncAnswer],
            found,
            limit=query.limit,
            place=lambda last: [last.created_at.isoformat(), last.id],
        )

    async def _show(self, sync_id: str, *, status: int = 200) -> web.Response:
        return write(models.SyncAnswer.model_validate(await self._state.syncs.get(sync_id)), status=status)


def _filters(query: models.SyncFilter) -> dict[str, Any]:
    return {name: getattr(query, name) for name in FILTERS}


def _place(query: models.ConnectionSyncQuery) -> Any:
    place = read_cursor(query.cursor, parts=2)
    return (read_time(place[0]), place[1]) if place else None


async def _send(request: web.Request, response: web.StreamResponse, pieces: AsyncIterator[bytes]) -> web.StreamResponse:
    """Send the rest; one that is cut off has to look cut off, since its status was sent long ago."""
    try:
        async for piece in pieces:
            await response.write(piece)
    except TransientError as error:
        get_logger().warning("export_cut_off", reason=error.message)
        if request.transport:
            request.transport.abort()
    except ConnectionResetError:
        pass  # the caller has seen enough
    return response
