"""Lets delivery go on where it has stopped because a destination refused too many records of a connection."""

from __future__ import annotations

from shared.audit import Actor, append
from shared.db import Pool, transaction
from shared.errors import NotFoundError

EXISTS = "SELECT true FROM connections WHERE id = $1"
GO_ON = "DELETE FROM delivery_stops WHERE connection_id = $1 RETURNING destination_id"
KEPT_IS_DUE = """
UPDATE parked_records p SET next_try_at = now(), attempts = 0 FROM (
    SELECT destination_id, resource, object_id FROM parked_records
    WHERE connection_id = $1 AND destination_id = ANY ($2::text[])
    ORDER BY destination_id, resource, object_id FOR UPDATE) kept
WHERE p.connection_id = $1 AND p.destination_id = kept.destination_id AND p.resource = kept.resource
  AND p.object_id = kept.object_id
"""


class Deliveries:
    """Raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def resume(self, connection_id: str, *, by: Actor) -> None:
        """Deliver again, with what was kept; what has not stopped stays as it is. Raises `NotFoundError`."""
        async with transaction(self._pool) as db:
            if not await db.fetchval(EXISTS, connection_id):
                raise NotFoundError(f"There is no connection {connection_id}.")
            stopped = sorted(row["destination_id"] for row in await db.fetch(GO_ON, connection_id))
            if stopped:
                await db.execute(KEPT_IS_DUE, connection_id, stopped)
                await append(db, by, "connection.delivery_resumed", connection_id, destination_ids=stopped)
