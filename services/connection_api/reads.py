"""What the REST API reads beside the stores: today's rows, newest backfills, and the event log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.connection_api.models import BackfillAnswer, ConnectionAnswer, EventAnswer
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
EVENTS = """
SELECT connection_id, event_id, type, resource, object_id, created, outcome, received_at, written_at
FROM event_log
WHERE {filters} AND ($1::timestamptz IS NULL OR (written_at, connection_id, event_id) < ($1, $2, $3))
ORDER BY written_at DESC, connection_id DESC, event_id DESC LIMIT $4
"""
# Its indexes begin with the connection: naming all of them lets a search by event or object use one.
ANY_CONNECTION = "connection_id = ANY (ARRAY(SELECT id FROM connections))"


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

    async def events(
        self, filters: dict[str, str], *, before: tuple[datetime, str, str] | None, limit: int
    ) -> list[EventAnswer]:
        """Return events, newest first, whose columns equal `filters`; `before` is the last one's place."""
        at, connection_id, event_id = before or (None, None, None)
        clauses = [f"{column} = ${number}" for number, column in enumerate(filters, start=5)]
        if clauses and "connection_id" not in filters:
            clauses.append(ANY_CONNECTION)
        sql = EVENTS.format(filters=" AND ".join(clauses) or "true")
        with database_errors():
            rows = await self._pool.fetch(sql, at, connection_id, event_id, limit, *filters.values())
        return [EventAnswer.model_validate(dict(row)) for row in rows]

    async def _backfill(self, sync_id: str | None) -> BackfillAnswer | None:
        if sync_id is None:
            return None
        return BackfillAnswer.model_validate(await SyncStore(self._pool).get(sync_id))
