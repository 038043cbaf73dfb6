"""The settings' pages: what holds for the whole installation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from services.connection_api.access.sessions import Credentials
from services.connection_api.dashboard.dialogs import Dialogs
from services.connection_api.dashboard.pages import Pages
from services.connection_api.dashboard.settings.access import add_access_pages
from services.connection_api.dashboard.settings.alarms import add_alarm_pages
from services.connection_api.state import State
from shared.http import Access, add_route


class SettingsPages:
    """Answers the routes about settings that have no module of their own."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def general(self, _request: web.Request) -> web.Response:
        """What runs here."""
        return self._pages.response("settings/general.html")


def add_settings_pages(
    app: web.Application, state: State, credentials: Credentials, pages: Pages, now: Callable[[], datetime]
) -> None:
    """Add the settings' pages; `now` gives the time with its zone."""
    dialogs = Dialogs(pages)
    settings = SettingsPages(pages)
    add_route(app, "GET", "/settings", settings.general, Access.READ)
    add_alarm_pages(app, state, pages, dialogs)
    add_access_pages(app, state, credentials, pages, dialogs, now)
