"""Compares every connection with Stripe now and then: missed webhooks and silent changes heal without a person."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

from services.sync_worker.retrying import forget_ended
from shared.connections import ConnectionStore, State
from shared.db import Pool, transaction
from shared.errors import TransientError
from shared.log import get_logger
from shared.syncs import NEWEST_WINDOW, SILENT_WINDOW, SyncStore

POLL_INTERVAL = 5.0  # seconds

AT_START = timedelta(minutes=1)  # what is older than it is compared anew when a worker starts
FULL_INTERVAL = timedelta(days=1)  # between two readings of all that may still change without an event
OFTEN, DAILY = "schedule", "daily"  # what triggered a reconcile

# Two workers that look at the same moment would both find that it is time.
TAKE_TURN = "SELECT pg_try_advisory_xact_lock(hashtext('tillstream.schedule'))"
# One whose records wait for a destination has long compared; a backfill may take days, and compares nothing.
IS_RECENT = """
SELECT EXISTS (SELECT FROM syncs y WHERE connection_id = $1 AND kind IN ('reconcile', 'backfill')
               AND (created_at > now() - $2::interval OR kind = 'reconcile' AND (status = 'queued' OR
                    status = 'running' AND EXISTS (SELECT FROM slices s WHERE s.sync_id = y.id
                                                   AND s.status = 'planned'))))
"""
IS_FULL_RECENT = """
SELECT EXISTS (SELECT FROM syncs WHERE connection_id = $1 AND kind IN ('reconcile', 'backfill')
               AND trigger <> $2 AND created_at > now() - $3::interval)
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
        interval = min(AT_START, self._interval)
        while True:
            try:
                await self.queue_due(interval)
                interval = self._interval
                await forget_ended(self._pool)
            except TransientError as error:
                get_logger().warning("schedule_delayed", reason=error.message)
            await asyncio.sleep(POLL_INTERVAL)

    async def queue_due(self, interval: timedelta | None = None) -> None:
        """Queue a reconcile for each connection whose last one is longer ago than `interval`.

        By default it is the interval of the settings.
        """
        async with transaction(self._pool) as db:
            if not await db.fetchval(TAKE_TURN):
                return
            for connection in await self._connections.list_in_state(State.ACTIVE, db=db):
                if not await db.fetchval(IS_RECENT, connection.id, interval or self._interval):
                    is_full_recent = await db.fetchval(IS_FULL_RECENT, connection.id, OFTEN, FULL_INTERVAL)
                    trigger, window = (OFTEN, NEWEST_WINDOW) if is_full_recent else (DAILY, SILENT_WINDOW)
                    await self._syncs.reconcile(connection, trigger=trigger, now=self._now(), window=window, db=db)
