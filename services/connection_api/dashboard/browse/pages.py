"""The pages of an account's data: its tables, the rows of one, and one object with all that is known of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import hdrs, web
from pydantic import Field

from services.connection_api.access.auth import actor_of
from services.connection_api.dashboard.dialogs import done
from services.connection_api.dashboard.event_pages import EventView
from services.connection_api.dashboard.filters import DayFilter, address, has_blanks, read_filter
from services.connection_api.dashboard.pages import Pages
from services.connection_api.dashboard.stripe_links import object_address
from services.connection_api.dashboard.zones import zone_of
from services.connection_api.data.comparison import Difference, differences
from services.connection_api.data.objects import (
    Found,
    naming,
    read_object,
    read_related,
    references_in,
    select_sql,
)
from services.connection_api.data.rows import RowPage, Wanted, read_rows, read_statuses, read_values, text_of
from services.connection_api.data.sources import Source
from services.connection_api.data.tables import TableView, find_table
from services.connection_api.overview import Overview
from services.connection_api.rest.event_search import EventSearch
from services.connection_api.rest.models.base import LONGEST_STRIPE_ID, PRINTABLE, Id
from services.connection_api.rest.requests import read_cursor, read_id, read_stripe_id
from services.connection_api.rest.sync_export import safe
from services.connection_api.state import State
from services.connection_api.views.figures import read_table_figures
from shared.errors import AppError, PayloadError, StripeNotFoundError
from shared.http import Access, add_route
from shared.postgres_reading import NoTableError, ReadTooSlowError
from shared.postgres_tables import quote

EVENTS_SHOWN = 25
CSV = "csv"


class RowFilter(DayFilter):
    """Which rows a page shows."""

    destination: Id | None = None
    q: str | None = Field(default=None, max_length=LONGEST_STRIPE_ID, pattern=PRINTABLE)
    by: str | None = Field(default=None, max_length=63, pattern=r"^[a-z0-9_]+$")
    status: str | None = Field(default=None, max_length=100, pattern=PRINTABLE)

    @property
    def is_narrow(self) -> bool:
        """Whether anything but the destination was chosen."""
        return bool(self.values.keys() - {"destination"})


@dataclass(frozen=True, slots=True)
class Compared:
    """How a row and what Stripe has now differ, or why that can't be told."""

    differences: Sequence[Difference] = ()
    is_gone: bool = False  # at Stripe
    problem: AppError | None = None


