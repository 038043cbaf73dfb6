"""The dialogs about a connection's key and its webhook secret."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web
from pydantic import SecretStr

from services.connection_api.access.auth import actor_of
from services.connection_api.dashboard.dialogs import Dialogs, connection_of, done, is_htmx
from services.connection_api.dashboard.stripe_links import create_key_address
from services.connection_api.rest.requests import read_id
from services.connection_api.settings import ApiSettings
from services.connection_api.state import State
from shared.api_keys import text_rules
from shared.catalogue import RESOURCES
from shared.errors import AppError, PayloadError
from shared.http import Access, add_route

LONGEST_KEY = 1000  # characters


class UpdateKey:
    """Update API Key: the new key is checked, shown by group, and then replaces the old one."""

    def __init__(self, state: State, dialogs: Dialogs, settings: ApiSettings) -> None:
        self._state = state
        self._dialogs = dialogs
        self._allow_test = settings.allow_test_keys

    async def show(self, request: web.Request, problem: AppError | None = None, **values: Any) -> web.Response:
        """The form beside its guide."""
        connection = await connection_of(self._state, request)
        return self._dialogs.show(
            request,
            "key_dialog.html",
            problem,
            connection=connection,
            rules=json.dumps(text_rules(allow_test=self._allow_test)),
            create_key=create_key_address(RESOURCES, livemode=connection.livemode),
            **{"report": None} | values,
        )

    async def check(self, request: web.Request) -> web.Response:
        """Show what the key may do; it is not kept."""
        key = await read_key(request)
        report = await self._state.keys.check(key, connection_id=read_id(request), by=actor_of(request))
        if is_htmx(request):
            create_key = create_key_address(RESOURCES, livemode=report.livemode)
            return self._dialogs.part("key_report.html", report=report, create_key=create_key)
        return await self.show(request, report=report)

    async def submit(self, request: web.Request) -> web.Response:
        """Replace the key."""
        await self._state.keys.update(read_id(request), await read_key(request), by=actor_of(request))
        return done(request, "key_updated")


class RotateSecret:
    """Rotate webhook secret."""

    def __init__(self, state: State, dialogs: Dialogs) -> None:
        self._state = state
        self._dialogs = dialogs

    async def show(self, request: web.Request, problem: AppError | None = None) -> web.Response:
        """Ask whether it is meant."""
        connection = await connection_of(self._state, request)
        return self._dialogs.show(request, "secret_dialog.html", problem, connection=connection)

    async def submit(self, request: web.Request) -> web.Response:
        """Give our endpoint at Stripe a new secret."""
        await self._state.keys.rotate_webhook_secret(read_id(request), by=actor_of(request))
        return done(request, "secret_rotated")


async def read_key(request: web.Request) -> SecretStr:
    """Return the key that a form brings; raise `PayloadError` when there is none."""
    text = (await request.post()).get("api_key")
    if not isinstance(text, str) or len(text) > LONGEST_KEY:
        raise PayloadError("Paste the restricted key.", field="api_key")
    return SecretStr(text)


def add_key_dialogs(app: web.Application, state: State, dialogs: Dialogs, settings: ApiSettings) -> None:
    """Add the routes of these dialogs."""
    update = UpdateKey(state, dialogs, settings)
    dialogs.add(app, "/connections/{id}/key", update)
    check = dialogs.refusable(update.check, update.show)
    add_route(app, "POST", "/connections/{id}/key/check", check, Access.MANAGE)
    dialogs.add(app, "/connections/{id}/webhook-secret", RotateSecret(state, dialogs))
