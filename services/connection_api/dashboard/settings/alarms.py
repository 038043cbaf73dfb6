"""The page about alarms, and its dialogs: where they go, what was sent, add one, test it, remove it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from aiohttp import web

from services.connection_api.access.auth import actor_of
from services.connection_api.access.idempotency import answered_once
from services.connection_api.alarms.alarms import NO_MAIL
from services.connection_api.alarms.channel import DEFAULT_EVENTS, TEST, Channel, ChannelKind
from services.connection_api.dashboard.dialogs import Dialogs, go, is_htmx
from services.connection_api.dashboard.filters import ListFilter, address, read_filter
from services.connection_api.dashboard.pages import Pages
from services.connection_api.dashboard.sync_pages import OVER, PAGE_SIZE
from services.connection_api.dashboard.zones import zone_of
from services.connection_api.rest import models
from services.connection_api.rest.requests import ID, make_cursor, read_cursor, read_id, read_time, read_values
from services.connection_api.state import State
from services.connection_api.views.alarms import EVENTS, MessageView, message_view, name_of, read_channels
from shared.errors import AppError, NotFoundError, PayloadError
from shared.http import Access, add_route

BASE = "/settings/alarms"
NOTICES: Mapping[str, str] = MappingProxyType(
    {"added": "The alarm was added. Press Test to see whether it arrives.", "removed": "The alarm was removed."}
)
OFFERED = [(event, words) for event, words in EVENTS.items() if event != TEST]
QUIET = {"begin": "22:00", "end": "07:00"}  # what is offered first


class AlarmPages:
    """Answers the routes about alarms that are no dialog."""

    def __init__(self, state: State, pages: Pages) -> None:
        self._state = state
        self._pages = pages

    async def list(self, request: web.Request) -> web.Response:
        """Where alarms go, and what was sent, newest first."""
        wanted = read_filter(request, ListFilter, also=("notice", "message"))
        place = read_cursor(wanted.cursor, parts=2)
        before = (read_time(place[0]), place[1]) if place else None
        store = self._state.alarms.store
        found = await store.list_newest(before=before, limit=PAGE_SIZE + 1)
        page, is_more = found[:PAGE_SIZE], len(found) > PAGE_SIZE
        cursor = make_cursor(page[-1].created_at.isoformat(), page[-1].id) if is_more else None
        return self._pages.response(
            "settings/alarms.html",
            channels=await read_channels(store),
            messages=[message_view(one) for one in page],
            tested=await self._tested(request.query.get("message", "")),
            is_older=before is not None,
            next_address=address(BASE, {"cursor": cursor}) if cursor else None,
            notice=NOTICES.get(request.query.get("notice", "")),
        )

    async def _tested(self, message_id: str) -> MessageView | None:
        """Return the test that was sent a moment ago; `None` where the address names none."""
        if not ID.match(message_id):
            return None
        try:
            return message_view(await self._state.alarms.store.message(message_id))
        except NotFoundError:
            return None

    async def tested(self, request: web.Request) -> web.Response:
        """What came of a test, until that is known."""
        tested = message_view(await self._state.alarms.store.message(read_id(request)))
        return self._pages.response("settings/tested.html", status=OVER if tested.is_settled else 200, tested=tested)

    async def test(self, request: web.Request) -> web.Response:
        """Send a test, and show what comes of it."""
        message_id = await self._state.alarms.test(read_id(request), by=actor_of(request))
        return go(request, address(BASE, {"message": message_id}))


class NewAlarm:
    """The dialog that adds an alarm; the secret of a webhook is shown this once."""

    def __init__(self, state: State, dialogs: Dialogs) -> None:
        self._state = state
        self._dialogs = dialogs

    async def show(self, request: web.Request, problem: AppError | None = None) -> web.Response:
        """The form as it was sent or as it begins; the address is never shown again."""
        form = await request.post()
        values: dict[str, Any] = {
            "kind": str(form.get("kind", ChannelKind.WEBHOOK)),
            "chosen": [str(event) for event in form.getall("events", [])] if form else list(DEFAULT_EVENTS),
            "quiet": bool(form.get("quiet")),
            "zone": str(form.get("zone", zone_of(request))),
        } | {name: str(form.get(name, first)) for name, first in QUIET.items()}
        no_mail = None if self._state.alarms.has_mail else NO_MAIL
        return self._dialogs.show(
            request, "settings/alarm_new.html", problem, events=OFFERED, no_mail=no_mail, **values
        )

    async def submit(self, request: web.Request) -> web.Response:
        """Keep the alarm."""
        wanted = await read_form(request)
        made = await self._state.alarms.add(
            wanted.kind, wanted.address, events=wanted.events, quiet=wanted.quiet_hours, by=actor_of(request)
        )
        if made.secret is None:
            return go(request, f"{BASE}?notice=added")
        return show_once(
            self._dialogs,
            request,
            name=name_of(made.channel),
            label="Signing secret",
            hint="Verify with it that a message is ours.",
            secret=made.secret.get_secret_value(),
            back=f"{BASE}?notice=added",
        )


def show_once(dialogs: Dialogs, request: web.Request, **shown: Any) -> web.Response:
    """Answer with a secret in place of the form that made it; the form sent twice makes nothing more."""
    response = dialogs.show(request, "settings/shown_once.html", **shown)
    response.headers.update({"HX-Retarget": "#dialog", "HX-Reswap": "innerHTML"})
    again = web.Response(status=204) if is_htmx(request) else go(request, shown["back"])
    return answered_once(response, again)


async def read_form(request: web.Request) -> models.NewAlarm:
    """Return the alarm that a form asks for; raise `PayloadError` naming the field."""
    form = await request.post()
    if not str(form.get("address", "")).strip():
        raise PayloadError("Give the address.", field="address")
    if not form.getall("events", []):
        raise PayloadError("Choose at least one thing to tell of.", field="events")
    values: dict[str, Any] = {
        "kind": form.get("kind"),
        "address": str(form["address"]).strip(),
        "events": form.getall("events"),
    }
    if form.get("quiet"):
        values["quiet_hours"] = {name: str(form.get(name, "")) for name in (*QUIET, "zone")}
    try:
        return read_values(values, models.NewAlarm)
    except PayloadError as error:
        # A form has no nested fields, and says nothing of a field's name in the API.
        field = (error.field or "").rpartition(".")[2]
        sentence = error.message.partition("`: ")[2] or error.message
        if field == "quiet_hours":
            field = "zone" if "zone" in sentence else "begin"
        raise PayloadError(sentence, field=field) from None


class AlarmRemoval:
    """The dialog that asks before an alarm is forgotten."""

    def __init__(self, state: State, dialogs: Dialogs) -> None:
        self._state = state
        self._dialogs = dialogs

    async def show(self, request: web.Request, problem: AppError | None = None) -> web.Response:
        """Ask."""
        channel: Channel = await self._state.alarms.store.get(read_id(request))
        return self._dialogs.show(
            request, "settings/alarm_remove.html", problem, channel=channel, name=name_of(channel)
        )

    async def submit(self, request: web.Request) -> web.Response:
        """Forget the alarm."""
        await self._state.alarms.remove(read_id(request), by=actor_of(request))
        return go(request, f"{BASE}?notice=removed")


def add_alarm_pages(app: web.Application, state: State, pages: Pages, dialogs: Dialogs) -> None:
    """Add the routes about alarms."""
    alarms = AlarmPages(state, pages)
    add_route(app, "GET", BASE, alarms.list, Access.READ)
    add_route(app, "GET", f"{BASE}/messages/{{id}}", alarms.tested, Access.READ)
    add_route(app, "POST", f"{BASE}/{{id}}/test", alarms.test, Access.MANAGE)
    dialogs.add(app, f"{BASE}/new", NewAlarm(state, dialogs))
    dialogs.add(app, f"{BASE}/{{id}}/remove", AlarmRemoval(state, dialogs))