class DataPages:
    """Answers the routes about rows and objects."""

    def __init__(self, state: State, pages: Pages, now: Callable[[], datetime]) -> None:
        self._state = state
        self._pages = pages
        self._now = now
        self._overview = Overview()

    async def tables(self, request: web.Request) -> web.Response:
        """What there is of each table."""
        connection_id, zone = read_id(request), zone_of(request)
        card = await self._overview.one(self._state.pool, connection_id, now=self._now())
        figures = await read_table_figures(self._state.pool, connection_id, now=self._now(), zone=zone)
        return self._pages.response("browse/tables.html", card=card, tables=figures, zone_name=str(zone))

    async def rows(self, request: web.Request) -> web.StreamResponse:
        """Rows of a table, newest first, or what is seen of them as CSV."""
        wanted = read_filter(request, RowFilter, also=("format",))
        if has_blanks(request):
            raise web.HTTPSeeOther(address(request.path, wanted.values))
        table, zone = find_table(request.match_info["table"]), zone_of(request)
        source = await self._state.sources.find(read_id(request), wanted.destination)
        asked = Wanted(
            wanted.q,
            wanted.by,
            wanted.status,
            wanted.since(zone),
            wanted.until(zone),
            read_cursor(wanted.cursor, parts=2),
        )
        if request.query.get("format") == CSV:
            return await self._as_csv(source, table, asked)
        page, statuses, problem = RowPage((), None), tuple[str, ...](), None
        try:
            async with self._state.sources.open(source) as read:
                page = await read_rows(read, source, table, asked)
                statuses = tuple(await read_statuses(read, source, table))
        except PayloadError:
            raise
        except AppError as error:
            problem = error
        following = {**wanted.values, "cursor": page.cursor}
        card = await self._overview.one(self._state.pool, source.connection.id, now=self._now())
        return self._pages.response(
            "browse/rows.html",
            card=card,
            table=table,
            source=source,
            page=page,
            wanted=wanted,
            statuses=sorted({*statuses, *([wanted.status] if wanted.status else [])}),
            problem=problem,
            index_sql=_index_sql(source, table) if isinstance(problem, ReadTooSlowError) else None,
            is_empty_table=isinstance(problem, NoTableError),
            is_synced=table.resource.name in source.connection.resources,
            base=f"/connections/{source.connection.id}/data/{table.name}",
            csv_address=address(request.path, {**wanted.values, **_cursor(wanted), "format": CSV}),
            newest_address=address(request.path, wanted.values),
            next_address=address(request.path, following) if page.cursor else None,
            zone_name=str(zone),
        )

    async def _as_csv(self, source: Source, table: TableView, asked: Wanted) -> web.Response:
        async with self._state.sources.open(source) as read:
            names, rows = await read_values(read, source, table, asked)
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(names)
        writer.writerows([_csv_cell(row[name]) for name in names] for row in rows)
        kept = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="{table.name}.csv"', hdrs.CACHE_CONTROL: "no-store"}
        return web.Response(text=text.getvalue(), content_type="text/csv", charset="utf-8", headers=kept)

    async def show(self, request: web.Request) -> web.Response:
        """One object: its row, its JSON, its events, and what it is related to."""
        wanted = read_filter(request, RowFilter, also=("compare",))
        table, object_id = find_table(request.match_info["table"]), read_stripe_id(request, name="object")
        source = await self._state.sources.find(read_id(request), wanted.destination)
        found, problem = await self._find(source, table, object_id)
        events = await self._state.events.list_newest(
            EventSearch(connection_id=source.connection.id, object_id=object_id), before=None, limit=EVENTS_SHOWN
        )
        changed = await self._state.events.changes(source.connection.id, [event.event_id for event in events])
        compared = await self._compare(source, table, object_id, found) if "compare" in request.query else None
        card = await self._overview.one(self._state.pool, source.connection.id, now=self._now())
        return self._pages.response(
            "browse/object.html",
            card=card,
            table=table,
            source=source,
            object_id=object_id,
            found=found,
            problem=problem,
            events=[EventView(event, None) for event in events],
            changed=changed,
            references=references_in(found.body) if found else (),
            related=await self._related(source, table, object_id),
            could_name=naming(table.resource, source.connection.resources),
            compared=compared,
            stripe_address=object_address(
                table.resource.name,
                object_id,
                account_id=source.connection.account_id,
                livemode=source.connection.livemode,
            ),
            sql=select_sql(source, table, object_id),
            is_synced=table.resource.name in source.connection.resources,
            data=f"/connections/{source.connection.id}/data",
        )

    async def _find(self, source: Source, table: TableView, object_id: str) -> tuple[Found | None, AppError | None]:
        try:
            async with self._state.sources.open(source) as read:
                return await read_object(read, source, table, object_id), None
        except NoTableError:
            return None, None
        except AppError as error:
            return None, error

    async def _related(self, source: Source, table: TableView, object_id: str) -> Sequence[Any]:
        """Return what names the object, as far as it is found in time: the page has links to the rest."""
        with suppress(AppError):
            async with self._state.sources.open(source) as read:
                return await read_related(read, source, table.resource, object_id)
        return ()

    async def _compare(self, source: Source, table: TableView, object_id: str, found: Found | None) -> Compared:
        """Ask Stripe for the object, and return how it differs from its row, or why that can't be told."""
        try:
            body = await self._state.at_stripe_now.read(source.connection.id, table.resource, object_id)
        except StripeNotFoundError:
            return Compared(is_gone=True)
        except AppError as error:
            return Compared(problem=error)
        if found is None or not found.body:
            return Compared()
        omitted = source.connection.omitted_fields.get(table.resource.name, ())
        return Compared(differences(msgspec.json.decode(found.body), msgspec.json.decode(body), omitted))

    async def sync(self, request: web.Request) -> web.Response:
        """Read the object from Stripe again, and show how that goes."""
        table, object_id = find_table(request.match_info["table"]), read_stripe_id(request, name="object")
        sought = (table.resource.name, object_id)
        sync_id = await self._state.connect.sync_now(read_id(request), sought=sought, by=actor_of(request))
        return done(request, "sync_queued", shown_at=f"/syncs/{sync_id}")


def _cursor(wanted: RowFilter) -> dict[str, str]:
    return {"cursor": wanted.cursor} if wanted.cursor else {}


def _csv_cell(value: object) -> str | None:
    return None if value is None else str(safe(text_of(value)))


def _index_sql(source: Source, table: TableView) -> str:
    """Return the index that makes a list of a large table quick."""
    where, moment = source.name_of(table.name), quote(table.moment)
    return f"CREATE INDEX CONCURRENTLY ON {where} (_account, _livemode, {moment} DESC NULLS LAST, id DESC);"


def add_data_pages(app: web.Application, state: State, pages: Pages, now: Callable[[], datetime]) -> None:
    """Add the routes about a connection's data."""
    data = DataPages(state, pages, now)
    base = "/connections/{id}/data"
    add_route(app, "GET", base, data.tables, Access.READ)
    add_route(app, "GET", f"{base}/{{table}}", data.rows, Access.READ)
    add_route(app, "GET", f"{base}/{{table}}/{{object}}", data.show, Access.READ)
    add_route(app, "POST", f"{base}/{{table}}/{{object}}/sync", data.sync, Access.MANAGE)
