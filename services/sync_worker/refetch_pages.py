"""Answers questions that have piled up by pages of their list: a page has up to a hundred of the objects.

Hundreds are due at once when the events of hours arrive within seconds, after an outage above all. What they ask about
was made meanwhile, mostly: its `.created` event is in the event log, and says where in the list it stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from services.sync_worker.clients import Clients
from services.sync_worker.hint_spans import LEAST, Shown, Span, may_be_spanned
from services.sync_worker.objects import Objects
from shared.background import repeat
from shared.catalogue import BY_NAME, RESOURCES
from shared.connections import ConnectionStore
from shared.db import Pool, Row, database_errors
from shared.errors import NotFoundError, TerminalError, TransientError
from shared.log import get_logger
from shared.stripe_pages import PAGE_LIMIT

POLL_INTERVAL = 0.5  # seconds
EVENT_LATE = 2  # seconds after its object was made, at most
CROWD = 20  # questions about one resource: fewer are soon answered one by one
PAGES = 2  # that are read at the same time
LEASE = timedelta(seconds=30)  # a question that is answered twice changes no row

SPANNED = tuple(row.name for row in RESOURCES if may_be_spanned(row))

# What has been tried was on no page, or refused: it is asked about alone.
_IS_FREE = "f.attempts = 0 AND f.due_at <= now() AND (f.lease_until IS NULL OR f.lease_until < now())"
FIND_CROWDS = f"""
SELECT f.connection_id, f.resource FROM refetches f JOIN connections c ON c.id = f.connection_id
WHERE {_IS_FREE} AND f.resource = ANY ($1::text[]) AND c.state = 'active' AND f.resource = ANY (c.resources)
  AND NOT EXISTS (SELECT FROM resource_faults x WHERE x.connection_id = c.id AND x.resource = f.resource)
GROUP BY 1, 2 HAVING count(*) >= $2 ORDER BY count(*) DESC, 1, 2
"""
# The newest first, as the list is.
CLAIM = f"""
UPDATE refetches r SET lease_until = now() + $5::interval, attempts = attempts + 1
FROM (
    SELECT f.object_id, e.created FROM refetches f
    JOIN event_log e ON e.connection_id = f.connection_id AND e.object_id = f.object_id AND e.type = ANY ($3::text[])
    WHERE f.connection_id = $1 AND f.resource = $2 AND {_IS_FREE}
    ORDER BY e.created DESC, f.object_id LIMIT $4 FOR UPDATE OF f SKIP LOCKED
) q
WHERE r.connection_id = $1 AND r.resource = $2 AND r.object_id = q.object_id
RETURNING r.object_id, r.generation, q.created
"""
# One that was asked again meanwhile stays. Rows are locked in the order in which writers ask: nobody waits in a circle.
DONE = """
DELETE FROM refetches r USING (
    SELECT f.object_id FROM refetches f JOIN unnest($3::text[], $4::bigint[]) AS u (object_id, generation)
      ON u.object_id = f.object_id AND u.generation = f.generation
    WHERE f.connection_id = $1 AND f.resource = $2 ORDER BY f.object_id FOR UPDATE OF f
) q
WHERE r.connection_id = $1 AND r.resource = $2 AND r.object_id = q.object_id
"""
RELEASE = """
UPDATE refetches r SET lease_until = NULL, attempts = CASE WHEN q.object_id = ANY ($4::text[]) THEN 0 ELSE attempts END
FROM (
    SELECT object_id FROM refetches WHERE connection_id = $1 AND resource = $2 AND object_id = ANY ($3::text[])
    ORDER BY object_id FOR UPDATE
) q
WHERE r.connection_id = $1 AND r.resource = $2 AND r.object_id = q.object_id
"""


class RefetchPages:
    """The loop over the crowds."""

    def __init__(self, pool: Pool, connections: ConnectionStore, clients: Clients, objects: Objects) -> None:
        self._pool = pool
        self._connections = connections
        self._clients = clients
        self._objects = objects

    async def run(self) -> None:
        """Answer what crowds, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(PAGES):
                tasks.create_task(repeat(self.answer_crowd, interval_seconds=POLL_INTERVAL, delayed="refetch_delayed"))

    async def answer_crowd(self) -> int:
        """Read a page for the largest crowd that one may help; return how many questions that has answered."""
        with database_errors():
            crowds = await self._pool.fetch(FIND_CROWDS, list(SPANNED), CROWD)
        for crowd in crowds:
            key = (crowd["connection_id"], crowd["resource"])
            made_by = [event for event in BY_NAME[key[1]].events if event.endswith(".created")]
            with database_errors():
                rows = await self._pool.fetch(CLAIM, *key, made_by, PAGE_LIMIT, LEASE)
            if rows:
                return await self._answer(key, rows)
        return 0

    async def _answer(self, key: tuple[str, str], rows: Sequence[Row]) -> int:
        shown = Shown(frozenset(), 0)
        try:
            if len(rows) >= LEAST:
                shown = await self._read(key[0], _span(key[1], rows))
        except (NotFoundError, TerminalError, TransientError) as error:
            get_logger().warning("refetch_refused", connection=key[0], reason=error.message)
        finally:
            await self._settle(key, rows, shown)
        return len(shown.found)

    async def _read(self, connection_id: str, span: Span) -> Shown:
        connection = await self._connections.get(connection_id)
        async with self._clients.calling(connection) as api:
            return (await self._objects.refresh_span(connection, api, span))[1]

    async def _settle(self, key: tuple[str, str], rows: Sequence[Row], shown: Shown) -> None:
        """Forget what was answered; what stands further down the list is looked for on another page, the rest alone."""
        done = [row for row in rows if row["object_id"] in shown.found]
        further = [row["object_id"] for row in rows if row["created"] < shown.since]
        if len(further) == len(rows) and not done:
            further = []  # more objects of one second than a page has
        with database_errors():
            await self._pool.execute(DONE, *key, [r["object_id"] for r in done], [r["generation"] for r in done])
            await self._pool.execute(RELEASE, *key, [row["object_id"] for row in rows], further)


def _span(resource: str, rows: Sequence[Row]) -> Span:
    moments = [row["created"] for row in rows]
    return Span(resource, min(moments) - EVENT_LATE, max(moments), frozenset(row["object_id"] for row in rows))
