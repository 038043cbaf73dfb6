"""The page about the audit log: who did what, newest first, and whether the chain of its entries holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web
from pydantic import Field

from services.connection_api.account_names import AccountNames
from services.connection_api.dashboard.filters import address, has_blanks, read_filter
from services.connection_api.dashboard.pages import Pages
from services.connection_api.dashboard.sync_pages import PAGE_SIZE
from services.connection_api.dashboard.sync_views import KINDS
from services.connection_api.rest.models.base import PRINTABLE, Input
from services.connection_api.rest.requests import make_cursor, read_cursor, read_number
from services.connection_api.state import State
from shared.audit import Entry
from shared.connections import CALLED
from shared.db import Row, database_errors
from shared.http import Access, add_route
from shared.syncs import Kind

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)")
OTHERS = f"""
SELECT id, 'destination' AS noun, name, NULL AS kind FROM destinations WHERE id = ANY ($1::text[])
UNION ALL SELECT id, 'removal', account_id, NULL FROM removals WHERE id = ANY ($1::text[])
UNION ALL SELECT s.id, 'sync', {CALLED.format("c")}, s.kind
FROM syncs s JOIN connections c ON c.id = s.connection_id WHERE s.id = ANY ($1::text[])
"""
ADDRESSES = {"destination": "/destinations/", "removal": "/removals/", "sync": "/syncs/"}


def _name(row: Row) -> str:
    return f"{KINDS[Kind(row['kind'])]} of {row['name']}" if row["kind"] else str(row["name"])


class AuditFilter(Input):
    """Which entries the page shows."""

    subject: str | None = Field(default=None, max_length=100, pattern=PRINTABLE)
    cursor: str | None = Field(default=None, max_length=500, pattern=r"^[A-Za-z0-9_\-]+$")

    @property
    def values(self) -> dict[str, str]:
        """What was chosen, as it stands in an address."""
        return {"subject": self.subject} if self.subject else {}


@dataclass(frozen=True, slots=True)
class Subject:
    """What an entry is about, while it exists: its name, and where it is shown."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class EntryView:
    """An entry as the page shows it; what is gone has its id alone."""

    entry: Entry
    subject: Subject | None

    @property
    def what(self) -> str:
        """What was done, and to what kind of thing."""
        return self.entry.action.replace(".", " ").replace("_", " ").capitalize()

    @property
    def details(self) -> Sequence[tuple[str, datetime | str]]:
        """What else is known; a time is told as a time."""
        return [(name.replace("_", " "), _told(value)) for name, value in self.entry.details.items()]


def _told(value: object) -> datetime | str:
    if isinstance(value, str) and TIME.fullmatch(value):
        return datetime.fromisoformat(value)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_told(one)}" for name, one in value.items()) or "none"
    return "none" if value is None else str(value)


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
            entries=await self._views(page),
            wanted=wanted,
            newest_address=address("/audit", wanted.values),
            next_address=address("/audit", {**wanted.values, "cursor": cursor}) if cursor else None,
        )

    async def _views(self, entries: Sequence[Entry]) -> Sequence[EntryView]:
        """Return the entries with the names of what still exists."""
        ids = sorted({entry.subject for entry in entries})
        accounts = await AccountNames(self._state.pool).named(ids)
        subjects = {one.id: Subject(one.name, f"/connections/{one.id}") for one in accounts.values()}
        with database_errors():
            rows = await self._state.pool.fetch(OTHERS, ids)
        subjects |= {row["id"]: Subject(_name(row), f"{ADDRESSES[row['noun']]}{row['id']}") for row in rows}
        return [EntryView(entry, subjects.get(entry.subject)) for entry in entries]

    async def verify(self, _request: web.Request) -> web.Response:
        """Compute every hash anew, and say whether the chain holds."""
        return self._pages.response("audit_verified.html", verification=await self._state.audit_log.verify())


def add_audit_pages(app: web.Application, state: State, pages: Pages, _now: Callable[[], datetime]) -> None:
    """Add the routes about the audit log."""
    audit = AuditPages(state, pages)
    add_route(app, "GET", "/audit", audit.list, Access.READ)
    add_route(app, "GET", "/audit/verification", audit.verify, Access.READ)
