"""The dialog that has resources or one object read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from services.connection_api.access.auth import actor_of
from services.connection_api.dashboard.dialogs import Dialogs, connection_of, go
from services.connection_api.labels import label_of
from services.connection_api.rest.models.base import check_stripe_id
from services.connection_api.rest.requests import read_id
from services.connection_api.state import State
from shared.catalogue import RESOURCES
from shared.connections import Connection
from shared.errors import AppError, PayloadError

OBJECT = "object"  # the choice of one object, rather than of whole resources


@dataclass(frozen=True, slots=True)
class Line:
    """A resource that can be read again."""

    name: str
    label: str
    is_singleton: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be read again: whole resources, or the object `sought` (resource and id)."""

    resources: Sequence[str] | None = None
    sought: tuple[str, str] | None = None


class SyncAgain:
    """Sync again: what was chosen is read anew, and its sync is shown."""

    def __init__(self, state: State, dialogs: Dialogs) -> None:
        self._state = state
        self._dialogs = dialogs

    async def show(self, request: web.Request, problem: AppError | None = None) -> web.Response:
        """The connection's resources, with what was chosen."""
        connection, form = await connection_of(self._state, request), await request.post()
        return self._dialogs.show(
            request,
            "sync_again_dialog.html",
            problem,
            connection=connection,
            resources=_lines(connection),
            what=form.get("what"),
            selected=frozenset(map(str, form.getall("resources", ()))),
            sought=form.get("object"),
            object_id=form.get("object_id", ""),
        )

    async def submit(self, request: web.Request) -> web.Response:
        """Queue the reading and show how far it is."""
        wanted = await read_wanted(request)
        sync_id = await self._state.connect.sync_now(
            read_id(request), resources=wanted.resources, sought=wanted.sought, by=actor_of(request)
        )
        return go(request, f"/syncs/{sync_id}")


async def read_wanted(request: web.Request) -> Wanted:
    """Return what a form asks for; raise `PayloadError` naming the field where it asks for nothing."""
    form = await request.post()
    if form.get("what") == OBJECT:
        object_id = str(form.get("object_id", "")).strip()
        if not object_id:
            raise PayloadError("Give the id of one object, such as in_1Qh9xK2mT4bVwL1.", field="object_id")
        try:
            return Wanted(sought=(str(form.get("object", "")), check_stripe_id(object_id)))
        except ValueError as error:
            raise PayloadError(f"{error}.", field="object_id") from error
    resources = [str(name) for name in form.getall("resources", ())]
    if not resources:
        raise PayloadError("Choose at least one resource.", field="resources")
    return Wanted(resources)


def _lines(connection: Connection) -> Sequence[Line]:
    return [
        Line(row.name, label_of(row.name), row.is_singleton) for row in RESOURCES if row.name in connection.resources
    ]
