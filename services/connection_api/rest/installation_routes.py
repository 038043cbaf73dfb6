"""Answers what is asked about the whole installation."""

from __future__ import annotations

from aiohttp import web

from services.connection_api.access.auth import actor_of
from services.connection_api.public_url import try_public_url
from services.connection_api.rest import models
from services.connection_api.rest.requests import read_body, write
from services.connection_api.state import State
from shared.http import Handler
from shared.version import VERSION


class InstallationRoutes:
    """The routes about settings."""

    def __init__(self, state: State, public_url: str | None) -> None:
        """`public_url` leads to the webhook gateway."""
        self._state = state
        self._public_url = public_url

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers by their operations' names."""
        return {"get_settings": self.get, "change_settings": self.change, "try_public_url": self.try_public_url}

    async def get(self, _request: web.Request) -> web.Response:
        """Show what is chosen."""
        return write(_answer(await self._state.installation.time_zone()))

    async def change(self, request: web.Request) -> web.Response:
        """Choose."""
        wanted = await read_body(request, models.NewInstallationSettings)
        await self._state.installation.choose_time_zone(wanted.time_zone, by=actor_of(request))
        return write(_answer(wanted.time_zone))

    async def try_public_url(self, _request: web.Request) -> web.Response:
        """Ask the gateway over the public URL."""
        tried = await try_public_url(self._public_url)
        answer = models.PublicUrlAnswer(
            public_url=self._public_url, is_fine=tried.is_fine, sentence=tried.sentence, fix=tried.fix
        )
        return write(answer)


def _answer(time_zone: str | None) -> models.InstallationSettings:
    return models.InstallationSettings(time_zone=time_zone, version=VERSION)
