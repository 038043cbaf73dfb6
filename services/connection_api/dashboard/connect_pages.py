"""Connecting an account in three steps: destination, key, start. Every step has an address at which it can be taken up.

The key is kept from the second step on, encrypted and for a day; nothing of it ever comes back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from aiohttp import web

from services.connection_api.access.auth import actor_of
from services.connection_api.account_filter import AccountFilter
from services.connection_api.dashboard import choice_forms, start_moments
from services.connection_api.dashboard.destination_pages import THEN_CONNECT, Form
from services.connection_api.dashboard.dialogs import Dialogs, go, is_htmx
from services.connection_api.dashboard.key_dialogs import read_key
from services.connection_api.dashboard.life_dialogs import read_choice, show_fields
from services.connection_api.dashboard.stripe_links import create_key_address
from services.connection_api.dashboard.zones import zone_of
from services.connection_api.life.naming import default_names
from services.connection_api.life.setups import Setup, SetupFinishedError
from services.connection_api.overview import Overview
from services.connection_api.rest.requests import ID, read_id
from services.connection_api.settings import ApiSettings
from services.connection_api.state import State
from shared.api_keys import text_rules
from shared.catalogue import DEFAULT_RESOURCES, RESOURCES
from shared.destinations import DEFAULT_SCHEMA
from shared.errors import AppError, NotFoundError, PayloadError
from shared.http import Access, add_route
from shared.key_check import Grant

MOST_OFFERED = 200  # destinations


class ChooseDestination:
    """The first step: where rows shall go."""

    def __init__(self, state: State, dialogs: Dialogs) -> None:
        self._state = state
        self._dialogs = dialogs

    async def show(self, request: web.Request) -> web.Response:
        """The destinations that there are, and the form of a new one."""
        return self._dialogs.part(
            "connect_destination.html",
            destinations=await self._state.destinations.list_page(limit=MOST_OFFERED),
            chosen=request.query.get("destination_id"),
            form=Form({"schema": DEFAULT_SCHEMA, "then": THEN_CONNECT}),
        )


class GiveKey:
    """The second step: a key that has passed its check."""

    def __init__(self, state: State, dialogs: Dialogs, settings: ApiSettings) -> None:
        self._state = state
        self._dialogs = dialogs
        self._allow_test = settings.allow_test_keys

    async def show(self, request: web.Request, problem: AppError | None = None, **values: Any) -> web.Response:
        """The form beside its guide; without a destination, the step before."""
        destination_id = await self._destination_id(request)
        if destination_id is None:
            return go(request, "/connect")
        return self._dialogs.show(
            request,
            "connect_key.html",
            problem,
            destination=await self._state.destinations.get(destination_id),
            account_id=(await request.post()).get("account_id", ""),
            rules=json.dumps(text_rules(allow_test=self._allow_test)),
            create_key=create_key_address(RESOURCES, livemode=True),
            **{"report": None} | values,
        )

    async def check(self, request: web.Request) -> web.Response:
        """Show what the key may do; it is not kept."""
        account_id = await self._account_id(request)
        report = await self._state.keys.check(await read_key(request), account_id=account_id)
        if is_htmx(request):
            create_key = create_key_address(RESOURCES, livemode=report.livemode)
            return self._dialogs.part("key_report.html", report=report, create_key=create_key)
        return await self.show(request, report=report)

    async def submit(self, request: web.Request) -> web.Response:
        """Keep the key for the last step."""
        destination_id = await self._destination_id(request)
        if destination_id is None:
            raise PayloadError("Choose a destination first.")
        setup = await self._state.setups.begin(
            await read_key(request), [destination_id], account_id=await self._account_id(request), by=actor_of(request)
        )
        return go(request, f"/connect/{setup.id}")

    async def _destination_id(self, request: web.Request) -> str | None:
        text = str((await request.post()).get("destination_id", request.query.get("destination_id", "")))
        return text if ID.match(text) else None

    async def _account_id(self, request: web.Request) -> str | None:
        return str((await request.post()).get("account_id", "")).strip() or None


class Finish:
    """The last step: from when on, and what."""

    def __init__(self, state: State, dialogs: Dialogs, now: Callable[[], datetime]) -> None:
        self._state = state
        self._dialogs = dialogs
        self._now = now
        self._overview = Overview()

    async def show(self, request: web.Request, problem: AppError | None = None, **values: Any) -> web.Response:
        """Everything that there is, and the resources that are synced unless told otherwise."""
        try:
            setup = await self._state.setups.get(read_id(request))
        except SetupFinishedError as finished:  # such as by the browser's Back
            return go(request, await self._card_address(finished.connection_id))
        form = await request.post()
        choice = choice_forms.sent_values(form) if form else choice_forms.form_values(default_resources(setup), {})
        destinations = [await self._state.destinations.get(one) for one in setup.destination_ids]
        account = (setup.key_check["account_name"], setup.key_check["account_id"])
        shown = {
            "setup": setup,
            "destinations": destinations,
            "name": form.get("name", ""),
            "asks_fields": choice_forms.OPENED in form or choice_forms.SUGGEST in form,
            "default_name": next(default_names(*account, destinations[0].name)),
        }
        moments = start_moments.form_values(self._now(), None, zone_of(request))
        return self._dialogs.show(request, "connect_finish.html", problem, **shown | choice | moments | values)

    async def estimate(self, request: web.Request) -> web.Response:
        """Tell what a start date would cost."""
        start = start_moments.read_start(await request.post())
        estimate = await self._state.start_dates.estimate_for_setup(read_id(request), start)
        if is_htmx(request):
            return self._dialogs.part("estimate.html", estimate=estimate, start=start)
        values: dict[str, Any] = start_moments.form_values(self._now(), start, zone_of(request)) | {
            "estimate": estimate
        }
        return await self.show(request, **values)

    async def fields(self, request: web.Request) -> web.Response:
        """Show the fields of a resource, or tick those that are suggested."""
        return await show_fields(request, self._dialogs) if is_htmx(request) else await self.show(request)

    async def submit(self, request: web.Request) -> web.Response:
        """Connect the account and show its card."""
        resources, omitted = await read_choice(request)
        connection_id = await self._state.setups.complete(
            read_id(request),
            start_date=start_moments.read_start(await request.post()),
            resources=resources,
            omitted_fields=omitted,
            name=str((await request.post()).get("name", "")).strip() or None,
            by=actor_of(request),
        )
        return go(request, await self._card_address(connection_id, notice="connected"))

    async def discard(self, request: web.Request) -> web.Response:
        """Forget the set-up and its key."""
        with suppress(NotFoundError):  # it is gone already, which is what was asked for
            await self._state.setups.discard(read_id(request), by=actor_of(request))
        return go(request, "/?notice=setup_discarded")

    async def _card_address(self, connection_id: str, *, notice: str | None = None) -> str:
        """Return the page on which the card is: the first one, else a search for it; `notice` is said there."""
        first = await self._overview.read(self._state.pool, AccountFilter(), now=self._now())
        wanted = AccountFilter()
        if connection_id not in {card.id for card in first.cards}:
            wanted = AccountFilter(q=(await self._state.connections.get(connection_id)).account_id)
        return f"{wanted.address(notice=notice)}#{connection_id}"


def default_resources(setup: Setup) -> frozenset[str]:
    """Return what is synced by default and can be read with the set-up's key."""
    report: Mapping[str, Any] = setup.key_check
    lines = [line for group in report["groups"] for line in group["permissions"]]
    unreadable = {name for line in lines if line["grant"] != Grant.GRANTED for name in line["resources"]}
    return frozenset(row.name for row in DEFAULT_RESOURCES) - unreadable


def add_connect_pages(
    app: web.Application, state: State, dialogs: Dialogs, settings: ApiSettings, now: Callable[[], datetime]
) -> None:
    """Add the routes of the three steps; `now` gives the time with its zone."""
    add_route(app, "GET", "/connect", ChooseDestination(state, dialogs).show, Access.MANAGE)
    key, finish = GiveKey(state, dialogs, settings), Finish(state, dialogs, now)
    dialogs.add(app, "/connect/key", key)
    add_route(app, "POST", "/connect/key/check", dialogs.refusable(key.check, key.show), Access.MANAGE)
    dialogs.add(app, "/connect/{id}", finish)
    add_route(app, "POST", "/connect/{id}/estimate", dialogs.refusable(finish.estimate, finish.show), Access.MANAGE)
    fields = dialogs.refusable(finish.fields, finish.show)
    add_route(app, "POST", "/connect/{id}/fields", fields, Access.MANAGE)
    add_route(app, "POST", "/connect/{id}/discard", finish.discard, Access.MANAGE)
