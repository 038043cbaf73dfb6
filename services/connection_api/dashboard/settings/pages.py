"""The settings' pages: what holds for the whole installation."""

from __future__ import annotations

from aiohttp import web

from services.connection_api.dashboard.pages import Pages
from shared.http import Access, add_route

# The parts, each with its address and how it is called.
PARTS = (("general", "/settings", "General"),)


class SettingsPages:
    """Answers the routes about settings."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def general(self, _request: web.Request) -> web.Response:
        """What runs here."""
        return self._pages.response("settings/general.html", parts=PARTS)


def add_settings_pages(app: web.Application, pages: Pages) -> None:
    """Add the settings' pages."""
    settings = SettingsPages(pages)
    add_route(app, "GET", "/settings", settings.general, Access.READ)
