"""Forgets what has expired: a clock of its own, so that it runs whatever else there is to do, in small batches."""

from __future__ import annotations

from collections.abc import Mapping

from shared.background import repeat
from shared.db import Pool, affected, database_errors
from shared.log import get_logger

INTERVAL = 60.0  # seconds between two looks
BATCH = 1_000  # rows that one statement deletes

# By table, what is of no use any more.
EXPIRED: Mapping[str, str] = {
    # Events are compared with a feed of 30 days; what is older than its overlap is of no use.
    "event_log": "written_at < now() - interval '35 days'",
    "idempotency_keys": "created_at < now() - interval '1 day'",
    "sessions": "expires_at < now()",
    "sign_in_links": "expires_at < now()",
    # A set-up holds a key that nobody has asked for within a day.
    "setups": "expires_at < now()",
    # A gateway goes on taking a secret that it has read for some seconds.
    "webhook_secrets": "expires_at < now() - interval '1 hour'",
    "stripe_budgets": "next_at < now() - interval '1 day'",
    "leases": "until < now() - interval '1 day'",
    "event_hours": "hour < now() - interval '35 days'",
    "alarm_messages": "created_at < now() - interval '35 days'",
    "stripe_hours": "hour < now() - interval '35 days'",
}
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
