"""The pages about dead letters: their causes, the letters of one, one letter; and the dialogs to replay and discard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from services.connection_api.access.auth import actor_of
from services.connection_api.account_names import AccountNames
from services.connection_api.dashboard.dialogs import Dialogs, go
from services.connection_api.dashboard.filters import ListFilter, address, form_fields, has_blanks, read_filter
from services.connection_api.dashboard.pages import Pages
from services.connection_api.dashboard.sync_pages import PAGE_SIZE
from services.connection_api.dashboard.sync_views import Account
from services.connection_api.labels import label_of
from services.connection_api.letters.letters import subject_of
from services.connection_api.rest.models import LetterAnswer, LetterChoice, LetterGroupAnswer, ReplayAnswer
from services.connection_api.rest.models.base import Id, ResourceName
from services.connection_api.rest.requests import make_cursor, read_cursor, read_id, read_number, read_time, refusal
from services.connection_api.state import State
from shared.errors import AppError
from shared.http import Access, add_route
from shared.letter_choice import PREFIX

BASE = "/dead-letters"
POLL_OVER = 286  # tells the page that nothing will change any more
NOTICES: Mapping[str, str] = MappingProxyType({"discarded": "The failed records are discarded."})
STAGES: Mapping[str, str] = MappingProxyType(
    {
        "gateway": "A signed webhook that could not be used",
        "read": "An object of Stripe's that could not be taken",
        "parse": "A record that could not be read",
        "write": "A record that the destination refused",
    }
)


class LetterListFilter(ListFilter):
    """Which causes a page shows."""

    sync_id: Id | None = None
    resource: ResourceName | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """A letter or a group, with names instead of ids."""

    row: LetterAnswer | LetterGroupAnswer
    account: Account | None
    destination: str | None

    @property
    def resource(self) -> str | None:
        """What kind of object it is about."""
        return label_of(self.row.resource) if self.row.resource else None

    @property
    def noun(self) -> str:
        """What failed: records of an object, or webhooks that never became one."""
        return "record" if self.row.resource or self.row.destination_id else "message"


class LetterPages:
    """Answers the routes about dead letters."""

    def __init__(self, state: State, pages: Pages) -> None:
        self._state = state
        self._pages = pages

    async def groups(self, request: web.Request) -> web.Response:
        """The causes, that with the newest letter first."""
        wanted = read_filter(request, LetterListFilter, also=("notice", "replay"))
        if has_blanks(request):
            raise web.HTTPSeeOther(address(BASE, wanted.values))
        values = await self._groups(request, wanted)
        names = AccountNames(self._state.pool)
        return self._pages.response(
            "dead_letters.html",
            **values,
            notice=NOTICES.get(request.query.get("notice", "")),
            offered=await names.offered(wanted.connection_id),
            resource=label_of(wanted.resource).lower() if wanted.resource else None,
        )

    async def groups_now(self, request: web.Request) -> web.Response:
        """The causes alone, as they are while a replay goes on."""
        values = await self._groups(request, read_filter(request, LetterListFilter, also=("replay",)))
        status = 200 if values["is_moving"] else POLL_OVER
        return self._pages.response("dead_letter_groups.html", status=status, **values)

    async def group(self, request: web.Request) -> web.Response:
        """The letters of one cause."""
        wanted = read_filter(request, ListFilter)
        group = await self._state.letters.group(read_id(request))
        place = read_cursor(wanted.cursor, parts=1)
        found = await self._state.letters.list_newest(
            {"group_id": group.id}, before=read_number(place[0]) if place else None, limit=PAGE_SIZE + 1
        )
        page = found[:PAGE_SIZE]
        cursor = make_cursor(page[-1].id.removeprefix(PREFIX)) if len(found) > PAGE_SIZE else None
        here = f"{BASE}/groups/{group.id}"
        return self._pages.response(
            "dead_letter_group.html",
            group=(await self._named([group]))[0],
            letters=page,
            is_first=place is None,
            newest_address=here,
            next_address=address(here, {"cursor": cursor}) if cursor else None,
        )

    async def show(self, request: web.Request) -> web.Response:
        """One letter, with its body as it was."""
        letter = await self._state.letters.get(read_id(request))
        [view] = await self._named([letter])
        return self._pages.response("dead_letter.html", view=view, stage=STAGES.get(letter.stage, "A record"))

    async def _groups(self, request: web.Request, wanted: LetterListFilter) -> dict[str, Any]:
        place = read_cursor(wanted.cursor, parts=2)
        found = await self._state.letters.groups(
            {"connection_id": wanted.connection_id, "sync_id": wanted.sync_id, "resource": wanted.resource},
            before=(read_time(place[0]), place[1]) if place else None,
            limit=PAGE_SIZE + 1,
        )
        page = found[:PAGE_SIZE]
        last = page[-1] if len(found) > PAGE_SIZE else None
        cursor = make_cursor(last.last_seen_at.isoformat(), last.id) if last else None
        replay = await self._replay(request.query.get("replay"))
        return {
            "groups": await self._named(page),
            "wanted": wanted,
            "chosen": wanted.values or {"all": "true"},
            "replay": replay,
            "is_moving": replay is not None and replay.status == "running",
            "poll_address": address(f"{BASE}/now", request.query),
            "newest_address": address(BASE, wanted.values),
            "next_address": address(BASE, {**wanted.values, "cursor": cursor}) if cursor else None,
        }

    async def _replay(self, replay_id: str | None) -> ReplayAnswer | None:
        """Return the replay that was just asked for, else the newest if it is not done."""
        newest = await self._state.replays.list_newest(limit=PAGE_SIZE)
        asked = next((one for one in newest if one.id == replay_id), None)
        return asked or next((one for one in newest if one.status == "running"), None)

    async def _named(self, rows: Iterable[LetterAnswer | LetterGroupAnswer]) -> list[Named]:
        rows = list(rows)
        accounts = await AccountNames(self._state.pool).named(row.connection_id for row in rows if row.connection_id)
        places = await self._state.letters.destination_names(row.destination_id for row in rows)
        return [
            Named(row, accounts.get(row.connection_id or ""), places.get(row.destination_id or "", row.destination_id))
            for row in rows
        ]


class Act:
    """A dialog that does something to letters: one, those of a cause or an account, or all."""

    def __init__(self, state: State, dialogs: Dialogs, template: str) -> None:
        self._state = state
        self._dialogs = dialogs
        self._template = template

    async def show(self, request: web.Request, problem: AppError | None = None) -> web.Response:
        """Say how many are meant, and ask."""
        given = {**request.query, **await form_fields(request)}
        chosen = read_choice(given)
        return self._dialogs.show(
            request,
            self._template,
            problem,
            given=given,
            back=_back(chosen),
            number=await self._state.letters.count(chosen),
        )


class Replay(Act):
    """Try letters again."""

    async def submit(self, request: web.Request) -> web.Response:
        """Ask for it, and show how far it is."""
        chosen = read_choice(await form_fields(request))
        replay = await self._state.replays.request(chosen, by=actor_of(request))
        return go(request, address(BASE, {"replay": replay.id}))


class Discard(Act):
    """Delete letters for good."""

    async def submit(self, request: web.Request) -> web.Response:
        """Delete them."""
        await self._state.letters.discard(read_choice(await form_fields(request)), by=actor_of(request))
        return go(request, address(BASE, {"notice": "discarded"}))


def read_choice(given: Mapping[str, Any]) -> LetterChoice:
    """Return which letters a form or an address means; raise `PayloadError`."""
    values: dict[str, Any] = dict(given)
    if "ids" in values:
        values["ids"] = [values["ids"]]
    if "all" in values:
        values["all"] = values["all"] == "true"
    try:
        return LetterChoice.model_validate(values)
    except ValidationError as error:
        raise refusal(error) from None


def _back(chosen: LetterChoice) -> str:
    if chosen.ids:
        return f"{BASE}/{subject_of(chosen)}"
    return f"{BASE}/groups/{chosen.group_id}" if chosen.group_id else BASE


def add_letter_pages(app: web.Application, state: State, pages: Pages, _now: Callable[[], datetime]) -> None:
    """Add the routes about dead letters."""
    letters, dialogs = LetterPages(state, pages), Dialogs(pages)
    add_route(app, "GET", BASE, letters.groups, Access.READ)
    add_route(app, "GET", f"{BASE}/now", letters.groups_now, Access.READ)
    dialogs.add(app, f"{BASE}/replay", Replay(state, dialogs, "dead_letter_replay.html"))
    dialogs.add(app, f"{BASE}/discard", Discard(state, dialogs, "dead_letter_discard.html"))
    add_route(app, "GET", f"{BASE}/groups/{{id}}", letters.group, Access.READ)
    add_route(app, "GET", f"{BASE}/{{id}}", letters.show, Access.READ)
