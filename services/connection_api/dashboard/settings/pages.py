"""The settings' pages: what holds for the whole installation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType

from aiohttp import web

from services.connection_api.access.auth import actor_of
from services.connection_api.access.sessions import Credentials
from services.connection_api.dashboard.dialogs import Dialogs, go, is_htmx
from services.connection_api.dashboard.pages import Pages
from services.connection_api.dashboard.settings.access import add_access_pages
from services.connection_api.dashboard.settings.alarms import add_alarm_pages
from services.connection_api.dashboard.zones import CHOSEN, offered_zones, zone_of
from services.connection_api.installation import ZONE
from services.connection_api.public_url import Tried, try_public_url
from services.connection_api.settings import ApiSettings
from services.connection_api.state import State
from services.connection_api.views.news import read_news
from services.connection_api.views.retention import kept
from shared.errors import AppError
from shared.http import Access, add_route
from shared.version import VERSION

BASE = "/settings"
NOTICES: Mapping[str, str] = MappingProxyType({"zone": "The time zone is saved."})


class SettingsPages:
    """Answers the routes about settings that have no module of their own."""

    def __init__(self, state: State, pages: Pages, public_url: str | None) -> None:
        """`public_url` leads to the webhook gateway."""
        self._state = state
        self._pages = pages
        self._public_url = public_url
        self._news = read_news()

    async def general(
        self, request: web.Request, problem: AppError | None = None, tried: Tried | None = None
    ) -> web.Response:
        """What is chosen for all, what is kept how long, and what runs here."""
        chosen = await self._state.installation.time_zone()
        zones = offered_zones()
        return self._pages.response(
            "settings/general.html",
            status=problem.status if problem else 200,
            problem=problem,
            zones=zones if chosen is None or chosen in zones else [chosen, *zones],
            chosen=chosen,
            shown_in=str(zone_of(request)),
            public_url=self._public_url,
            tried=tried,
            kept=kept(),
            version=VERSION,
            news=self._news,
            notice=NOTICES.get(request.query.get("notice", "")),
        )

    async def try_url(self, request: web.Request) -> web.Response:
        """Ask the gateway over the public URL, and say what came of it."""
        tried = await try_public_url(self._public_url)
        if is_htmx(request):
            return self._pages.response("settings/public_url.html", tried=tried)
        return await self.general(request, tried=tried)

    async def choose_zone(self, request: web.Request) -> web.Response:
        """Keep the zone in which times are shown."""
        wanted = str((await request.post()).get(ZONE, "")).strip() or None
        await self._state.installation.choose_time_zone(wanted, by=actor_of(request))
        request.app[CHOSEN].forget()
        return go(request, f"{BASE}?notice=zone")


def add_settings_pages(
    app: web.Application,
    state: State,
    credentials: Credentials,
    pages: Pages,
    settings: ApiSettings,
    now: Callable[[], datetime],
) -> None:
    """Add the settings' pages; `now` gives the time with its zone."""
    dialogs = Dialogs(pages)
    general = SettingsPages(state, pages, settings.public_url)
    add_route(app, "GET", BASE, general.general, Access.READ)
    refusable = dialogs.refusable(general.choose_zone, general.general)
    add_route(app, "POST", f"{BASE}/time-zone", refusable, Access.MANAGE)
    add_route(app, "POST", f"{BASE}/public-url/test", general.try_url, Access.MANAGE)
    add_alarm_pages(app, state, pages, dialogs)
    add_access_pages(app, state, credentials, pages, dialogs, now)
