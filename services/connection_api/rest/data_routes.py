"""Answers what is asked about rows at destinations."""

from __future__ import annotations

import msgspec
from aiohttp import web

from services.connection_api.data.finding import Located, resource_of
from services.connection_api.rest import models
from services.connection_api.rest.requests import read_stripe_id, write
from services.connection_api.state import State
from shared.http import Handler


class Data:
    """The routes about rows."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers by their operations' names."""
        return {"get_object": self.get_object}

    async def get_object(self, request: web.Request) -> web.Response:
        """Show where the rows of an object are, and what they hold."""
        object_id = read_stripe_id(request)
        located = await self._state.finder.find(object_id)
        resource = located[0].found.table.resource if located else resource_of(object_id)
        rows = tuple(map(_answer, located))
        return write(models.ObjectAnswer(object_id=object_id, resource=resource.name if resource else None, rows=rows))


def _answer(one: Located) -> models.LocatedObjectAnswer:
    source, found = one.source, one.found
    return models.LocatedObjectAnswer(
        connection_id=source.connection.id,
        connection_name=source.connection.name,
        destination_id=source.destination.id,
        destination_name=source.destination.name,
        db_schema=source.schema,
        table=found.table.name,
        is_deleted=found.is_deleted,
        synced_at=found.synced_at,
        data=msgspec.json.decode(found.body) if found.body else None,
    )
