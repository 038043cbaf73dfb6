"""Answers the search: accounts, pages, and any id of Stripe's, which leads to its object or its event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from aiohttp import hdrs, web
from pydantic import Field

from services.connection_api.account_names import AccountNames
from services.connection_api.dashboard.dialogs import go, is_htmx
from services.connection_api.dashboard.filters import read_filter
from services.connection_api.dashboard.pages import Pages
from services.connection_api.data.finding import resource_of
from services.connection_api.data.tables import TABLE_VIEWS
from services.connection_api.rest.event_search import EventSearch
from services.connection_api.rest.models.base import LONGEST_STRIPE_ID, PRINTABLE, Input
from services.connection_api.state import State
from shared.http import Access, add_route

EVENT, CONNECTION = "evt_", "con_"
MOST_HITS = 8  # of one kind


class Search(Input):
    """What is looked for; `go` leads to the first thing that is found."""

    q: str | None = Field(default=None, max_length=LONGEST_STRIPE_ID, pattern=PRINTABLE)
    go: str | None = Field(default=None, pattern="^1$")


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that was found: where it leads, and how it is called."""

    href: str
    title: str
    kind: str
    words: str = ""  # by which it is found too


PAGES = (
    Hit("/", "Accounts", "Page", "home overview"),
    Hit("/connect", "Connect account", "Action", "add new stripe key"),
    Hit("/syncs", "Syncs", "Page", "history backfill"),
    Hit("/events", "Events", "Page", "webhooks"),
    Hit("/dead-letters", "Failed records", "Page", "dead letters errors replay"),
    Hit("/destinations", "Destinations", "Page", "postgres database warehouse"),
    Hit("/removals", "Removals", "Page", "receipts deleted"),
    Hit("/settings", "Settings", "Page", "general"),
    Hit("/audit", "Audit log", "Page", "who did what"),
    Hit("/reference", "API reference", "Page", "rest"),
)


class SearchPages:
    """Answers the routes of the search."""

    def __init__(self, state: State, pages: Pages) -> None:
        self._state = state
        self._pages = pages

    async def show(self, request: web.Request) -> web.Response:
        """The search, what is found, or with `go` the first thing of it."""
        wanted = read_filter(request, Search)
        q = (wanted.q or "").strip()
        hits = await self._find(q)
        if wanted.go and hits:
            return go(request, hits[0].href)
        template = "search/found.html" if "found" in request.headers.get("HX-Target", "") else "search/search.html"
        frame = "dialog.html" if is_htmx(request) else "sheet.html"
        resource = resource_of(q) if not hits else None
        label = TABLE_VIEWS[resource.table].label if resource else None
        response = self._pages.response(template, frame=frame, q=q, hits=hits, would_be=label, problem=None)
        response.headers[hdrs.VARY] = "HX-Request, HX-Target"
        return response

    async def _find(self, q: str) -> Sequence[Hit]:
        if not q:
            return PAGES
        if q.startswith(EVENT):
            return await self._events(q)
        words = q.casefold()
        hits = [one for one in PAGES if words in one.title.casefold() or words in one.words]
        return [*await self._accounts(q), *hits, *await self._objects(q)]

    async def _accounts(self, q: str) -> Sequence[Hit]:
        found = await AccountNames(self._state.pool).matching(q, limit=MOST_HITS)
        return [Hit(f"/connections/{one.id}", one.name, "Account") for one in found]

    async def _events(self, event_id: str) -> Sequence[Hit]:
        found = await self._state.events.list_newest(EventSearch(event_id=event_id), before=None, limit=MOST_HITS)
        address = quote(event_id, safe="")
        return [
            Hit(f"/events/{one.connection_id}/{address}", f"{one.type} · {one.connection_name}", "Event")
            for one in found
        ]

    async def _objects(self, q: str) -> Sequence[Hit]:
        """Return the objects with this id; a word that can't be one is not looked for in every destination."""
        if q.startswith(CONNECTION) or not (resource_of(q) or "_" in q):
            return ()
        located = await self._state.finder.find(q)
        return [
            Hit(
                f"/connections/{one.source.connection.id}/data/{one.found.table.name}/{quote(q, safe='')}"
                f"?{urlencode({'destination': one.source.destination.id})}",
                f"{q} · {one.source.connection.name}",
                one.found.table.label,
            )
            for one in located
        ]


def add_search(app: web.Application, state: State, pages: Pages) -> None:
    """Add the routes of the search."""
    search = SearchPages(state, pages)
    add_route(app, "GET", "/search", search.show, Access.READ)
