"""Compares every connection with Stripe now and then: missed webhooks and silent changes heal without a person."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

from shared.connections import ConnectionStore, State
from shared.db import Pool, database_errors
from shared.errors import TransientError
from shared.log import get_logger
from shared.syncs import Kind, SyncStore

POLL_INTERVAL = 5.0  # seconds

IS_RECENT = """
SELECT EXISTS (SELECT FROM syncs WHERE connection_id = $1 AND kind = ANY ($2::text[])
               AND (status IN ('queued', 'running') OR created_at > now() - $3::interval))
"""


class Schedule:
    """Queues reconcile syncs when they are due."""

    def __init__(
        self,
        pool: Pool,
        connections: ConnectionStore,
        syncs: SyncStore,
        *,
        interval_seconds: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._connections = connections
        self._syncs = syncs
        self._interval = timedelta(seconds=interval_seconds)
        self._now = now

    async def run(self) -> None:
        """Queue what is due, for ever; the first look follows a start, when webhooks may have been missed."""
        while True:
            try:
                await self.queue_due()
            except TransientError as error:
                get_logger().warning("schedule_delayed", reason=error.message)
            await asyncio.sleep(POLL_INTERVAL)

    async def queue_due(self) -> None:
        """Queue a reconcile for each connection whose last one is too long ago."""
        for connection in await self._connections.list_in_state(State.ACTIVE):
            kinds = [Kind.RECONCILE, Kind.BACKFILL, Kind.GAP_FILL]
            with database_errors():
                is_recent = await self._pool.fetchval(IS_RECENT, connection.id, kinds, self._interval)
            if not is_recent:
                await self._syncs.reconcile(connection, trigger="schedule", now=self._now())
