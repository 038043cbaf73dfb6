"""Fills a destination again from Stripe, be it empty, short of rows or whole: every connection is read anew."""

from __future__ import annotations

from shared.audit import Actor, append
from shared.connections import Connection, ConnectionStore, State
from shared.db import Connection as Database
from shared.db import Pool, transaction
from shared.errors import ConflictError, NotFoundError
from shared.syncs import Kind, SyncStore

TRIGGER = "destination rebuilt"

# Writers open it again by its new version, which makes schema and tables where they are missing.
OPEN_AGAIN = "UPDATE destinations SET version = version + 1 WHERE id = $1 RETURNING id"
USERS = """
SELECT d.connection_id FROM connection_destinations d JOIN connections c ON c.id = d.connection_id
WHERE d.destination_id = $1 AND c.state = ANY ($2::text[]) ORDER BY 1
"""
WAITING = "SELECT id FROM syncs WHERE connection_id = $1 AND trigger = $2 AND status = 'queued'"
# Of a connection that is being set up, everything is about to be read; of one that is removed, nothing may be.
READABLE = (State.ACTIVE, State.PAUSED, State.ACTION_REQUIRED)


class Rebuild:
    """Raises `NotFoundError`, `ConflictError`, `DatabaseUnavailableError`."""

    def __init__(self, pool: Pool, connections: ConnectionStore) -> None:
        self._pool = pool
        self._connections = connections
        self._syncs = SyncStore(pool)

    async def begin(self, destination_id: str, *, by: Actor) -> list[str]:
        """Queue a backfill of everything that is delivered there; return the syncs' ids.

        A connection that is paused, or whose key is refused, is read once it goes on. What is written is replaced only
        by what is newer or the same.
        """
        async with transaction(self._pool) as db:
            if not await db.fetchval(OPEN_AGAIN, destination_id):
                raise NotFoundError(f"There is no destination {destination_id}.")
            ids = [row["connection_id"] for row in await db.fetch(USERS, destination_id, list(READABLE))]
            if not ids:
                raise ConflictError("No account delivers to this destination, so there is nothing to fill it with.")
            syncs = [await self._queue(db, one) for one in await self._connections.list_by_id(ids, db=db)]
            await append(db, by, "destination.rebuilt", destination_id, syncs=syncs)
        return syncs

    async def _queue(self, db: Database, connection: Connection) -> str:
        waiting = await db.fetchval(WAITING, connection.id, TRIGGER)
        return (
            str(waiting)
            if waiting
            else await self._syncs.create(
                connection.id,
                Kind.BACKFILL,
                trigger=TRIGGER,
                resources=connection.resources,
                range_start=connection.start_date,
                db=db,
            )
        )
