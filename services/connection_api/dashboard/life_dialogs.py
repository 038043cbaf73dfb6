"""The dialogs about a connection's course: start date, what is synced, pause and removal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from aiohttp import web

from services.connection_api.access.auth import actor_of
from services.connection_api.dashboard import choice_forms, start_moments
from services.connection_api.dashboard.dialogs import Dialogs, connection_of, done, go, is_htmx
from services.connection_api.dashboard.zones import zone_of
from services.connection_api.rest.requests import read_id
from services.connection_api.state import State
from shared.connections import Connection
from shared.connections import State as ConnectionState
from shared.destinations import Destination
from shared.errors import AppError
from shared.http import Access, add_route
from shared.removals import RemovalStore

ASKS_DESTINATIONS = "asks_destinations"  # a form without it leaves the destinations as they are


class StartDate:
    """Set sync start date: what it would cost is told before it is saved."""

    def __init__(self, state: State, dialogs: Dialogs, now: Callable[[], datetime]) -> None:
        self._state = state
        self._dialogs = dialogs
        self._now = now

    async def show(self, request: web.Request, problem: AppError | None = None, **values: Any) -> web.Response:
        """The presets, with the date as it is."""
        connection = await connection_of(self._state, request)
        form = start_moments.form_values(self._now(), connection.start_date, zone_of(request))
        return self._dialogs.show(request, "start_date_dialog.html", problem, connection=connection, **form | values)

    async def estimate(self, request: web.Request) -> web.Response:
        """Tell what a date would cost."""
        start = start_moments.read_start(await request.post())
        estimate = await self._state.start_dates.estimate(read_id(request), start)
        if is_htmx(request):
            return self._dialogs.part("estimate.html", estimate=estimate, start=start)
        values: dict[str, Any] = start_moments.form_values(self._now(), start, zone_of(request)) | {
            "estimate": estimate
        }
        return await self.show(request, **values)

    async def submit(self, request: web.Request) -> web.Response:
        """Move the date."""
        form = await request.post()
        await self._state.start_dates.set(
            read_id(request),
            start_moments.read_start(form),
            delete_older=form.get("delete_older") == "yes",
            by=actor_of(request),
        )
        return done(request, "start_date_set")


class Choice:
    """What is synced: resources, and fields that are left out."""

    def __init__(self, state: State, dialogs: Dialogs) -> None:
        self._state = state
        self._dialogs = dialogs

    async def show(self, request: web.Request, problem: AppError | None = None, **values: Any) -> web.Response:
        """Everything that can be chosen, as it was sent or as it is."""
        connection = await connection_of(self._state, request)
        form = choice_forms.form_values(connection.resources, connection.omitted_fields)
        chosen = frozenset(connection.destination_ids)
        if request.method == "POST":
            sent = await request.post()
            form = choice_forms.sent_values(sent)
            if ASKS_DESTINATIONS in sent:
                chosen = frozenset(map(str, sent.getall("destination_ids", ())))
        shown = form | {"destinations": await self._offered(connection), "chosen": chosen, "follows": ()} | values
        return self._dialogs.show(request, "choice_dialog.html", problem, connection=connection, **shown)

    async def consequences(self, request: web.Request) -> web.Response:
        """Tell what follows from a choice."""
        connection = await connection_of(self._state, request)
        follows = choice_forms.consequences(connection, *await read_choice(request))
        if wanted := await read_destinations(request):
            offered = await self._offered(connection)
            follows += choice_forms.moves(offered, connection.destination_ids, wanted)
        if is_htmx(request):
            return self._dialogs.part("consequences.html", follows=follows)
        return await self.show(request, follows=follows)

    async def fields(self, request: web.Request) -> web.Response:
        """Show the fields of a resource, or tick those that are suggested."""
        return await show_fields(request, self._dialogs) if is_htmx(request) else await self.show(request)

    async def submit(self, request: web.Request) -> web.Response:
        """Change what is synced."""
        resources, omitted = await read_choice(request)
        await self._state.choices.choose(
            read_id(request),
            resources=resources,
            omitted_fields=omitted,
            destination_ids=await read_destinations(request),
            by=actor_of(request),
        )
        return done(request, "choice_changed")

    async def _offered(self, connection: Connection) -> list[Destination]:
        """Return the connection's own destinations, then the others."""
        store = self._state.destinations
        own = [await store.get(destination_id) for destination_id in connection.destination_ids]
        return own + [one for one in await store.list_page() if one.id not in connection.destination_ids]


