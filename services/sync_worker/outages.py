"""Looks at Kafka again and again, and notices when it has been away.

The gateway refused webhooks meanwhile, and Stripe takes its time to try again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from services.sync_worker.broker import LOOK_TIMEOUT
from shared.catalogue import WEBHOOK_ENDPOINT
from shared.connections import ConnectionStore, LiveBy, State
from shared.db import Pool, transaction
from shared.errors import KafkaUnavailableError, TransientError
from shared.log import get_logger
from shared.syncs import EVENT_FEED, Kind, SyncStore

LOOK_INTERVAL = 2.0  # seconds
WAS_AWAY = "Kafka was away"  # what triggers the gap fill

# Every worker notices; the first queues.
TAKE_TURN = "SELECT pg_advisory_xact_lock(hashtext('tillstream.outages'))"
IS_QUEUED = """
SELECT EXISTS (SELECT FROM syncs WHERE connection_id = $1 AND kind = 'gap_fill' AND trigger = $2
               AND (status = 'queued' OR created_at > now() - $3::interval))
"""
# Answers could not be published, and their questions have paused ever longer. What was asked just now keeps its wait.
DUE = """
UPDATE refetches r SET due_at = now() + interval '7 seconds' FROM (
    SELECT connection_id, resource, object_id FROM refetches
    WHERE attempts > 0 AND due_at > now() + interval '7 seconds' AND due_at <> 'infinity'
    ORDER BY 1, 2, 3 FOR UPDATE) paused
WHERE (r.connection_id, r.resource, r.object_id) = (paused.connection_id, paused.resource, paused.object_id)
"""
NOTICED_WITHIN = timedelta(seconds=2 * (LOOK_INTERVAL + LOOK_TIMEOUT))  # by all workers


class Outages:
    """Queues a gap fill for every connection when Kafka is back; questions that have waited for it are asked then."""

    def __init__(
        self, pool: Pool, connections: ConnectionStore, syncs: SyncStore, *, look: Callable[[], Awaitable[object]]
    ) -> None:
        """`look` raises `KafkaUnavailableError` while Kafka is away, within `LOOK_TIMEOUT` seconds."""
        self._pool = pool
        self._connections = connections
        self._syncs = syncs
        self._look = look
        self._was_away = False

    async def run(self, wake: asyncio.Event) -> None:
        """Look, for ever; `wake` is set when there is something to do."""
        while True:
            try:
                if await self.queue_after_outage():
                    wake.set()
            except TransientError as error:
                get_logger().warning("kafka_look_delayed", reason=error.message)
            await asyncio.sleep(LOOK_INTERVAL)

    async def queue_after_outage(self) -> bool:
        """Look once; tell whether Kafka is back after it was away; raise `DatabaseUnavailableError`."""
        try:
            await self._look()
        except KafkaUnavailableError as error:
            if not self._was_away:
                get_logger().warning("kafka_is_away", reason=error.message)
            self._was_away = True
            return False
        if not self._was_away:
            return False
        await self._queue()
        self._was_away = False
        return True

    async def _queue(self) -> None:
        async with transaction(self._pool) as db:
            await db.execute(TAKE_TURN)
            for connection in await self._connections.list_in_state(State.ACTIVE, db=db):
                if not await db.fetchval(IS_QUEUED, connection.id, WAS_AWAY, NOTICED_WITHIN):
                    checks = [EVENT_FEED, *([WEBHOOK_ENDPOINT] if connection.live_by is LiveBy.WEBHOOKS else [])]
                    await self._syncs.create(connection.id, Kind.GAP_FILL, trigger=WAS_AWAY, resources=checks, db=db)
            await db.execute(DUE)
        get_logger().info("kafka_is_back")
