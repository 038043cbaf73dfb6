"""The page about the audit log: who did what, newest first, and whether the chain of its entries holds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from aiohttp import web
from pydantic import Field

from services.connection_api.dashboard.filters import address, has_blanks, read_filter
from services.connection_api.dashboard.pages import Pages
from services.connection_api.dashboard.sync_pages import PAGE_SIZE
from services.connection_api.rest.models.base import PRINTABLE, Input
from services.connection_api.rest.requests import make_cursor, read_cursor, read_number
from services.connection_api.state import State
from shared.http import Access, add_route


class AuditFilter(Input):
    """Which entries the page shows."""

    subject: str | None = Field(default=None, max_length=100, pattern=PRINTABLE)
    cursor: str | None = Field(default=None, max_length=500, pattern=r"^[A-Za-z0-9_\-]+$")

    @property
    def values(self) -> dict[str, str]:
        """What was chosen, as it stands in an address."""
        return {"subject": self.subject} if self.subject else {}


class AuditPages:
    """Answers the routes about the audit log."""

    def __init__(self, state: State, pages: Pages) -> None:
        self._state = state
        self._pages = pages

    async def list(self, request: web.Request) -> web.Response:
        """Entries, newest first."""
        wanted = read_filter(request, AuditFilter)
        if has_blanks(request):
            raise web.HTTPSeeOther(address("/audit", wanted.values))
        place = read_cursor(wanted.cursor, parts=1)
        found = await self._state.audit_log.list_newest(
            subject=wanted.subject, before=read_number(place[0]) if place else None, limit=PAGE_SIZE + 1
        )
        page = found[:PAGE_SIZE]
        cursor = make_cursor(str(page[-1].id)) if len(found) > PAGE_SIZE else None
        return self._pages.response(
            "audit.html",
            entries=page,
            wanted=wanted,
            newest_address=address("/audit", wanted.values),
            next_address=address("/audit", {**wanted.values, "cursor": cursor}) if cursor else None,
        )

    async def verify(self, _request: web.Request) -> web.Response:
        """Compute every hash anew, and say whether the chain holds."""
        return self._pages.response("audit_verified.html", verification=await self._state.audit_log.verify())


def add_audit_pages(app: web.Application, state: State, pages: Pages, _now: Callable[[], datetime]) -> None:
    """Add the routes about the audit log."""
    audit = AuditPages(state, pages)
    add_route(app, "GET", "/audit", audit.list, Access.READ)
    add_route(app, "GET", "/audit/verification", audit.verify, Access.READ)
