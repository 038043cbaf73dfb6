"""Dialogs: what opens in the dialog of a page by htmx, and without scripts is a page at the same address.

A dialog is asked for (`show`) and sent (`submit`). What it refuses is said beside the field that is to blame, and what
it has done is said once: in the toast, or on the Accounts page that follows.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from aiohttp import hdrs, web

from services.connection_api.dashboard.pages import Pages
from services.connection_api.rest.requests import read_id
from services.connection_api.state import State
from shared.connections import Connection
from shared.errors import AppError, RejectedError, TransientError
from shared.http import Access, Handler, add_route

NOTICES: Mapping[str, str] = MappingProxyType(
    {
        "connected": "The account is connected. Its history is being copied.",
        "key_updated": "The key is updated. Syncing picks back up.",
        "start_date_set": "The start date is set.",
        "choice_changed": "The choice is saved.",
        "renamed": "The connection has its new name.",
        "secret_rotated": "The webhook secret is rotated. No event is lost.",
        "paused": "Syncing is paused.",
        "paused_already": "It is paused already.",
        "resumed": "Syncing goes on.",
        "resumed_already": "It is not paused. Syncing goes on.",
        "delivering_again": "Delivery goes on, with what was kept.",
        "sync_queued": "A comparison with Stripe has begun.",
        "setup_discarded": "The set-up and its key are forgotten.",
    }
)


class Dialog(Protocol):
    """What a dialog has to be able to do."""

    async def show(self, request: web.Request, problem: AppError | None = None) -> web.Response:
        """Answer with the dialog, and with why it was refused."""

    async def submit(self, request: web.Request) -> web.Response:
        """Do what it is for; raise `RejectedError` or `TransientError`."""


class Dialogs:
    """Shows dialogs and their parts."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def show(self, request: web.Request, template: str, problem: AppError | None = None, **values: Any) -> web.Response:
        """Answer with the dialog: for htmx its content, else a page."""
        frame = "dialog.html" if is_htmx(request) else "sheet.html"
        status = problem.status if problem else 200
        response = self._pages.response(template, status=status, frame=frame, problem=problem, **values)
        response.headers[hdrs.VARY] = "HX-Request"
        return response

    def part(self, template: str, **values: Any) -> web.Response:
        """Answer with a part of a dialog."""
        return self._pages.response(template, **values)

    def add(self, app: web.Application, path: str, dialog: Dialog, *, shown_to: Access = Access.READ) -> None:
        """Add the routes of a dialog."""
        add_route(app, "GET", path, dialog.show, shown_to)
        add_route(app, "POST", path, self.refusable(dialog.submit, dialog.show), Access.MANAGE)

    def refusable(self, submit: Handler, show: Callable[..., Awaitable[web.Response]]) -> Handler:
        """Return a handler that says in the dialog why something was not done."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await submit(request)
            except (RejectedError, TransientError) as error:
                if is_htmx(request):
                    refusal = self._pages.response("problem.html", status=422, problem=error)
                    refusal.headers.update({"HX-Retarget": "#problem", "HX-Reswap": "innerHTML"})
                    return refusal
                return await show(request, error)

        return handle


def is_htmx(request: web.Request) -> bool:
    """Tell whether a part of a page is asked for, rather than a page."""
    return request.headers.get("HX-Request") == "true"


def done(request: web.Request, notice: str, *, shown_at: str | None = None) -> web.Response:
    """End a dialog and say what was done, with a link to where it is shown."""
    if is_htmx(request):
        trigger = json.dumps({"done": {"message": NOTICES[notice], "href": shown_at}})
        return web.Response(status=204, headers={"HX-Trigger": trigger})
    return go(request, shown_at or f"/?notice={notice}")


def go(request: web.Request, address: str) -> web.Response:
    """Send the browser to another page of ours."""
    if is_htmx(request):
        return web.Response(status=204, headers={"HX-Redirect": address})
    return web.Response(status=303, headers={hdrs.LOCATION: address})


async def connection_of(state: State, request: web.Request) -> Connection:
    """Return the connection that the address names; raise `NotFoundError`."""
    return await state.connections.get(read_id(request))
