"""Looks for rows that a whole list did not show, and has Stripe asked about each: only its answer deletes anything.

A list that was only compared with the rows has advanced no stamp; it tells by itself what it has shown.

A walk goes on from where it was cut off. It waits while many of its questions are open, since each costs a call: a
list may leave out objects that exist.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from services.destination_writer.destinations import Older, Span
from services.destination_writer.ledger import ask_stripe
from services.destination_writer.outlets import Outlets
from services.destination_writer.records import Refetch
from services.destination_writer.routing import Route, Routes
from shared.catalogue import BY_NAME
from shared.connections import hold
from shared.db import Connection as Database
from shared.db import Pool, affected, database_errors, in_transaction
from shared.errors import DestinationUnavailableError, NotFoundError, TerminalError, TransientError
from shared.log import get_logger
from shared.retries import pause_seconds
from shared.searches import Search, SearchStore, advance

POLL_INTERVAL = 1.0  # seconds
STEP_DEADLINE = 20.0  # seconds; below a search's lease, which each step renews
LONGEST_PAUSE = 60.0  # seconds between two tries at a destination that does not answer
MOST_OPEN = 200  # questions of a connection: with more, its live events would wait for their own
WAIT = 5.0  # seconds until the open questions are counted again
REASON = "absent from the list"

OPEN = """
SELECT (SELECT count(*) FROM refetches WHERE connection_id = $1 AND reason = $2)
     + (SELECT count(*) FROM differences WHERE connection_id = $1 AND status = 'absent')
"""
SUSPECT = """
INSERT INTO differences (sync_id, connection_id, destination_id, resource, object_id, status, kind)
SELECT $1, $2, $3, $4, u.id, 'absent', 'extra' FROM unnest($5::text[]) AS u (id)
WHERE NOT EXISTS (SELECT FROM compared_objects c WHERE c.sync_id = $1 AND c.resource = $4 AND c.object_id = u.id)
ORDER BY u.id ON CONFLICT DO NOTHING
"""


class Searching:
    """The loop over searches."""

    def __init__(self, pool: Pool, routes: Routes, outlets: Outlets) -> None:
        self._pool = pool
        self._searches = SearchStore(pool)
        self._routes = routes
        self._outlets = outlets
        self._failures: dict[int, int] = defaultdict(int)  # in a row, by search

    async def run(self) -> None:
        """Carry out what is due, for ever."""
        while True:
            try:
                while await self.search_next():
                    pass
            except TransientError as error:
                get_logger().warning("search_delayed", reason=error.message)
            await asyncio.sleep(POLL_INTERVAL)

    async def search_next(self) -> bool:
        """Take up a search that is due and walk as far as it goes; tell whether there was one."""
        search = await self._searches.claim()
        if search is None:
            return False
        try:
            await self._walk(search)
        except (DestinationUnavailableError, TerminalError) as error:
            pause = pause_seconds(self._failures[search.id], base=1.0, cap=LONGEST_PAUSE)
            self._failures[search.id] += 1
            await self._searches.postpone(search, seconds=pause, cause=error.message)
            return True
        except NotFoundError:
            await self._searches.finish(search)  # the destination is gone
        self._failures.pop(search.id, None)
        return True

    async def _walk(self, search: Search) -> None:
        after, is_done = search.last_id, False
        while not is_done:
            route = (await self._routes.read([search.connection_id])).get(search.connection_id)
            if not _is_wanted(search, route) or route is None:
                await self._searches.finish(search)
                return
            if await self._count_open(search) >= MOST_OPEN:
                cause = f"{MOST_OPEN} rows or more that a list did not show are being asked for; the search waits."
                get_logger().warning("search_waits", search=search.id, resource=search.resource, reason=cause)
                await self._searches.postpone(search, seconds=WAIT, cause=cause)
                return
            outlet = await self._outlets.get(search.destination_id)
            wanted = Older(search.stamp, _latest(search.range_start, route.start), search.range_end)
            span = await outlet.find_older(route.account, BY_NAME[search.resource], wanted, after, STEP_DEADLINE)
            found = await in_transaction(self._pool, partial(_note, search, span))
            if found:
                get_logger().info("absent_rows", sync=search.sync_id, resource=search.resource, found=found)
            after, is_done = span.last_id, span.last_id is None

    async def _count_open(self, search: Search) -> int:
        with database_errors():
            return int(await self._pool.fetchval(OPEN, search.connection_id, REASON))


async def _note(search: Search, span: Span, db: Database) -> int:
    """Have Stripe asked about what the list did not show, and note how far the search has come."""
    await hold(db, [search.connection_id])
    found = await _ask(db, search, span.ids)
    await advance(db, search, span.last_id, found=found)
    return found


async def _ask(db: Database, search: Search, ids: Sequence[str]) -> int:
    """Have Stripe asked about the rows that the list did not show; return how many they are."""
    if search.compares:
        where = (search.sync_id, search.connection_id, search.destination_id, search.resource)
        return affected(await db.execute(SUSPECT, *where, list(ids)))
    await ask_stripe(db, [Refetch(search.connection_id, search.resource, one, REASON, 0) for one in ids])
    return len(ids)


def _is_wanted(search: Search, route: Route | None) -> bool:
    if route is None or search.resource not in BY_NAME:
        return False
    return search.destination_id in route.destination_ids and search.resource in route.resources


def _latest(one: int | None, other: int | None) -> int | None:
    """Return the later of two beginnings, of which either may be open."""
    return max((second for second in (one, other) if second is not None), default=None)
