"""Carries out cleanups: takes rows of a connection, or fields of its rows, out of a destination.

A cleanup goes on until a walk through all its tables finds nothing more, so it can be cut off at any moment and begun
again. It never takes what its connection wants to keep by now: a choice may have been taken back meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection

from services.destination_writer.destinations import Account
from services.destination_writer.lifeline import forget_changes
from services.destination_writer.omission import NONE, NOTHING, Omission, is_omitted, make_omissions
from services.destination_writer.outlets import CleaningStep, Outlets
from services.destination_writer.parking import Parking
from services.destination_writer.routing import Route, Routes
from shared.catalogue import BY_NAME, Child, Resource
from shared.cleanups import Cleanup, CleanupStore, Kind
from shared.db import Pool
from shared.errors import (
    AppError,
    DestinationBlockedError,
    DestinationUnavailableError,
    NotFoundError,
    TerminalError,
    TransientError,
)
from shared.log import get_logger
from shared.postgres_mark import TAKEN
from shared.retries import pause_seconds

POLL_INTERVAL = 1.0  # seconds
AT_ONCE = 3  # cleanups, so that a destination which does not answer keeps no other waiting
STEP_DEADLINE = 20.0  # seconds; well below a cleanup's lease, which each step renews
LONGEST_PAUSE = 60.0  # seconds between two tries at a destination that can't be cleaned


class Cleaning:
    """The loop over cleanups."""

    def __init__(self, cleanups: CleanupStore, routes: Routes, outlets: Outlets, parking: Parking, pool: Pool) -> None:
        """`pool` is that of the state database."""
        self._pool = pool
        self._cleanups = cleanups
        self._routes = routes
        self._outlets = outlets
        self._parking = parking
        self._failures: dict[str, int] = defaultdict(int)  # in a row, by cleanup

    async def run(self) -> None:
        """Carry out what is due, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(self._run())

    async def _run(self) -> None:
        while True:
            try:
                await self._cleanups.forget_orphans()
                while await self.clean_next():
                    pass
            except TransientError as error:
                get_logger().warning("cleaning_delayed", reason=error.message)
            await asyncio.sleep(POLL_INTERVAL)

    async def clean_next(self) -> bool:
        """Carry out a cleanup that is due, or put it off; tell whether there was one."""
        cleanup = await self._cleanups.claim()
        if cleanup is None:
            return False
        kept = await self._cleanups.kept_by_others(cleanup) if cleanup.kind is Kind.ROWS else {}
        left = (
            f"Rows were left, since they are another connection's too ({next(iter(kept.values()))})." if kept else None
        )
        try:
            while await self._walk(cleanup, kept):
                pass
        except DestinationBlockedError as error:
            if not (error.blocks[0].code == TAKEN and await self._is_removal(cleanup)):
                await self._put_off(cleanup, error)
                return True
            # Another one fills the place now: what lies there is not ours to take.
            await self._cleanups.finish(cleanup.id, left=f"Rows were left. {error.blocks[0].cause}")
        except (DestinationUnavailableError, TerminalError) as error:
            await self._put_off(cleanup, error)
            return True
        except NotFoundError:
            get_logger().info("cleanup_without_destination", cleanup=cleanup.id)
        else:
            await self._cleanups.finish(cleanup.id, left=left)
            get_logger().info("cleanup_finished", cleanup=cleanup.id, kind=cleanup.kind)
        self._failures.pop(cleanup.id, None)
        return True

    async def _put_off(self, cleanup: Cleanup, error: AppError) -> None:
        pause = pause_seconds(self._failures[cleanup.id], base=1.0, cap=LONGEST_PAUSE)
        self._failures[cleanup.id] += 1
        await self._cleanups.postpone(cleanup.id, seconds=pause, code=error.code, cause=error.message)

    async def _is_removal(self, cleanup: Cleanup) -> bool:
        """Tell whether the cleanup takes out what its connection leaves behind."""
        return cleanup.kind is Kind.ROWS and cleanup.created_before is None and await self._route(cleanup) is None

    async def _walk(self, cleanup: Cleanup, kept: Collection[str]) -> bool:
        """Walk through the tables once; tell whether anything was found there."""
        has_found = False
        names = cleanup.fields if cleanup.kind is Kind.FIELDS else cleanup.resources
        for resource in (BY_NAME[name] for name in names if name in BY_NAME and name not in kept):
            if cleanup.kind is Kind.FIELDS:
                omission = omission_for(cleanup, await self._route(cleanup), resource)
                await forget_changes(self._pool, cleanup.connection_id, resource.name)
                await self._parking.omit((cleanup.destination_id, cleanup.connection_id), resource.name, omission.tree)
            sources: tuple[Resource | Child, ...] = (resource, *resource.children)
            for source in sources:
                has_found |= await self._walk_table(cleanup, resource, source)
        return has_found

    async def _walk_table(self, cleanup: Cleanup, resource: Resource, source: Resource | Child) -> bool:
        has_found, after = False, None
        while step := step_for(cleanup, await self._route(cleanup), resource, source):
            outlet = await self._outlets.get(cleanup.destination_id)
            cleaned = await outlet.clean(step, after, STEP_DEADLINE)
            found = {table: rows for table, rows in cleaned.rows.items() if rows}
            await self._cleanups.note(cleanup.id, found)
            has_found, after = has_found or bool(found), cleaned.last_id
            if after is None:
                break
        return has_found

    async def _route(self, cleanup: Cleanup) -> Route | None:
        """Return the way by which records still come to where the cleanup works."""
        route = (await self._routes.read([cleanup.connection_id])).get(cleanup.connection_id)
        return route if route and cleanup.destination_id in route.destination_ids else None


def step_for(
    cleanup: Cleanup, route: Route | None, resource: Resource, source: Resource | Child
) -> CleaningStep | None:
    """Return what has to be done to a table, the resource's own or a child's; `None` for nothing."""
    account = Account(cleanup.account_id, cleanup.livemode)
    if cleanup.kind is Kind.DELETED:
        return lambda destination, after: destination.bury_deleted(account, source, after=after)
    if cleanup.kind is Kind.FIELDS:
        omission = omission_for(cleanup, route, resource)
        tree = omission.tree if source is resource else omission.children.get(source.table, NOTHING)
        if tree is None:
            return lambda destination, after: destination.delete_rows(account, source, after=after)
        if not tree:
            return None
        return lambda destination, after: destination.omit_fields(account, source, tree, after=after)
    before = int(cleanup.created_before.timestamp()) if cleanup.created_before else None
    if route and resource.name in route.resources:
        if before is None or route.start is None:
            return None
        before = min(before, route.start)
    if before is not None and source is not resource:
        return None  # children go with their parents
    return lambda destination, after: destination.delete_rows(account, source, created_before=before, after=after)


def omission_for(cleanup: Cleanup, route: Route | None, resource: Resource) -> Omission:
    """Return what has to be taken out of the resource's objects."""
    paths = cleanup.fields.get(resource.name, ())
    if route and resource.name in route.resources:
        omitted = route.omissions.get(resource.name, NONE).tree
        paths = [path for path in paths if is_omitted(path, omitted)]
    return make_omissions({resource.name: paths}).get(resource.name, NONE)
