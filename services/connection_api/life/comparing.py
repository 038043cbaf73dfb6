"""Has a connection's rows compared with what Stripe has, and what differs put right, each with its audit entry."""

from __future__ import annotations

from collections.abc import Sequence

from services.connection_api.life.choices import LOCK
from shared.audit import Actor, append
from shared.comparisons import ComparisonStore
from shared.connections import ConnectionStore, State
from shared.db import Pool, transaction
from shared.errors import ConflictError


class Comparing:
    """Raises `NotFoundError`, `ConflictError` where the state does not allow it, `DatabaseUnavailableError`."""

    def __init__(self, pool: Pool, connections: ConnectionStore) -> None:
        self._pool = pool
        self._connections = connections
        self._comparisons = ComparisonStore(pool)

    async def verify(
        self, connection_id: str, *, is_full: bool, resources: Sequence[str] | None = None, by: Actor
    ) -> str:
        """Queue a comparison and return its sync's id; raise `PayloadError` for a resource that is not synced.

        One that is queued already and does the same is returned instead.
        """
        async with transaction(self._pool) as db:
            await db.execute(LOCK, connection_id)
            connection = await self._connections.get(connection_id, db=db)
            if connection.state is not State.ACTIVE:
                raise ConflictError("Only an active connection can be compared. Resume it, or update its key first.")
            sync_id = await self._comparisons.create(
                connection, is_full=is_full, resources=resources, trigger="requested", db=db
            )
            await append(db, by, "connection.verify_requested", connection_id, sync=sync_id)
        return sync_id

    async def repair(self, sync_id: str, *, by: Actor) -> int:
        """Have Stripe asked for every object that differs; return how many those are."""
        async with transaction(self._pool) as db:
            asked = await self._comparisons.repair(sync_id, db=db)
            await append(db, by, "sync.repair_requested", sync_id, objects=asked)
        return asked
