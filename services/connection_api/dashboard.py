"""The dashboard: the Accounts page with its live feed, the sign-in page, error pages and static files."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from services.connection_api.account_filter import read_account_filter
from services.connection_api.assets import Assets
from services.connection_api.feed import Feed, Snapshots
from services.connection_api.overview import Overview
from services.connection_api.pages import Pages
from shared.db import Pool
from shared.http import PROBLEM, Access, Handler, add_route


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class Dashboard:
    """Answers the dashboard's routes."""

    def __init__(self, snapshots: Snapshots, pages: Pages) -> None:
        self._snapshots = snapshots
        self._pages = pages

    async def accounts(self, request: web.Request) -> web.Response:
        """The Accounts page, from what its feed shows too: the feed never brings something older."""
        wanted = read_account_filter(request)
        accounts = await self._snapshots.get(wanted)
        page = self._pages.response("accounts.html", accounts=accounts, setups=(), notice=None)
        page.headers["HX-Replace-Url"] = wanted.address()
        return page

    async def sign_in(self, _request: web.Request) -> web.Response:
        """How to get in."""
        return self._pages.response("sign_in.html")


def add_dashboard(app: web.Application, pool_of: Callable[[], Pool], *, now: Callable[[], datetime] = utc_now) -> None:
    """Add the dashboard's routes to an app of `shared.http.make_app`, whose responses carry the security headers.

    `pool_of` returns the state database's pool and raises `DatabaseUnavailableError` while there is none; `now` gives
    the time with its zone.
    """
    assets = Assets()
    pages = Pages(assets.url, now)
    overview = Overview()
    snapshots = Snapshots(lambda wanted: overview.read(pool_of(), wanted, now=now()))
    dashboard = Dashboard(snapshots, pages)
    feed = Feed(snapshots, lambda accounts: pages.text("cards.html", accounts=accounts))
    app.on_shutdown.append(feed.close)
    app.middlewares.insert(0, problems_as_pages(pages))
    add_route(app, "GET", "/", dashboard.accounts, Access.READ)
    add_route(app, "GET", "/events/accounts", feed.stream, Access.READ)
    add_route(app, "GET", "/sign-in", dashboard.sign_in, Access.PUBLIC)
    add_route(app, "GET", "/static/{name}", assets.serve, Access.PUBLIC)


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
    if retry_after := response.headers.get(hdrs.RETRY_AFTER):
        page.headers[hdrs.RETRY_AFTER] = retry_after
    return page