class Pause:
    """Pause syncing."""

    def __init__(self, state: State, dialogs: Dialogs) -> None:
        self._state = state
        self._dialogs = dialogs

    async def show(self, request: web.Request, problem: AppError | None = None) -> web.Response:
        """Ask whether it is meant."""
        connection = await connection_of(self._state, request)
        return self._dialogs.show(request, "pause_dialog.html", problem, connection=connection)

    async def submit(self, request: web.Request) -> web.Response:
        """Stop calling Stripe for this connection."""
        is_new = await self._state.connect.pause(read_id(request), by=actor_of(request))
        return done(request, "paused" if is_new else "paused_already")


class Rename:
    """Rename: what people call the connection."""

    def __init__(self, state: State, dialogs: Dialogs) -> None:
        self._state = state
        self._dialogs = dialogs

    async def show(self, request: web.Request, problem: AppError | None = None) -> web.Response:
        """Ask for the name."""
        connection = await connection_of(self._state, request)
        name = (await request.post()).get("name", connection.name)
        return self._dialogs.show(request, "rename_dialog.html", problem, connection=connection, name=name)

    async def submit(self, request: web.Request) -> web.Response:
        """Give the connection another name."""
        form = await request.post()
        await self._state.naming.rename(read_id(request), str(form.get("name", "")), by=actor_of(request))
        return done(request, "renamed")


class Removal:
    """Remove connection: what goes is listed first, and the connection's name is asked for."""

    def __init__(self, state: State, dialogs: Dialogs) -> None:
        self._state = state
        self._dialogs = dialogs

    async def show(self, request: web.Request, problem: AppError | None = None) -> web.Response:
        """What would go; once it goes, how far it is."""
        connection = await connection_of(self._state, request)
        if connection.state is ConnectionState.REMOVING:
            return go(request, f"/removals/{(await RemovalStore(self._state.pool).of_connection(connection.id)).id}")
        return self._dialogs.show(
            request,
            "removal_dialog.html",
            problem,
            connection=connection,
            preview=await self._state.removals.preview(connection.id),
            destinations=[(await self._state.destinations.get(one)).name for one in connection.destination_ids],
            accepted=await self._state.removals.names_to_type(connection),
            values=await request.post(),
        )

    async def submit(self, request: web.Request) -> web.Response:
        """Begin the removal, and show how far it is."""
        form = await request.post()
        removal_id = await self._state.removals.request(
            read_id(request),
            account_name=str(form.get("account_name", "")),
            delete_rows=form.get("rows") == "delete",
            by=actor_of(request),
        )
        return go(request, f"/removals/{removal_id}")


async def read_choice(request: web.Request) -> tuple[list[str], dict[str, list[str]]]:
    """Return resources and left-out fields that a form brings; raise `PayloadError`."""
    form = await request.post()
    resources = choice_forms.read_resources([str(name) for name in form.getall("resources", ())])
    picked = [str(one) for one in form.getall(choice_forms.PICKED, ())]
    return resources, choice_forms.read_omitted(str(form.get(choice_forms.TYPED, "")), picked)


async def show_fields(request: web.Request, dialogs: Dialogs) -> web.Response:
    """Answer with the fields of the resource that a form asks for; raise `PayloadError`.

    The event `suggested` says that others are ticked now, since nobody has pressed them.
    """
    form = await request.post()
    response = dialogs.part("choice/fields_of.html", tree=choice_forms.asked_fields(form), fields_at=request.path)
    if choice_forms.SUGGEST in form:
        response.headers["HX-Trigger-After-Swap"] = "suggested"
    return response


async def read_destinations(request: web.Request) -> list[str] | None:
    """Return the destinations that a form brings, `None` from one that does not ask for them; raise `PayloadError`."""
    form = await request.post()
    if ASKS_DESTINATIONS not in form:
        return None
    return choice_forms.read_destinations([str(one) for one in form.getall("destination_ids", ())])


def add_life_dialogs(app: web.Application, state: State, dialogs: Dialogs, now: Callable[[], datetime]) -> None:
    """Add the routes of these dialogs; `now` gives the time with its zone."""
    start, choice = StartDate(state, dialogs, now), Choice(state, dialogs)
    dialogs.add(app, "/connections/{id}/start-date", start)
    dialogs.add(app, "/connections/{id}/choice", choice)
    dialogs.add(app, "/connections/{id}/pause", Pause(state, dialogs))
    dialogs.add(app, "/connections/{id}/name", Rename(state, dialogs))
    dialogs.add(app, "/connections/{id}/removal", Removal(state, dialogs))
    estimate = dialogs.refusable(start.estimate, start.show)
    add_route(app, "POST", "/connections/{id}/start-date/estimate", estimate, Access.MANAGE)
    fields = dialogs.refusable(choice.fields, choice.show)
    add_route(app, "POST", "/connections/{id}/choice/fields", fields, Access.MANAGE)
    follows = dialogs.refusable(choice.consequences, choice.show)
    add_route(app, "POST", "/connections/{id}/choice/consequences", follows, Access.MANAGE)
