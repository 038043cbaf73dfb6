"""Answers what is asked about the whole installation."""

from __future__ import annotations

from aiohttp import web

from services.connection_api.access.auth import actor_of
from services.connection_api.rest import models
from services.connection_api.rest.requests import read_body, write
from services.connection_api.state import State
from shared.http import Handler


class InstallationRoutes:
    """The routes about settings."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers by their operations' names."""
        return {"get_settings": self.get, "change_settings": self.change}

    async def get(self, _request: web.Request) -> web.Response:
        """Show what is chosen."""
        return write(models.InstallationSettings(time_zone=await self._state.installation.time_zone()))

    async def change(self, request: web.Request) -> web.Response:
        """Choose."""
        wanted = await read_body(request, models.NewInstallationSettings)
        await self._state.installation.choose_time_zone(wanted.time_zone, by=actor_of(request))
        return write(models.InstallationSettings(time_zone=wanted.time_zone))
