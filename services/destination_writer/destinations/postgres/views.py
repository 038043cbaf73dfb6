"""Makes and keeps the views with amounts in major units. No row waits for a view, and none is lost for want of one."""

from __future__ import annotations

from collections.abc import Collection

import asyncpg

from shared.db import Connection
from shared.log import get_logger
from shared.postgres_mark import SETUP_LOCK
from shared.postgres_views import LOOK, Condition, FoundView, judge, look_arguments

WANTING = (Condition.MISSING, Condition.OLD)


async def keep_views(db: Connection, schema: str, whole: Collection[str]) -> None:
    """Make the views that are missing or of an older release, of those tables that are `whole`.

    What Postgres refuses is left as it is: without the right to make it, or while something else depends on the old
    one. The page says which view is not there, and why.
    """
    if not await _wanting(db, schema, whole):
        return
    refused: dict[str, str] = {}
    async with db.transaction():
        await db.execute("SET LOCAL client_min_messages = warning; SET LOCAL lock_timeout = '2s'")
        await db.execute("SELECT pg_advisory_xact_lock($1)", SETUP_LOCK)
        for found in await _wanting(db, schema, whole):
            try:
                async with db.transaction():
                    await _make(db, schema, found)
            except asyncpg.PostgresError as error:
                refused[found.view.name] = error.sqlstate or type(error).__name__
    if refused:
        get_logger().warning("views_not_made", schema=schema, views=refused)


async def _wanting(db: Connection, schema: str, whole: Collection[str]) -> list[FoundView]:
    found = judge(schema, await db.fetch(LOOK, *look_arguments(schema)))
    return [
        one
        for one in found
        if one.condition in WANTING and one.view.table in whole and (one.view.parent or one.view.table) in whole
    ]


async def _make(db: Connection, schema: str, found: FoundView) -> None:
    is_there = found.condition is Condition.OLD
    for statement in found.view.statements(schema, has_invoker=found.has_invoker, is_there=is_there):
        await db.execute(statement)
