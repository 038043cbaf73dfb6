"""Pauses, resumes and cancels syncs for a person, each with its entry in the audit log."""

from __future__ import annotations

from shared.audit import Actor, append
from shared.db import Pool, transaction
from shared.syncs import SyncStore


class Steering:
    """Raises `NotFoundError`, `ConflictError` where the sync's status does not allow it, `DatabaseUnavailableError`.

    What is so already is fine, and leaves no entry.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._syncs = SyncStore(pool)

    async def pause(self, sync_id: str, *, by: Actor) -> None:
        """Let the sync wait; it stops at its next checkpoint."""
        async with transaction(self._pool) as db:
            if await self._syncs.pause(sync_id, db=db):
                await append(db, by, "sync.paused", sync_id)

    async def resume(self, sync_id: str, *, by: Actor) -> None:
        """Let a paused sync go on from its checkpoint."""
        async with transaction(self._pool) as db:
            if await self._syncs.resume(sync_id, db=db):
                await append(db, by, "sync.resumed", sync_id)

    async def cancel(self, sync_id: str, *, by: Actor) -> None:
        """Give the sync up for good; what it has written stays."""
        async with transaction(self._pool) as db:
            if await self._syncs.cancel(sync_id, db=db):
                await append(db, by, "sync.cancelled", sync_id)
