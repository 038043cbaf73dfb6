"""Compares rows with Stripe by night or by week, as each connection's schedule says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from shared.comparisons import ComparisonStore
from shared.connections import ConnectionStore
from shared.db import Pool, transaction
from shared.errors import AppError, TransientError
from shared.heartbeat import beat
from shared.log import get_logger
from shared.verify_schedules import VerifyScheduleStore

LONGEST_SLEEP = 60.0  # seconds: a schedule may be changed meanwhile, and a connection resumed
SHORTEST_SLEEP = 1.0  # seconds


def pause_until(next_at: datetime | None, now: datetime) -> float:
    """Return for how many seconds to sleep until the next run, or until the schedules are looked at again."""
    if next_at is None:
        return LONGEST_SLEEP
    return min(LONGEST_SLEEP, max(SHORTEST_SLEEP, (next_at - now).total_seconds()))


class Verifying:
    """Queues scheduled comparisons when they are due."""

    def __init__(
        self, pool: Pool, connections: ConnectionStore, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._pool = pool
        self._connections = connections
        self._schedules = VerifyScheduleStore(pool)
        self._comparisons = ComparisonStore(pool)
        self._now = now

    async def run(self, wake: asyncio.Event) -> None:
        """Queue what is due, for ever; sets `wake` when there is something to fetch."""
        while True:
            beat()
            pause = LONGEST_SLEEP
            try:
                if await self.queue_due():
                    wake.set()
                now = self._now()
                pause = pause_until(await self._schedules.next_due(now), now)
            except TransientError as error:
                get_logger().warning("verify_schedule_delayed", reason=error.message)
            await asyncio.sleep(pause)

    async def queue_due(self) -> int:
        """Queue a comparison for each connection whose turn it is; return how many there were."""
        queued = 0
        for connection_id in await self._schedules.due(self._now()):
            try:
                queued += await self._queue(connection_id)
            except TransientError:
                raise
            except AppError as error:  # of this connection alone
                get_logger().warning("verify_schedule_delayed", connection=connection_id, reason=error.message)
        return queued

    async def _queue(self, connection_id: str) -> bool:
        async with transaction(self._pool) as db:
            schedule = await self._schedules.take(connection_id, now=self._now(), db=db)
            if schedule is None:
                return False
            connection = await self._connections.get(connection_id, db=db)
            await self._comparisons.create(
                connection, pages=schedule.pages, resources=None, trigger=schedule.how_often, db=db
            )
        return True
