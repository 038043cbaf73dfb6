"""Answers the questions that the writers have for Stripe: each object once, when an answer is surely newer."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import timedelta

from services.sync_worker.clients import Clients
from services.sync_worker.faults import Faults
from services.sync_worker.objects import NEWEST_OF_LIST, Objects
from services.sync_worker.publishing import Publisher
from services.sync_worker.retrying import Retrying
from shared.background import repeat
from shared.catalogue import BY_NAME
from shared.connections import Connection, ConnectionStore
from shared.db import Pool, Row, database_errors
from shared.delays import Work
from shared.errors import (
    KeyInvalidError,
    NotFoundError,
    ObjectUnreadableError,
    PermissionMissingError,
    ResourceUnavailableError,
    StripeRefusedError,
    TerminalError,
    TransientError,
)
from shared.log import get_logger
from shared.retries import pause_seconds
from shared.stripe_api import StripeApi

POLL_INTERVAL = 0.25  # seconds
BATCH = 5  # questions that are claimed together
BATCHES = 4  # that are answered at the same time: a slow answer of Stripe holds up its own batch alone
MOST_OF_ONE = BATCH * (BATCHES - 1)  # questions of one connection at a time: the others always find room
LEASE = timedelta(seconds=15)  # a question that is answered twice changes no row
LONGEST_PAUSE = 300.0  # seconds
TAIL_PAUSE = 5.0  # seconds between two readings of the newest of a list that is asked for all the time

# Connections take turns: each has its first question before one has its second, and those that are being answered
# count. Whose questions wait is found by steps in an index.
CLAIM = """
WITH RECURSIVE owners AS (
    (SELECT connection_id FROM refetches ORDER BY connection_id LIMIT 1)
    UNION ALL
    SELECT n.* FROM owners o CROSS JOIN LATERAL (
        SELECT connection_id FROM refetches WHERE connection_id > o.connection_id ORDER BY connection_id LIMIT 1) n
), due AS (
    SELECT f.*, coalesce(($5::jsonb ->> c.id)::int, 0) + row_number() OVER (PARTITION BY c.id ORDER BY f.due_at) AS turn
    FROM owners o JOIN connections c ON c.id = o.connection_id AND c.state = 'active'
    CROSS JOIN LATERAL (
        SELECT q.connection_id, q.resource, q.object_id, q.due_at FROM refetches q
        WHERE q.connection_id = c.id AND q.due_at <= now() AND (q.lease_until IS NULL OR q.lease_until < now())
          AND NOT EXISTS (SELECT FROM resource_faults x WHERE x.connection_id = c.id AND x.resource = q.resource)
        ORDER BY q.due_at LIMIT $1) f
), chosen AS (
    SELECT connection_id, resource, object_id FROM due WHERE turn <= $3
    ORDER BY turn, array_position($4::text[], connection_id) NULLS FIRST, due_at LIMIT $1
)
UPDATE refetches r SET lease_until = now() + $2::interval, attempts = attempts + 1
WHERE (connection_id, resource, object_id) IN (
    SELECT f.connection_id, f.resource, f.object_id
    FROM refetches f JOIN chosen d USING (connection_id, resource, object_id)
    WHERE f.lease_until IS NULL OR f.lease_until < now()
    ORDER BY f.connection_id, f.resource, f.object_id FOR UPDATE OF f SKIP LOCKED
)
RETURNING connection_id, resource, object_id, generation, attempts
"""
DONE = "DELETE FROM refetches WHERE connection_id = $1 AND resource = $2 AND object_id = $3 AND generation = $4"
# Asked again meanwhile, or failed: due later.
RELEASE = """
UPDATE refetches SET lease_until = NULL, due_at = greatest(due_at, now() + $4::interval)
WHERE connection_id = $1 AND resource = $2 AND object_id = $3
"""


class Refetch:
    """The loop over the questions."""

    def __init__(
        self,
        pool: Pool,
        connections: ConnectionStore,
        clients: Clients,
        publisher: Publisher,
        objects: Objects,
        faults: Faults,
    ) -> None:
        self._pool = pool
        self._publisher = publisher
        self._served: dict[str, None] = {}  # connections whose questions were claimed here, the latest last
        self._answering: Counter[str] = Counter()  # connection → its questions that are being answered here
        self._claiming = asyncio.Lock()
        self._connections = connections
        self._clients = clients
        self._objects = objects
        self._faults = faults

    async def run(self) -> None:
        """Answer what is due, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(BATCHES):
                tasks.create_task(repeat(self.answer_due, interval_seconds=POLL_INTERVAL, delayed="refetch_delayed"))

    async def answer_due(self) -> int:
        """Answer questions that are due, once; return how many there were."""
        rows = await self._claim()
        by_connection: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            by_connection[row["connection_id"]].append(row)
        try:
            await asyncio.gather(*(self._answer_all(one, some) for one, some in by_connection.items()))
        finally:
            self._answering.subtract({one: len(some) for one, some in by_connection.items()})
        return len(rows)

    async def _claim(self) -> list[Row]:
        """Return questions that are to be answered now, and count them."""
        async with self._claiming:
            turns = list(self._served), {one: count for one, count in self._answering.items() if count}
            with database_errors():
                rows = list(await self._pool.fetch(CLAIM, BATCH, LEASE, MOST_OF_ONE, *turns))
            for row in rows:
                self._answering[row["connection_id"]] += 1
                self._served.pop(row["connection_id"], None)
                self._served[row["connection_id"]] = None
        return rows

    async def _answer_all(self, connection_id: str, rows: Sequence[Row]) -> None:
        try:
            connection = await self._connections.get(connection_id)
            await asyncio.gather(*(self._ask(connection, row) for row in rows))
        except (NotFoundError, TerminalError, TransientError) as error:
            get_logger().warning("refetch_refused", connection=connection_id, reason=error.message)

    async def _ask(self, connection: Connection, row: Row) -> None:
        key = (row["connection_id"], row["resource"], row["object_id"])
        retrying = Retrying(
            self._pool, Work.QUESTION, ":".join(key), connection_id=connection.id, is_delayed=row["attempts"] > 1
        )
        async with self._clients.calling(connection, on_failure=retrying.call_failed) as api:
            await self._answer(connection, api, row, retrying)

    async def _answer(self, connection: Connection, api: StripeApi, row: Row, retrying: Retrying) -> None:
        key = (row["connection_id"], row["resource"], row["object_id"])
        pause = TAIL_PAUSE if row["object_id"] == NEWEST_OF_LIST else 0.0
        if row["resource"] not in connection.resources:
            await self._forget(key, row["generation"])
            return
        resource = BY_NAME[row["resource"]]
        try:
            await self._objects.refresh(connection, api, resource, row["object_id"])
        except TransientError as error:
            pause = pause_seconds(row["attempts"], cap=LONGEST_PAUSE, at_least=error.retry_after_seconds)
            get_logger().warning("refetch_delayed", resource=row["resource"], reason=error.message)
            await retrying.failed(error, pause)
        except KeyInvalidError:
            raise
        except (StripeRefusedError, ObjectUnreadableError) as error:
            is_list = row["object_id"] == NEWEST_OF_LIST and not isinstance(error, ResourceUnavailableError)
            if isinstance(error, PermissionMissingError) or (is_list and isinstance(error, StripeRefusedError)):
                await self._faults.note(connection, row["resource"], error)  # the question waits
                await self._release(key)
                return
            # Asking again would be refused again. An account without the product has nothing to be told.
            if not isinstance(error, ResourceUnavailableError):
                await self._publisher.bury_question(connection, resource, row["object_id"], error)
            await self._forget(key, row["generation"])
            await retrying.went_on()
        else:
            await self._forget(key, row["generation"])
            await retrying.went_on()
        await self._release(key, pause)

    async def _release(self, key: tuple[str, str, str], pause: float = 0.0) -> None:
        with database_errors():
            await self._pool.execute(RELEASE, *key, timedelta(seconds=pause))

    async def _forget(self, key: tuple[str, str, str], generation: int) -> None:
        """Remove the question, unless it was asked again while it was being answered."""
        with database_errors():
            await self._pool.execute(DONE, *key, generation)
