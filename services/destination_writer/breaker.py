"""Stops delivering a connection to a destination that refuses too much of it, instead of filling the dead letters.

Each writer judges by the last records that went through it; the stop itself lies in the state database, so that every
writer heeds it. It is of one connection at one destination: all others go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from services.destination_writer.parking import Queue
from shared.db import Connection, Pool, in_transaction
from shared.dead_letters import describe
from shared.errors import DestinationUnavailableError
from shared.log import get_logger

LAST = 500  # records by which is judged
LEAST = 100  # records without which is not judged
MOST_FAILED = 0.2  # share

# Held while it is looked whether the connection still delivers there: a choice that ends that comes before or after.
HOLD = "SELECT FROM connections WHERE id = $1 FOR SHARE"
STOP = """
INSERT INTO delivery_stops (destination_id, connection_id, failed, counted, reason)
SELECT $1, $2, $3, $4, $5 WHERE EXISTS (
    SELECT FROM connection_destinations WHERE destination_id = $1 AND connection_id = $2)
ON CONFLICT DO NOTHING
"""


class DeliveryStoppedError(DestinationUnavailableError):
    """Delivery is stopped: the destination refused too many of the connection's records."""

    code = "delivery_stopped"


async def stop(pool: Pool, queue: Queue, failed: int, counted: int, reason: str) -> None:
    """Stop delivery for everyone, if the connection still delivers there; raise `DatabaseUnavailableError`."""
    destination_id, connection_id = queue

    async def work(db: Connection) -> None:
        await db.execute(HOLD, connection_id)
        await db.execute(STOP, destination_id, connection_id, failed, counted, reason)

    await in_transaction(pool, work)


class Breaker:
    """Counts what a destination takes and refuses of a connection, and stops the delivery."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._windows: dict[Queue, deque[bool]] = {}  # whether each of the last records failed
        self._stopped: set[Queue] = set()

    def heed(self, connection_id: str, destination_ids: Sequence[str], stopped: frozenset[str]) -> None:
        """Take over what the state database says: who was let go on begins anew."""
        for destination_id in destination_ids:
            queue = (destination_id, connection_id)
            if destination_id in stopped:
                self._stopped.add(queue)
                self._windows.pop(queue, None)
            else:
                self._stopped.discard(queue)

    def passed(self, queue: Queue, records: int) -> None:
        """Note records that the destination took."""
        self._window(queue).extend([False] * min(records, LAST))

    async def failed(self, queue: Queue, error: Exception) -> None:
        """Note a record that is about to become a dead letter.

        Raises `DeliveryStoppedError` if it may not any more, and `DatabaseUnavailableError`.
        """
        if queue in self._stopped:
            raise DeliveryStoppedError
        window = self._window(queue)
        window.append(True)
        failed = sum(window)
        if len(window) < LEAST or failed <= MOST_FAILED * len(window):
            return
        _, reason = describe(error)
        await stop(self._pool, queue, failed, len(window), reason)
        get_logger().warning(
            "delivery_stopped", destination_id=queue[0], connection_id=queue[1], failed=failed, counted=len(window)
        )
        self._stopped.add(queue)
        self._windows.pop(queue)
        raise DeliveryStoppedError

    def _window(self, queue: Queue) -> deque[bool]:
        return self._windows.setdefault(queue, deque(maxlen=LAST))
