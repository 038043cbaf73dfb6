"""Forgets what has expired: a clock of its own, so that it runs whatever else there is to do, in small batches."""

from __future__ import annotations

from collections.abc import Mapping

from shared.background import repeat
from shared.db import Pool, affected, database_errors
from shared.log import get_logger
from shared.retention import EXPIRING

INTERVAL = 60.0  # seconds between two looks
BATCH = 1_000  # rows that one statement deletes

# By table, what is of no use any more.
EXPIRED: Mapping[str, str] = {table: kept.expired for table, kept in EXPIRING.items()}
# Whoever deletes at the same time takes other rows.
DELETE = """
DELETE FROM {table} WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM {table} WHERE {condition} LIMIT $1 FOR UPDATE SKIP LOCKED))
"""


class Expiry:
    """The loop that forgets."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def run(self) -> None:
        """Forget what has expired, for ever."""
        await repeat(self.forget, interval_seconds=INTERVAL, delayed="expiry_delayed")

    async def forget(self) -> int:
        """Delete a batch of each table; return how many rows were full batches' and ask for another look at once."""
        full = 0
        for table, condition in EXPIRED.items():
            with database_errors():
                gone = affected(await self._pool.execute(DELETE.format(table=table, condition=condition), BATCH))
            if gone:
                get_logger().info("expired", table=table, rows=gone)
            full += gone if gone == BATCH else 0
        return full
