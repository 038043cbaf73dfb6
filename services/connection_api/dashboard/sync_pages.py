"""The pages about syncs: the list of all, the list of one connection, and each one's own page, all kept current."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from aiohttp import web

from services.connection_api.access.auth import actor_of
from services.connection_api.account_names import AccountNames
from services.connection_api.dashboard.comparison_views import read_comparison
from services.connection_api.dashboard.dialogs import Dialogs, go
from services.connection_api.dashboard.filters import SyncListFilter, address, has_blanks, read_filter
from services.connection_api.dashboard.pages import Pages
from services.connection_api.dashboard.sync_views import KINDS, STATUSES, Account, LineView, SyncView, lines_of
from services.connection_api.dashboard.zones import zone_of
from services.connection_api.freshness import Freshness
from services.connection_api.rest.requests import make_cursor, read_cursor, read_id, read_time
from services.connection_api.state import State
from shared.delays import delays_of_sync
from shared.errors import AppError, NotFoundError
from shared.http import Access, add_route
from shared.quiet_syncs import QuietDay, quiet_days
from shared.searches import SearchStore
from shared.syncs import Sync

PAGE_SIZE = 25
OVER = 286  # how htmx is told to ask no more; static/poll.js understands it too
# https://htmx.org/docs/#polling


@dataclass(frozen=True, slots=True)
class SyncList:
    """A page of the list: its rows, what it was asked for, and where it goes on."""

    rows: Sequence[SyncView | QuietDay]
    wanted: SyncListFilter
    path: str
    next_cursor: str | None
    zone: tzinfo = UTC  # in which the days of the filter are meant

    @property
    def zone_name(self) -> str:
        """How the zone is called."""
        return str(self.zone)

    def export_address(self, form: str) -> str:
        """Return where the whole list is had as `csv` or `json`."""
        return self.wanted.export_address(form, self.zone)

    def quiet_address(self, quiet: QuietDay) -> str:
        """Return where a day's comparisons that found nothing are."""
        return self.address(quiet="shown", **{"from": f"{quiet.day}", "to": f"{quiet.day}"})

    def address(self, **changes: str | None) -> str:
        """Return this list's address with other choices; `None` takes one away."""
        values: Mapping[str, Any] = self.wanted.values | changes
        if self.path.startswith("/connections/"):
            values = {name: value for name, value in values.items() if name != "connection_id"}
        return address(self.path, {name: value for name, value in values.items() if value is not None})

    @property
    def live_address(self) -> str:
        """Return where the rows are had anew."""
        return SyncList((), self.wanted, f"{self.path}/rows", None).address(cursor=self.wanted.cursor)


class Cancel:
    """The dialog that asks before a sync is given up."""

    def __init__(self, syncs: SyncPages, state: State, dialogs: Dialogs) -> None:
        self._syncs = syncs
        self._state = state
        self._dialogs = dialogs

    async def show(self, request: web.Request, problem: AppError | None = None) -> web.Response:
        """Ask."""
        view, _ = await self._syncs.read(read_id(request))
        return self._dialogs.show(request, "sync_cancel.html", problem, view=view)

    async def submit(self, request: web.Request) -> web.Response:
        """Give the sync up, and show it."""
        sync_id = read_id(request)
        await self._state.steering.cancel(sync_id, by=actor_of(request))
        return go(request, f"/syncs/{sync_id}")


