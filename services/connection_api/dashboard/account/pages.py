"""The pages of one account, the dialogs that its menu opens, and the actions that need none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from services.connection_api.access.auth import actor_of
from services.connection_api.dashboard.account.pictures import read_pictures
from services.connection_api.dashboard.account.schedule import Schedule
from services.connection_api.dashboard.connect_pages import add_connect_pages
from services.connection_api.dashboard.dialogs import Dialogs, done
from services.connection_api.dashboard.key_dialogs import add_key_dialogs
from services.connection_api.dashboard.life_dialogs import add_life_dialogs
from services.connection_api.dashboard.pages import Pages
from services.connection_api.dashboard.sync_again_dialog import SyncAgain
from services.connection_api.dashboard.verify_dialog import Verify
from services.connection_api.dashboard.zones import zone_of
from services.connection_api.overview import Overview
from services.connection_api.questions.asking import QUESTIONS
from services.connection_api.rest.requests import read_id
from services.connection_api.settings import ApiSettings
from services.connection_api.state import State
from services.connection_api.views.arrival import arrival_of
from services.connection_api.views.verified import read_verified
from shared.http import Access, add_route


class AccountPages:
    """Answers the routes about one connection that are no dialog."""

    def __init__(self, state: State, pages: Pages, now: Callable[[], datetime]) -> None:
        self._state = state
        self._pages = pages
        self._now = now
        self._overview = Overview()

    async def overview(self, request: web.Request) -> web.Response:
        """How the account is, what came lately, and what there is of each table."""
        connection_id, zone, now = read_id(request), zone_of(request), self._now()
        card = await self._overview.one(self._state.pool, connection_id, now=now)
        shown = dict(await read_pictures(self._state.pool, connection_id, now=now, zone=zone))
        schedule = await self._state.verify_schedules.get(connection_id)
        verified = await read_verified(
            self._state.pool, connection_id, how_often=schedule.how_often, hour=schedule.hour
        )
        shown |= {
            "verified": verified,
            "schedule": schedule,
            "zone_name": str(zone),
            "first_day": now.astimezone(zone).date(),
            "questions": QUESTIONS.values(),
            "arrival": arrival_of(card, [line.table for line in shown["lines"]], now),
        }
        return self._pages.response("account/overview.html", card=card, **shown)

    async def sync_now(self, request: web.Request) -> web.Response:
        """Compare with Stripe now."""
        sync_id = await self._state.connect.sync_now(read_id(request), by=actor_of(request))
        return done(request, "sync_queued", shown_at=f"/syncs/{sync_id}")

    async def resume(self, request: web.Request) -> web.Response:
        """Go on after a pause."""
        is_new = await self._state.connect.resume(read_id(request), by=actor_of(request))
        return done(request, "resumed" if is_new else "resumed_already")

    async def deliver_again(self, request: web.Request) -> web.Response:
        """Let stopped deliveries go on."""
        await self._state.deliveries.resume(read_id(request), by=actor_of(request))
        return done(request, "delivering_again")


def add_account_pages(
    app: web.Application, state: State, pages: Pages, settings: ApiSettings, now: Callable[[], datetime]
) -> None:
    """Add the routes about one connection; `now` gives the time with its zone."""
    dialogs = Dialogs(pages)
    account = AccountPages(state, pages, now)
    add_route(app, "GET", "/connections/{id}", account.overview, Access.READ)
    add_route(app, "POST", "/connections/{id}/sync", account.sync_now, Access.MANAGE)
    add_route(app, "POST", "/connections/{id}/resume", account.resume, Access.MANAGE)
    add_route(app, "POST", "/connections/{id}/deliver-again", account.deliver_again, Access.MANAGE)
    add_key_dialogs(app, state, dialogs, settings)
    dialogs.add(app, "/connections/{id}/sync-again", SyncAgain(state, dialogs))
    dialogs.add(app, "/connections/{id}/verify", Verify(state, dialogs))
    dialogs.add(app, "/connections/{id}/verify-schedule", Schedule(state, dialogs))
    add_life_dialogs(app, state, dialogs, now)
    add_connect_pages(app, state, dialogs, settings, now)
