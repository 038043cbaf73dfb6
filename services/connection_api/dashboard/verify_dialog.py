"""The dialog that has the rows compared with what Stripe has."""

from __future__ import annotations

from aiohttp import web

from services.connection_api.access.auth import actor_of
from services.connection_api.dashboard.dialogs import Dialogs, connection_of, go
from services.connection_api.rest.requests import read_id
from services.connection_api.state import State
from shared.comparisons import SAMPLE_PAGES
from shared.errors import AppError

FULL = "full"


class Verify:
    """Verify rows: a sample or everything; the sync that compares is shown."""

    def __init__(self, state: State, dialogs: Dialogs) -> None:
        self._state = state
        self._dialogs = dialogs

    async def show(self, request: web.Request, problem: AppError | None = None) -> web.Response:
        """What a comparison does and costs."""
        connection, form = await connection_of(self._state, request), await request.post()
        return self._dialogs.show(
            request, "verify_dialog.html", problem, connection=connection, pages=SAMPLE_PAGES, what=form.get("what")
        )

    async def submit(self, request: web.Request) -> web.Response:
        """Queue the comparison and show how far it is."""
        form = await request.post()
        sync_id = await self._state.comparing.verify(
            read_id(request), is_full=form.get("what") == FULL, by=actor_of(request)
        )
        return go(request, f"/syncs/{sync_id}")
