"""Has a connection's rows compared with what Stripe has, and what differs put right, each with its audit entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from services.connection_api.life.choices import LOCK
from shared.audit import Actor, append
from shared.comparisons import SAMPLE_PAGES, ComparisonStore
from shared.connections import ConnectionStore, State
from shared.db import Pool, transaction
from shared.errors import ConflictError
from shared.verify_schedules import VerifySchedule, VerifyScheduleStore, read_zone


class Comparing:
    """Raises `NotFoundError`, `ConflictError` where the state does not allow it, `DatabaseUnavailableError`."""

    def __init__(
        self, pool: Pool, connections: ConnectionStore, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._pool = pool
        self._now = now
        self._schedules = VerifyScheduleStore(pool)
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
                connection,
                pages=None if is_full else SAMPLE_PAGES,
                resources=resources,
                trigger="requested",
                db=db,
            )
            await append(db, by, "connection.verify_requested", connection_id, sync=sync_id)
        return sync_id

    async def schedule(self, connection_id: str, wanted: VerifySchedule, *, by: Actor) -> None:
        """Keep when the connection is compared; raise `PayloadError` for a zone that nobody knows."""
        read_zone(wanted.zone)
        async with transaction(self._pool) as db:
            await db.execute(LOCK, connection_id)
            connection = await self._connections.get(connection_id, db=db)
            if connection.state is State.REMOVING:
                raise ConflictError("This connection is being removed.")
            await self._schedules.put(connection_id, wanted, now=self._now(), db=db)
            chosen = {"how_often": wanted.how_often, "hour": wanted.hour, "zone": wanted.zone, "pages": wanted.pages}
            await append(db, by, "connection.verify_scheduled", connection_id, **chosen)

    async def repair(self, sync_id: str, *, by: Actor) -> int:
        """Have Stripe asked for every object that differs; return how many those are."""
        async with transaction(self._pool) as db:
            asked = await self._comparisons.repair(sync_id, db=db)
            await append(db, by, "sync.repair_requested", sync_id, objects=asked)
        return asked
