"""Answers what is asked about a connection's keys, set-ups, start date, choices and removal."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from services.connection_api.access.auth import actor_of
from services.connection_api.rest import models
from services.connection_api.rest.requests import (
    read_body,
    read_cursor,
    read_id,
    read_query,
    read_time,
    write,
    write_page,
)
from services.connection_api.state import State
from shared.catalogue import RESOURCES, Resource
from shared.delays import Delay
from shared.http import Handler
from shared.removals import Removal, RemovalStore


class ConnectionLife:
    """The routes about what a connection goes through after it was made, and before."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers by their operations' names."""
        return {
            "check_key": self.check_key,
            "update_key": self.update_key,
            "rotate_webhook_secret": self.rotate_webhook_secret,
            "estimate_start_date": self.estimate_start_date,
            "set_start_date": self.set_start_date,
            "choose": self.choose,
            "preview_removal": self.preview_removal,
            "remove_connection": self.remove,
            "list_removals": self.list_removals,
            "get_removal": self.get_removal,
            "give_up_removal_rows": self.give_up_removal_rows,
            "create_setup": self.create_setup,
            "list_setups": self.list_setups,
            "get_setup": self.get_setup,
            "delete_setup": self.delete_setup,
            "complete_setup": self.complete_setup,
            "list_resources": self.list_resources,
        }

    async def check_key(self, request: web.Request) -> web.Response:
        """Tell what a key may do."""
        wanted = await read_body(request, models.NewKeyCheck)
        report = await self._state.keys.check(
            wanted.api_key,
            connection_id=wanted.connection_id,
            account_id=wanted.account_id,
            resources=wanted.resources,
            by=actor_of(request),
        )
        return write(models.KeyCheckAnswer.model_validate(report))

    async def update_key(self, request: web.Request) -> web.Response:
        """Replace a connection's key."""
        connection_id, wanted = read_id(request), await read_body(request, models.NewKey)
        await self._state.keys.update(connection_id, wanted.api_key, by=actor_of(request))
        return await self._describe(connection_id)

    async def rotate_webhook_secret(self, request: web.Request) -> web.Response:
        """Give our endpoint at Stripe a new secret."""
        connection_id = read_id(request)
        await self._state.keys.rotate_webhook_secret(connection_id, by=actor_of(request))
        return await self._describe(connection_id)

    async def estimate_start_date(self, request: web.Request) -> web.Response:
        """Tell what a start date would cost."""
        connection_id, wanted = read_id(request), await read_body(request, models.StartDateQuestion)
        estimate = await self._state.start_dates.estimate(connection_id, wanted.start_date)
        return write(models.EstimateAnswer.model_validate(estimate))

    async def set_start_date(self, request: web.Request) -> web.Response:
        """Move the start date."""
        connection_id, wanted = read_id(request), await read_body(request, models.NewStartDate)
        await self._state.start_dates.set(
            connection_id, wanted.start_date, delete_older=wanted.delete_older, by=actor_of(request)
        )
        return await self._describe(connection_id)

    async def choose(self, request: web.Request) -> web.Response:
        """Change what is synced."""
        connection_id, wanted = read_id(request), await read_body(request, models.NewChoice)
        await self._state.choices.choose(
            connection_id,
            resources=wanted.resources,
            omitted_fields=wanted.omitted_fields,
            destination_ids=wanted.destination_ids,
            by=actor_of(request),
        )
        return await self._describe(connection_id)

    async def preview_removal(self, request: web.Request) -> web.Response:
        """Tell what a removal would take away."""
        preview = await self._state.removals.preview(read_id(request))
        return write(models.RemovalPreviewAnswer.model_validate(preview))

    async def remove(self, request: web.Request) -> web.Response:
        """Begin a removal."""
        connection_id, wanted = read_id(request), await read_body(request, models.NewRemoval)
        removal_id = await self._state.removals.request(
            connection_id, account_name=wanted.account_name, delete_rows=wanted.delete_rows, by=actor_of(request)
        )
        return write(await self._answer(removal_id), status=202)

    async def list_removals(self, request: web.Request) -> web.Response:
        """Show a page of removals."""
        query = read_query(request, models.PageQuery)
        place = read_cursor(query.cursor, parts=2)
        found = await RemovalStore(self._state.pool).list_newest(
            before=(read_time(place[0]), place[1]) if place else None, limit=query.limit + 1
        )
        store = RemovalStore(self._state.pool)
        shown = [removal_answer(one, await store.waits(one)) for one in found]
        return write_page(
            models.Page[models.RemovalAnswer],
            shown,
            limit=query.limit,
            place=lambda last: [last.requested_at.isoformat(), last.id],
        )

    async def get_removal(self, request: web.Request) -> web.Response:
        """Show a removal, or its receipt."""
        return write(await self._answer(read_id(request)))

    async def give_up_removal_rows(self, request: web.Request) -> web.Response:
        """Leave the rows that a removal has not deleted yet."""
        removal_id = read_id(request)
        await self._state.removals.give_up_rows(removal_id, by=actor_of(request))
        return write(await self._answer(removal_id))

    async def _answer(self, removal_id: str) -> models.RemovalAnswer:
        store = RemovalStore(self._state.pool)
        removal = await store.get(removal_id)
        return removal_answer(removal, await store.waits(removal))

    async def create_setup(self, request: web.Request) -> web.Response:
        """Check a key and keep it for a day."""
        wanted = await read_body(request, models.NewSetup)
        setup = await self._state.setups.begin(
            wanted.api_key, wanted.destination_ids, account_id=wanted.account_id, by=actor_of(request)
        )
        return write(models.SetupAnswer.model_validate(setup), status=201)

    async def list_setups(self, _request: web.Request) -> web.Response:
        """Show what is unfinished."""
        found = await self._state.setups.list()
        data = tuple(models.SetupAnswer.model_validate(one) for one in found)
        return write(models.Page[models.SetupAnswer](data=data, next_cursor=None))

    async def get_setup(self, request: web.Request) -> web.Response:
        """Show a set-up."""
        return write(models.SetupAnswer.model_validate(await self._state.setups.get(read_id(request))))

    async def delete_setup(self, request: web.Request) -> web.Response:
        """Forget a set-up and its key."""
        await self._state.setups.discard(read_id(request), by=actor_of(request))
        return web.Response(status=204)

    async def complete_setup(self, request: web.Request) -> web.Response:
        """Connect the account of a set-up."""
        setup_id, wanted = read_id(request), await read_body(request, models.SetupConsent)
        connection_id = await self._state.setups.complete(
            setup_id,
            start_date=wanted.start_date,
            resources=wanted.resources,
            omitted_fields=wanted.omitted_fields,
            name=wanted.name,
            by=actor_of(request),
        )
        return await self._describe(connection_id, status=201)

    async def list_resources(self, _request: web.Request) -> web.Response:
        """Show the catalogue."""
        data = tuple(map(_describe_resource, RESOURCES))
        return write(models.Page[models.ResourceAnswer](data=data, next_cursor=None))

    async def _describe(self, connection_id: str, *, status: int = 200) -> web.Response:
        connection = await self._state.connections.get(connection_id)
        return write(await self._state.reads.describe(connection), status=status)


def _describe_resource(row: Resource) -> models.ResourceAnswer:
    return models.ResourceAnswer(
        name=row.name,
        table=row.table,
        group=row.group,
        permission=row.read_permission,
        is_default=row.is_default,
        has_created_filter=row.has_created_filter,
        children=tuple(child.table for child in row.children),
    )


def removal_answer(removal: Removal, waits: Sequence[Delay]) -> models.RemovalAnswer:
    """Return a removal as it is told, with what it tries again."""
    known = {name: getattr(removal, name) for name in models.RemovalAnswer.model_fields if name != "waits"}
    return models.RemovalAnswer.model_validate(known | {"waits": waits})
