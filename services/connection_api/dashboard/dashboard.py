"""The dashboard: the Accounts page with its live feed, the sign-in page, error pages and static files."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from markupsafe import Markup

from services.connection_api.access.sign_in import NEXT_COOKIE
from services.connection_api.account_filter import HomeFilter, View, read_home_filter
from services.connection_api.dashboard.assets import Assets
from services.connection_api.dashboard.badge import Badge
from services.connection_api.dashboard.dialogs import NOTICES
from services.connection_api.dashboard.feed import Feed, Snapshots
from services.connection_api.dashboard.home.pictures import render_part
from services.connection_api.dashboard.pages import Pages
from services.connection_api.dashboard.reference_page import add_reference
from services.connection_api.dashboard.zones import CHOSEN, ChosenZone
from services.connection_api.life.setups import Setup
from services.connection_api.views.home import Home
from shared.db import Pool
from shared.http import PROBLEM, Access, Handler, add_route

IsSignedIn = Callable[[web.Request], Awaitable[bool]]
SIGN_IN_PATH = "/sign-in"
VIEW_COOKIE = "tillstream_view"  # whether accounts are shown as a list or as cards
YEAR = 365 * 86400
ListSetups = Callable[[], Awaitable[Sequence[Setup]]]


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


async def no_setups() -> Sequence[Setup]:
    """Return that nothing is unfinished."""
    return ()


async def always(_request: web.Request) -> bool:
    """Return that whoever was let in stays in."""
    return True


class Dashboard:
    """Answers the dashboard's routes."""

    def __init__(self, home: Home, snapshots: Snapshots, pages: Pages, list_setups: ListSetups) -> None:
        self._home = home
        self._snapshots = snapshots
        self._pages = pages
        self._list_setups = list_setups

    async def accounts(self, request: web.Request) -> web.Response:
        """The Accounts page, from what its feed shows too: the feed never brings something older."""
        asked = read_home_filter(request)
        wanted = _with_remembered_view(asked, request)
        notice = NOTICES.get(request.query.get("notice", ""))
        if notice:
            self._home.forget()
            self._snapshots.forget()
        parts = await self._snapshots.get(wanted)
        shown = {name: Markup(render_part(self._pages, name, part, request)) for name, part in parts.items()}  # noqa: S704 - rendered
        setups = () if wanted.is_narrow else await self._list_setups()
        page = self._pages.response("accounts.html", shown=shown, wanted=wanted, setups=setups, notice=notice)
        page.headers["HX-Replace-Url"] = asked.address()
        if asked.view:
            page.set_cookie(VIEW_COOKIE, asked.view, max_age=YEAR, path="/", httponly=True, samesite="Lax")
        return page

    async def sign_in(self, _request: web.Request) -> web.Response:
        """How to get in."""
        return self._pages.response("sign_in.html")


def _with_remembered_view(asked: HomeFilter, request: web.Request) -> HomeFilter:
    """Return the filter with the view that was chosen last, where the address names none."""
    remembered = request.cookies.get(VIEW_COOKIE)
    if asked.view or remembered not in list(View):
        return asked
    return asked.model_copy(update={"view": View(remembered)})


def add_dashboard(
    app: web.Application,
    pool_of: Callable[[], Pool],
    *,
    list_setups: ListSetups = no_setups,
    now: Callable[[], datetime] = utc_now,
    is_signed_in: IsSignedIn = always,
) -> Pages:
    """Add the dashboard's routes to an app of `shared.http.make_app`, whose responses carry the security headers.

    Return what renders its pages. `pool_of` returns the state database's pool and raises `DatabaseUnavailableError`
    while there is none; `list_setups` tells what is unfinished; `now` gives the time with its zone;
    `is_signed_in` tells whether a page that is open may still be kept current.
    """
    assets = Assets()
    badge = Badge(pool_of)
    chosen = ChosenZone(pool_of)
    app[CHOSEN] = chosen
    pages = Pages(assets.url, now, causes=badge.causes, zone=lambda: chosen.zone)
    home = Home(pool_of, now)
    snapshots = Snapshots(home.read)
    dashboard = Dashboard(home, snapshots, pages, list_setups)
    feed = Feed(snapshots, partial(render_part, pages), is_signed_in)
    app.on_shutdown.append(feed.close)
    app.middlewares.insert(0, problems_as_pages(pages))
    app.middlewares.extend((badge.kept_current, chosen.kept_current))
    add_route(app, "GET", "/", dashboard.accounts, Access.READ)
    add_route(app, "GET", "/events/accounts", feed.stream, Access.READ)
    add_reference(app, pages)
    add_route(app, "GET", "/sign-in", dashboard.sign_in, Access.PUBLIC)
    add_route(app, "GET", "/static/{name}", assets.serve, Access.PUBLIC)
    return pages


def link_page(pages: Pages, require_link: Callable[[web.Request], Awaitable[None]]) -> Handler:
    """Return the handler of the page to which a sign-in link leads: its button opens the session."""

    async def show(request: web.Request) -> web.Response:
        await require_link(request)
        page = pages.response("sign_in.html", link=request.path)
        page.headers[hdrs.CACHE_CONTROL] = "no-store"
        return page

    return show


def problems_as_pages(pages: Pages) -> Middleware:
    """Return a middleware that shows a person's browser a page where a program would get a problem document.

    It has to lie around the one that translates errors.
    """
    return web.middleware(partial(_answer, pages))


async def _answer(pages: Pages, request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    if not isinstance(response, web.Response) or response.content_type != PROBLEM:
        return response
    if "text/html" not in request.headers.get(hdrs.ACCEPT, ""):
        return response
    problem = json.loads(response.text or "{}")
    template = "sign_in.html" if response.status == 401 else "error.html"
    page = pages.response(template, status=response.status, problem=problem)
    if response.status == 401 and request.method == "GET" and not request.path.startswith(SIGN_IN_PATH):
        # Only the page that opens a session reads it.
        page.set_cookie(
            NEXT_COOKIE, str(request.rel_url), max_age=600, path=SIGN_IN_PATH, httponly=True, samesite="Lax"
        )
    if retry_after := response.headers.get(hdrs.RETRY_AFTER):
        page.headers[hdrs.RETRY_AFTER] = retry_after
    return page
