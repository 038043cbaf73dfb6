"""What the REST API tells of connections beside what their store has: today's rows and the newest backfill."""

from __future__ import annotations

from collections.abc import Sequence

from services.connection_api.models import BackfillAnswer, ConnectionAnswer
from shared.connections import Connection
from shared.db import Pool, database_errors
from shared.syncs import SyncStore

SUMMARIES = """
SELECT c.id,
       (SELECT y.id FROM syncs y WHERE y.connection_id = c.id AND y.kind = 'backfill'
        ORDER BY y.created_at DESC, y.id DESC LIMIT 1) AS backfill_id,
       (SELECT coalesce(sum(h.inserted + h.updated + h.deleted), 0)::bigint FROM delivery_hours h
        WHERE h.connection_id = c.id AND h.hour >= date_trunc('day', now(), 'UTC')) AS rows_today
FROM unnest($1::text[]) AS c (id)
"""


class Reads:
    """Every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def describe(self, connections: Sequence[Connection]) -> tuple[ConnectionAnswer, ...]:
        """Return the connections with their newest backfill and today's rows."""
        with database_errors():
            rows = await self._pool.fetch(SUMMARIES, [connection.id for connection in connections])
        by_id = {row["id"]: row for row in rows}
        return tuple(
            [
                ConnectionAnswer.model_validate(one).model_copy(
                    update={
                        "backfill": await self._backfill(by_id[one.id]["backfill_id"]),
                        "rows_today": by_id[one.id]["rows_today"],
                    }
                )
                for one in connections
            ]
        )

    async def _backfill(self, sync_id: str | None) -> BackfillAnswer | None:
        if sync_id is None:
            return None
        return BackfillAnswer.model_validate(await SyncStore(self._pool).get(sync_id))
