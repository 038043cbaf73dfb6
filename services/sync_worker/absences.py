"""Asks Stripe about rows that a comparison's list did not show: an object may be there and not be listed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from services.sync_worker.clients import Clients
from services.sync_worker.objects import Objects
from services.sync_worker.retrying import ABSENT, Retrying
from shared.background import repeat
from shared.catalogue import BY_NAME
from shared.connections import ConnectionStore
from shared.db import Pool, Row, database_errors
from shared.delays import Work
from shared.errors import (
    KeyInvalidError,
    NotFoundError,
    ObjectUnreadableError,
    StripeRefusedError,
    TerminalError,
    TransientError,
)
from shared.log import get_logger
from shared.stripe_api import StripeApi

POLL_INTERVAL = 1.0  # seconds
BATCH = 20  # questions at a time
LEASE = timedelta(seconds=15)  # a question that is asked twice changes nothing
SECOND_LOOK = timedelta(seconds=10)  # a deletion that is on its way has arrived by then

CLAIM = """
UPDATE differences d SET due_at = now() + $2::interval
FROM (SELECT f.id FROM differences f JOIN connections c ON c.id = f.connection_id
      WHERE f.status = 'absent' AND f.due_at <= now() AND c.state = 'active'
      ORDER BY f.due_at, f.id LIMIT $1 FOR UPDATE OF f SKIP LOCKED) AS due
WHERE d.id = due.id RETURNING d.id, d.sync_id, d.connection_id, d.resource, d.object_id
"""
# A writer compares the row with the answer.
ANSWERED = """
UPDATE differences SET status = 'suspected', stamp = $2, body = $3, is_deleted = $4, due_at = now() + $5::interval
WHERE id = $1 AND status = 'absent'
"""
FORGET = "DELETE FROM differences WHERE id = $1 AND status = 'absent'"
COST = "UPDATE syncs SET stripe_calls = stripe_calls + $2, rate_limited = rate_limited + $3 WHERE id = $1"


class Absences:
    """The loop over what was not listed."""

    def __init__(self, pool: Pool, connections: ConnectionStore, clients: Clients, objects: Objects) -> None:
        self._pool = pool
        self._connections = connections
        self._clients = clients
        self._objects = objects

    async def run(self) -> None:
        """Ask what is due, for ever."""
        await repeat(self.ask_due, interval_seconds=POLL_INTERVAL, delayed="absences_delayed")

    async def ask_due(self) -> int:
        """Ask what is due, once; return how many questions there were."""
        with database_errors():
            rows = await self._pool.fetch(CLAIM, BATCH, LEASE)
        by_sync: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in rows:
            by_sync[row["connection_id"], row["sync_id"]].append(row)
        await asyncio.gather(*(self._ask_all(*key, some) for key, some in by_sync.items()))
        return len(rows)

    async def _ask_all(self, connection_id: str, sync_id: str, rows: Sequence[Row]) -> None:
        retrying = Retrying(
            *(self._pool, Work.QUESTION, ABSENT + sync_id),
            connection_id=connection_id,
            sync_id=sync_id,
            is_delayed=True,
        )
        try:
            connection = await self._connections.get(connection_id)
            async with self._clients.calling(connection, on_failure=retrying.call_failed) as api:
                try:
                    await asyncio.gather(*(self._ask(api, row) for row in rows))
                finally:
                    with database_errors():
                        await self._pool.execute(COST, sync_id, api.calls.made, api.calls.rate_limited)
            await retrying.went_on()
        except TransientError as error:
            get_logger().warning("absences_delayed", connection=connection_id, reason=error.message)
            await retrying.failed(error, LEASE.total_seconds())
        except (NotFoundError, TerminalError) as error:
            get_logger().warning("absences_left", connection=connection_id, reason=error.message)

    async def _ask(self, api: StripeApi, row: Row) -> None:
        try:
            found = await self._objects.ask(api, BY_NAME[row["resource"]], row["object_id"])
        except KeyInvalidError:
            raise
        except (StripeRefusedError, ObjectUnreadableError) as error:
            get_logger().warning("absence_not_told", resource=row["resource"], reason=error.message)
            found = None
        with database_errors():
            if found is None:
                await self._pool.execute(FORGET, row["id"])
            else:
                values = (found.stamp, found.body, found.is_deleted, SECOND_LOOK)
                await self._pool.execute(ANSWERED, row["id"], *values)
