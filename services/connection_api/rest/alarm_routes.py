"""Answers what is asked about alarms."""

from __future__ import annotations

from aiohttp import web

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
from services.connection_api.state import State
from shared.http import Handler


class AlarmRoutes:
    """The routes about alarms."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers by their operations' names."""
        return {
            "create_alarm": self.create,
            "list_alarms": self.list,
            "delete_alarm": self.delete,
            "test_alarm": self.test,
            "list_alarm_messages": self.messages,
        }

    async def create(self, request: web.Request) -> web.Response:
        """Add an alarm and show a webhook's secret, this once."""
        wanted = await read_body(request, models.NewAlarm)
        made = await self._state.alarms.add(
            wanted.kind, wanted.address, events=wanted.events, quiet=wanted.quiet_hours, by=actor_of(request)
        )
        secret = made.secret.get_secret_value() if made.secret else None
        alarm = models.AlarmAnswer.model_validate(made.channel)
        return write(models.NewAlarmAnswer(alarm=alarm, signing_secret=secret), status=201)

    async def list(self, _request: web.Request) -> web.Response:
        """Show all alarms."""
        return write(models.AlarmsAnswer.model_validate({"data": await self._state.alarms.store.list_channels()}))

    async def delete(self, request: web.Request) -> web.Response:
        """Remove an alarm."""
        await self._state.alarms.remove(read_id(request), by=actor_of(request))
        return web.Response(status=204)

    async def test(self, request: web.Request) -> web.Response:
        """Send a test."""
        alarms = self._state.alarms
        message_id = await alarms.test(read_id(request), by=actor_of(request))
        return write(models.MessageAnswer.model_validate(await alarms.store.message(message_id)), status=202)

    async def messages(self, request: web.Request) -> web.Response:
        """Show a page of messages."""
        query = read_query(request, models.PageQuery)
        place = read_cursor(query.cursor, parts=2)
        before = (read_time(place[0]), place[1]) if place else None
        found = await self._state.alarms.store.list_newest(before=before, limit=query.limit + 1)
        return write_page(
            models.Page[models.MessageAnswer],
            found,
            limit=query.limit,
            place=lambda last: [last.created_at.isoformat(), last.id],
        )
