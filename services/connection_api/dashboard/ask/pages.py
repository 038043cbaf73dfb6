"""Ask: ready questions about an account's rows, and how to connect a tool of one's own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from aiohttp import hdrs, web

from services.connection_api.dashboard.ask.cells import Grid, make_grid
from services.connection_api.dashboard.ask.money_views import MoneyViews, describe_views
from services.connection_api.dashboard.dialogs import is_htmx
from services.connection_api.dashboard.pages import Pages
from services.connection_api.dashboard.zones import zone_of
from services.connection_api.data.sources import Source
from services.connection_api.overview import Overview
from services.connection_api.questions.asking import Asked
from services.connection_api.rest.models import QuestionQuery
from services.connection_api.rest.requests import read_id, read_values
from services.connection_api.state import State
from services.connection_api.views.bi_tool import describe_tool
from shared.errors import RejectedError, TransientError
from shared.http import Access, add_route
from shared.postgres_reading import ReadTooSlowError

SLOW_CURE = "Copy the SQL and run it in a tool that gives it more time."


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer as the page shows it: its rows, or why there are none."""

    grid: Grid | None = None
    problem: str | None = None


class AskPages:
    """Answers the routes of the tab."""

    def __init__(self, state: State, pages: Pages, now: Callable[[], datetime]) -> None:
        self._state = state
        self._pages = pages
        self._now = now
        self._overview = Overview()

    async def list(self, request: web.Request) -> web.Response:
        """All questions."""
        return await self._page(request, {})

    async def answer(self, request: web.Request) -> web.Response:
        """The answer to one question: for htmx alone, else on the page."""
        name = request.match_info["name"]
        source = await self._find(request)
        shown = await self._ask(source, self._state.asking.one(source, name, zone=str(zone_of(request))))
        if not is_htmx(request):
            return await self._page(request, {name: shown})
        status = 422 if shown.problem else 200
        part = self._pages.response("ask/answer.html", status=status, shown=shown, name=name)
        part.headers[hdrs.VARY] = "HX-Request"
        return part

    async def views(self, request: web.Request) -> web.Response:
        """What there is of the views with amounts in major units: for htmx alone, else on the page."""
        source = await self._find(request)
        try:
            views = describe_views(source, await self._state.asking.views(source))
        except (RejectedError, TransientError) as error:
            views = MoneyViews(problem=error.message)
        if not is_htmx(request):
            return await self._page(request, {}, views)
        part = self._pages.response("ask/views.html", views=views)
        part.headers[hdrs.VARY] = "HX-Request"
        return part

    async def _find(self, request: web.Request) -> Source:
        query = read_values({key: value for key, value in request.query.items() if value}, QuestionQuery)
        return await self._state.asking.find(read_id(request), query.destination_id)

    async def _ask(self, source: Source, asked: Asked) -> Shown:
        try:
            return Shown(make_grid(await self._state.asking.answer(source, asked)))
        except ReadTooSlowError as error:
            return Shown(problem=f"{error.message} {SLOW_CURE}")
        except (RejectedError, TransientError) as error:
            return Shown(problem=error.message)

    async def _page(
        self, request: web.Request, answers: Mapping[str, Shown], views: MoneyViews | None = None
    ) -> web.Response:
        card = await self._overview.one(self._state.pool, read_id(request), now=self._now())
        zone = str(zone_of(request))
        if not card.places and "destination_id" not in request.query:
            return self._pages.response("ask/ask.html", card=card, source=None, zone_name=zone)
        source = await self._find(request)
        password = secrets.token_hex(16)  # made anew each time the page opens, and kept nowhere
        return self._pages.response(
            "ask/ask.html",
            card=card,
            source=source,
            questions=self._state.asking.all(source, zone=zone),
            answers=answers,
            views=views,
            tool=describe_tool(source.destination.address, password),
            zone_name=zone,
        )


def add_ask_pages(app: web.Application, state: State, pages: Pages, now: Callable[[], datetime]) -> None:
    """Add the routes of the tab; `now` gives the time with its zone."""
    ask = AskPages(state, pages, now)
    add_route(app, "GET", "/connections/{id}/ask", ask.list, Access.READ)
    add_route(app, "GET", "/connections/{id}/money-views", ask.views, Access.READ)
    add_route(app, "GET", "/connections/{id}/ask/{name}", ask.answer, Access.READ)
