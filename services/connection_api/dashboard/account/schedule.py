"""The dialog that has the rows verified by night or by week."""

from __future__ import annotations

from aiohttp import web

from services.connection_api.access.auth import actor_of
from services.connection_api.dashboard.dialogs import Dialogs, connection_of, go
from services.connection_api.dashboard.zones import zone_of
from services.connection_api.rest.models import NewVerifySchedule
from services.connection_api.rest.requests import read_id, read_values
from services.connection_api.state import State
from shared.comparisons import most_calls
from shared.errors import AppError
from shared.verify_schedules import VerifySchedule

OFFERED = (1, 2, 5, 10, 20)  # pages of each list
FIELDS = ("how_often", "hour", "zone", "pages")


class Schedule:
    """Verify on a schedule: what a run reads is said before."""

    def __init__(self, state: State, dialogs: Dialogs) -> None:
        self._state = state
        self._dialogs = dialogs

    async def show(self, request: web.Request, problem: AppError | None = None) -> web.Response:
        """The schedule as it was sent or as it is, in the viewer's zone where none was chosen."""
        connection, form = await connection_of(self._state, request), await request.post()
        schedule = await self._state.verify_schedules.get(connection.id)
        if schedule == VerifySchedule():
            schedule = VerifySchedule(zone=str(zone_of(request)))
        values = {name: str(form.get(name, getattr(schedule, name))) for name in FIELDS}
        offered = sorted({*OFFERED, schedule.pages})
        return self._dialogs.show(
            request,
            "account/schedule.html",
            problem,
            connection=connection,
            schedule=schedule,
            budgets=[(pages, most_calls(connection, pages)) for pages in offered],
            **values,
        )

    async def submit(self, request: web.Request) -> web.Response:
        """Keep the schedule, and show the account's page, which tells when it runs."""
        form = await request.post()
        wanted = read_values({name: form[name] for name in FIELDS if name in form}, NewVerifySchedule)
        connection_id = read_id(request)
        await self._state.comparing.schedule(connection_id, wanted.schedule, by=actor_of(request))
        return go(request, f"/connections/{connection_id}")