class SyncPages:
    """Answers the routes about syncs."""

    def __init__(self, state: State, pages: Pages, now: Callable[[], datetime]) -> None:
        """`now` gives the time with its zone."""
        self._state = state
        self._pages = pages
        self._now = now

    async def list_all(self, request: web.Request) -> web.Response:
        """The syncs of all connections."""
        wanted = read_filter(request, SyncListFilter)
        if has_blanks(request):
            raise web.HTTPSeeOther(address("/syncs", wanted.values))
        return await self._show_list(wanted, "/syncs", None, zone_of(request))

    async def list_of_connection(self, request: web.Request) -> web.Response:
        """The syncs of one connection."""
        connection_id = read_id(request)
        wanted = read_filter(request, SyncListFilter).model_copy(update={"connection_id": connection_id})
        account = await self._account(connection_id)
        path = f"/connections/{connection_id}/syncs"
        if has_blanks(request):
            raise web.HTTPSeeOther(SyncList((), wanted, path, None).address())
        return await self._show_list(wanted, path, account, zone_of(request))

    async def rows(self, request: web.Request) -> web.Response:
        """The rows of a list, as they are now."""
        wanted, path = read_filter(request, SyncListFilter), request.path.removesuffix("/rows")
        if "id" in request.match_info:
            wanted = wanted.model_copy(update={"connection_id": read_id(request)})
        return self._pages.response("sync_rows.html", syncs=await self._read(wanted, path, zone_of(request)))

    async def show(self, request: web.Request) -> web.Response:
        """One sync."""
        view, lines = await self.read(read_id(request))
        more = await self._more(view.sync, after=_after(request))
        return self._pages.response("sync.html", view=view, lines=lines, **more)

    async def progress(self, request: web.Request) -> web.Response:
        """One sync's figures, as they are now; once it has ended, nobody needs to ask again."""
        view, lines = await self.read(read_id(request))
        status = 200 if view.is_open else OVER
        more = await self._more(view.sync)
        return self._pages.response("sync_progress.html", status=status, view=view, lines=lines, **more)

    async def repair(self, request: web.Request) -> web.Response:
        """Have what differs put right, and show it."""
        return await self._steer(request, self._state.comparing.repair)

    async def pause(self, request: web.Request) -> web.Response:
        """Let a sync wait, and show it."""
        return await self._steer(request, self._state.steering.pause)

    async def resume(self, request: web.Request) -> web.Response:
        """Let a sync go on, and show it."""
        return await self._steer(request, self._state.steering.resume)

    async def _steer(self, request: web.Request, act: Callable[..., Awaitable[object]]) -> web.Response:
        sync_id = read_id(request)
        await act(sync_id, by=actor_of(request))
        return go(request, f"/syncs/{sync_id}")

    async def _more(self, sync: Sync, *, after: int = 0) -> dict[str, Any]:
        """Return what a sync has compared, and how many rows its lists did not show."""
        comparison = await read_comparison(self._state, sync, after=after)
        absent = 0 if comparison else await SearchStore(self._state.pool).found(sync.id)
        delays = await delays_of_sync(self._state.pool, sync.id)
        return {"comparison": comparison, "absent": absent, "delays": delays}

    async def _show_list(
        self, wanted: SyncListFilter, path: str, account: Account | None, zone: tzinfo
    ) -> web.Response:
        syncs = await self._read(wanted, path, zone)
        offered = () if account else await AccountNames(self._state.pool).offered(wanted.connection_id)
        freshness = await self._freshness(account.id) if account else None
        return self._pages.response(
            "syncs.html",
            syncs=syncs,
            account=account,
            freshness=freshness,
            offered=offered,
            kinds=KINDS,
            statuses=STATUSES,
        )

    async def _freshness(self, connection_id: str) -> Freshness | None:
        connection = await self._state.connections.get(connection_id)
        return (await self._state.freshness.read([connection], now=self._now())).get(connection_id)

    async def _read(self, wanted: SyncListFilter, path: str, zone: tzinfo) -> SyncList:
        place = read_cursor(wanted.cursor, parts=2)
        before = (read_time(place[0]), place[1]) if place else None
        found = await self._state.syncs.list_newest(
            wanted.connection_id,
            kind=wanted.kind,
            status=wanted.status,
            since=wanted.since(zone),
            until=wanted.until(zone),
            with_quiet=not wanted.folds_quiet,
            before=before,
            limit=PAGE_SIZE + 1,
        )
        page = found[:PAGE_SIZE]
        last = page[-1] if len(found) > PAGE_SIZE else None
        rows: list[SyncView | QuietDay] = [*await self._views(page)]
        if wanted.folds_quiet:
            rows += await quiet_days(
                self._state.pool,
                str(zone),
                connection_id=wanted.connection_id,
                since=wanted.since(zone),
                until=wanted.until(zone),
                newest_from=last.created_at if last else None,
                newest_before=before[0] if before else None,
            )
            rows.sort(key=_made_at, reverse=True)
        return SyncList(
            rows=rows,
            wanted=wanted,
            path=path,
            next_cursor=make_cursor(last.created_at.isoformat(), last.id) if last else None,
            zone=zone,
        )

    async def _views(self, syncs: Sequence[Sync]) -> Sequence[SyncView]:
        names = await AccountNames(self._state.pool).named(sync.connection_id for sync in syncs)
        now = self._now()
        # A connection that was removed between the two reads takes its syncs along.
        return [SyncView(sync, names[sync.connection_id], now) for sync in syncs if sync.connection_id in names]

    async def _account(self, connection_id: str) -> Account:
        account = (await AccountNames(self._state.pool).named([connection_id])).get(connection_id)
        if account is None:
            raise NotFoundError(f"There is no connection {connection_id}.")
        return account

    async def read(self, sync_id: str) -> tuple[SyncView, Sequence[LineView]]:
        """Return a sync as it is now, with its lines."""
        sync = await self._state.syncs.get(sync_id)
        connection = await self._state.connections.get(sync.connection_id)
        [view] = await self._views([sync])
        return view, lines_of(view, await self._state.syncs.progress(sync_id), connection.faults)


def _after(request: web.Request) -> int:
    """Return the difference after which a page begins; one that can't be read is the first page's."""
    text = request.query.get("after", "")
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def add_sync_pages(app: web.Application, state: State, pages: Pages, now: Callable[[], datetime]) -> None:
    """Add the routes about syncs."""
    syncs = SyncPages(state, pages, now)
    add_route(app, "GET", "/syncs", syncs.list_all, Access.READ)
    add_route(app, "GET", "/syncs/rows", syncs.rows, Access.READ)
    add_route(app, "GET", "/syncs/{id}", syncs.show, Access.READ)
    add_route(app, "GET", "/syncs/{id}/progress", syncs.progress, Access.READ)
    add_route(app, "POST", "/syncs/{id}/pause", syncs.pause, Access.MANAGE)
    add_route(app, "POST", "/syncs/{id}/resume", syncs.resume, Access.MANAGE)
    add_route(app, "POST", "/syncs/{id}/repair", syncs.repair, Access.MANAGE)
    dialogs = Dialogs(pages)
    dialogs.add(app, "/syncs/{id}/cancel", Cancel(syncs, state, dialogs))
    add_route(app, "GET", "/connections/{id}/syncs", syncs.list_of_connection, Access.READ)
    add_route(app, "GET", "/connections/{id}/syncs/rows", syncs.rows, Access.READ)


def _made_at(row: SyncView | QuietDay) -> datetime:
    return row.newest_at if isinstance(row, QuietDay) else row.sync.created_at
