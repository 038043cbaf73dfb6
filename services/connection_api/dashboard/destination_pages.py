"""The pages about destinations: their list, adding one, and each one's own page to test, change and remove it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from aiohttp import web
from pydantic import SecretStr

from services.connection_api.access.auth import actor_of
from services.connection_api.account_names import AccountNames
from services.connection_api.dashboard.dialogs import Dialogs, go, is_htmx
from services.connection_api.dashboard.filters import ListFilter, address, read_filter, read_form
from services.connection_api.dashboard.pages import Pages
from services.connection_api.dashboard.sync_pages import PAGE_SIZE
from services.connection_api.dashboard.sync_views import Account
from services.connection_api.rest import models
from services.connection_api.rest.requests import make_cursor, read_cursor, read_id
from services.connection_api.state import State
from services.connection_api.waiting import read_waiting
from shared.destinations import DEFAULT_SCHEMA, Destination, PostgresAddress
from shared.errors import AppError, RejectedError
from shared.http import Access, add_route
from shared.postgres_mark import TAKEN
from shared.postgres_probe import ProbeStep

STEP_TITLES = {
    "reachable": "Reach the server",
    "login": "Log in",
    "version": "Check the version",
    "settings": "Check encoding and time limits",
    "schema": "Find or make the schema",
    "tables": "Look at the tables that are there",
    "owner": "Look whose schema it is",
    "write": "Make a table and write",
    "delete": "Delete",
}
THEN_CONNECT = "connect"  # what a new destination is for: an account is being connected
NOTICES = {
    "added": "The destination was added.",
    "changed": "The change was saved; rows go there within seconds.",
    "removed": "The destination was removed. Its rows stay where they are.",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """What was tried at an address: the steps up to the first that failed, and the names of the others."""

    steps: Sequence[ProbeStep]

    @property
    def passed(self) -> bool:
        """Whether rows can be written there."""
        return self.steps[-1].passed

    @property
    def is_taken(self) -> bool:
        """Whether another one fills the schema, which can be taken over."""
        return self.steps[-1].code == TAKEN

    @property
    def left_out(self) -> Sequence[str]:
        """What was not tried, since something before it failed."""
        return [title for name, title in STEP_TITLES.items() if name not in {step.name for step in self.steps}]


@dataclass(frozen=True, slots=True)
class Form:
    """What a form shows: what was written in it (never a password), and what is wrong with it."""

    values: dict[str, str] = field(default_factory=dict)
    error: RejectedError | None = None
    trial: Trial | None = None
    notice: str | None = None
    take_over_at: str | None = None  # where a button takes the schema over; else the form has a box for it

    @property
    def status(self) -> int:
        """The status of the page that shows it."""
        return self.error.status if self.error else 200


Show = Callable[[Form], web.Response]


class DestinationPages:
    """Answers the routes about destinations."""

    def __init__(self, state: State, pages: Pages) -> None:
        self._state = state
        self._pages = pages

    async def list(self, request: web.Request) -> web.Response:
        """All destinations."""
        wanted = read_filter(request, ListFilter, also=("notice",))
        [after] = read_cursor(wanted.cursor, parts=1) or [""]
        found = await self._state.destinations.list_page(after=after, limit=PAGE_SIZE + 1)
        page = found[:PAGE_SIZE]
        cursor = make_cursor(page[-1].id) if len(found) > PAGE_SIZE else None
        return self._pages.response(
            "destinations.html",
            destinations=page,
            waiting=await read_waiting(self._state.pool, [one.id for one in page]),
            users=await AccountNames(self._state.pool).by_destination(one.id for one in page),
            is_first=not after,
            next_address=address("/destinations", {"cursor": cursor}) if cursor else None,
            notice=NOTICES.get(request.query.get("notice", "")),
        )

    async def new(self, _request: web.Request) -> web.Response:
        """The form of a new one."""
        return self._show_new(Form({"schema": DEFAULT_SCHEMA}))

    async def try_new(self, request: web.Request) -> web.Response:
        """Try an address, and keep nothing."""
        values = await _written(request)
        try:
            wanted = await read_form(request, models.DestinationTest, also=("name", "deleted_rows", "then"))
            form = Form(values, trial=await self._try(*wanted.place, take_over=wanted.take_over))
        except RejectedError as error:
            form = Form(values, error)
        return self._answer(request, form, self._show_new)

    async def create(self, request: web.Request) -> web.Response:
        """Keep an address that works."""
        values = await _written(request)
        try:
            wanted = await read_form(request, models.NewDestination, also=("then",))
            place = wanted.place
            trial = await self._try(*place, take_over=wanted.take_over)
            if not trial.passed:
                return self._answer(request, Form(values, trial=trial), self._show_new)
            destination_id = await self._state.places.add(
                wanted.name,
                *place,
                deleted_rows=wanted.deleted_rows,
                take_over=wanted.take_over,
                by=actor_of(request),
            )
        except RejectedError as error:
            return self._answer(request, Form(values, error), self._show_new)
        goes_on = values["then"] == THEN_CONNECT
        return go(request, f"/connect/key?destination_id={destination_id}" if goes_on else "/destinations?notice=added")

    async def show(self, request: web.Request) -> web.Response:
        """One destination."""
        show = await self._page_of(await self._state.destinations.get(read_id(request)))
        return show(Form(notice=NOTICES.get(request.query.get("notice", ""))))

    async def try_again(self, request: web.Request) -> web.Response:
        """Try a destination with the password that is kept."""
        destination = await self._state.destinations.get(read_id(request))
        trial = Trial(await self._state.places.probe_kept(destination.id))
        form = Form(trial=trial, take_over_at=f"/destinations/{destination.id}")
        return self._answer(request, form, await self._page_of(destination))

    async def change(self, request: web.Request) -> web.Response:
        """Keep another name, another address that works, or another choice about deleted rows."""
        store, places = self._state.destinations, self._state.places
        known = await store.get(read_id(request))
        show = await self._page_of(known)
        try:
            wanted = await read_form(request, models.DestinationChange)
            kept = await store.password(known.id) if wanted.keeps_password else SecretStr("")
            place = wanted.place(known.address, kept)
            if place:
                trial = await self._try(*place, destination_id=known.id, take_over=wanted.take_over)
                if not trial.passed:
                    return self._answer(request, Form(trial=trial), show)
                await places.mark(known.id, *place, take_over=wanted.take_over, by=actor_of(request))
            elif wanted.take_over:
                await places.take_over(known.id, by=actor_of(request))
            await store.change(
                known.id, name=wanted.name, place=place, deleted_rows=wanted.deleted_rows, by=actor_of(request)
            )
        except RejectedError as error:
            return self._answer(request, Form(error=error), show)
        return go(request, f"/destinations/{known.id}?notice=changed")

    async def _try(
        self,
        address: PostgresAddress,
        password: SecretStr,
        *,
        destination_id: str | None = None,
        take_over: bool,
    ) -> Trial:
        steps = await self._state.places.probe(address, password, destination_id=destination_id, take_over=take_over)
        return Trial(steps)

    def _answer(self, request: web.Request, form: Form, show: Show) -> web.Response:
        """Say how it went: to htmx in place, else as the whole page."""
        if is_htmx(request):
            return self._pages.response("probe.html", form=form, titles=STEP_TITLES)
        return show(form)

    def _show_new(self, form: Form) -> web.Response:
        return self._pages.response("destination_new.html", status=form.status, form=form, titles=STEP_TITLES)

    async def _page_of(self, destination: Destination) -> Show:
        users = await self._users(destination)
        waiting = (await read_waiting(self._state.pool, [destination.id]))[destination.id]
        return lambda form: self._pages.response(
            "destination.html",
            status=form.status,
            destination=destination,
            users=users,
            waiting=waiting,
            form=form,
            titles=STEP_TITLES,
        )

    async def _users(self, destination: Destination) -> Sequence[Account]:
        return (await AccountNames(self._state.pool).by_destination([destination.id])).get(destination.id, ())


async def _written(request: web.Request) -> dict[str, str]:
    """Return what a person wrote and may be shown again: not the address, since the password is in it."""
    form = await request.post()
    return {name: str(form.get(name, "")) for name in ("name", "schema", "ca", "deleted_rows", "then")}


class Removal:
    """The dialog that asks before a destination is forgotten."""

    def __init__(self, state: State, dialogs: Dialogs) -> None:
        self._state = state
        self._dialogs = dialogs

    async def show(self, request: web.Request, problem: AppError | None = None) -> web.Response:
        """Ask."""
        destination = await self._state.destinations.get(read_id(request))
        return self._dialogs.show(request, "destination_remove.html", problem, destination=destination)

    async def submit(self, request: web.Request) -> web.Response:
        """Forget a destination that nobody uses."""
        await self._state.destinations.delete(read_id(request), by=actor_of(request))
        return go(request, "/destinations?notice=removed")


class RebuildDialog:
    """The dialog that asks before a destination is filled again."""

    def __init__(self, state: State, dialogs: Dialogs) -> None:
        self._state = state
        self._dialogs = dialogs

    async def show(self, request: web.Request, problem: AppError | None = None) -> web.Response:
        """Ask."""
        destination = await self._state.destinations.get(read_id(request))
        return self._dialogs.show(request, "destination_rebuild.html", problem, destination=destination)

    async def submit(self, request: web.Request) -> web.Response:
        """Read everything anew that is delivered there, and show the syncs."""
        await self._state.rebuild.begin(read_id(request), by=actor_of(request))
        return go(request, "/syncs?kind=backfill")


def add_destination_pages(app: web.Application, state: State, pages: Pages, _now: Callable[[], datetime]) -> None:
    """Add the routes about destinations."""
    destinations = DestinationPages(state, pages)
    add_route(app, "GET", "/destinations", destinations.list, Access.READ)
    add_route(app, "GET", "/destinations/new", destinations.new, Access.MANAGE)
    add_route(app, "POST", "/destinations/new", destinations.create, Access.MANAGE)
    add_route(app, "POST", "/destinations/try", destinations.try_new, Access.MANAGE)
    add_route(app, "GET", "/destinations/{id}", destinations.show, Access.READ)
    add_route(app, "POST", "/destinations/{id}", destinations.change, Access.MANAGE)
    add_route(app, "POST", "/destinations/{id}/test", destinations.try_again, Access.MANAGE)
    dialogs = Dialogs(pages)
    dialogs.add(app, "/destinations/{id}/remove", Removal(state, dialogs))
    dialogs.add(app, "/destinations/{id}/rebuild", RebuildDialog(state, dialogs))
