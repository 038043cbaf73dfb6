"""Answers what is asked about comparisons of the rows with what Stripe has."""

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
    write,
    write_page,
)
from services.connection_api.state import State
from services.connection_api.views.verified import read_verified
from shared.comparisons import most_calls
from shared.http import Handler


class Comparisons:
    """The routes about comparisons."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers by their operations' names."""
        return {
            "verify_connection": self.verify,
            "get_verify_schedule": self.show_schedule,
            "set_verify_schedule": self.set_schedule,
            "list_differences": self.list_differences,
            "repair_sync": self.repair,
        }

    async def verify(self, request: web.Request) -> web.Response:
        """Verify rows."""
        connection_id, wanted = read_id(request), await read_body(request, models.NewComparison)
        sync_id = await self._state.comparing.verify(
            connection_id, is_full=wanted.full, resources=wanted.resources, by=actor_of(request)
        )
        return write(models.SyncAnswer.model_validate(await self._state.syncs.get(sync_id)), status=202)

    async def show_schedule(self, request: web.Request) -> web.Response:
        """Show when a connection is compared."""
        return await self._describe(read_id(request))

    async def set_schedule(self, request: web.Request) -> web.Response:
        """Choose when a connection is compared."""
        connection_id, wanted = read_id(request), await read_body(request, models.NewVerifySchedule)
        await self._state.comparing.schedule(connection_id, wanted.schedule, by=actor_of(request))
        return await self._describe(connection_id)

    async def _describe(self, connection_id: str) -> web.Response:
        connection = await self._state.connections.get(connection_id)
        schedule = await self._state.verify_schedules.get(connection_id)
        verified = await read_verified(
            self._state.pool, connection_id, how_often=schedule.how_often, hour=schedule.hour
        )
        return write(
            models.VerifyScheduleAnswer(
                how_often=schedule.how_often.value,
                hour=schedule.hour,
                zone=schedule.zone,
                pages=schedule.pages,
                calls=most_calls(connection, schedule.pages),
                next_run_at=schedule.next_run_at,
                last_run=models.VerifyRunAnswer.model_validate(verified.last) if verified.last else None,
                runs=tuple(models.VerifyRunAnswer.model_validate(run) for run in verified.scheduled),
            )
        )

    async def list_differences(self, request: web.Request) -> web.Response:
        """Show a page of the differences that a comparison has found."""
        sync_id, query = read_id(request), read_query(request, models.PageQuery)
        place = read_cursor(query.cursor, parts=1)
        await self._state.syncs.get(sync_id)
        found = await self._state.comparisons.differences(
            sync_id, after=read_number(place[0]) if place else 0, limit=query.limit + 1
        )
        return write_page(
            models.Page[models.DifferenceAnswer], found, limit=query.limit, place=lambda last: [str(last.id)]
        )

    async def repair(self, request: web.Request) -> web.Response:
        """Have what differs put right."""
        asked = await self._state.comparing.repair(read_id(request), by=actor_of(request))
        return write(models.RepairAnswer(objects=asked), status=202)
