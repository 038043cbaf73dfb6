"""Compares every connection with Stripe now and then: missed webhooks and silent changes heal without a person."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from services.sync_worker.planning import EVENT_FEED
from shared.catalogue import BY_NAME
from shared.connections import Connection, ConnectionStore, State
from shared.db import Pool, database_errors
from shared.errors import TransientError
from shared.log import get_logger
from shared.syncs import Kind, SyncStore

POLL_INTERVAL = 5.0  # seconds
# A balance transaction becomes available within days, an invoice item waits for its invoice for a month.
SILENT_WINDOW = timedelta(days=35)

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
                await self._queue(connection)

    async def _queue(self, connection: Connection) -> None:
        since = datetime.fromtimestamp(self._now(), UTC) - SILENT_WINDOW
        start = max(since, connection.start_date) if connection.start_date else since
        await self._syncs.create(
            connection.id,
            Kind.RECONCILE,
            trigger="schedule",
            resources=reconciled(connection.resources),
            range_start=start,
        )


def reconciled(resources: tuple[str, ...]) -> list[str]:
    """Return what a reconcile reads: the event feed, and the lists of what changes without an event."""
    silent = (name for name in resources if not BY_NAME[name].is_in_event_feed or BY_NAME[name].changes_silently)
    return [EVENT_FEED, *silent]
