"""Searches for rows that a whole list did not show: absence makes a candidate, and Stripe's answer decides.

A list advances the stamp of every row that it shows, also of an equal one. So a live row of the listed range whose
stamp is older than the list's first page was not shown. Who has listed notes the search, and a writer walks the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from shared.catalogue import RESOURCES
from shared.db import Connection, Pool, Row, database_errors

LEASE = timedelta(seconds=30)
#: What triggers syncs that read so often that a walk through the tables each time would cost more than it finds.
WITHOUT_SEARCH = ("schedule",)
WALKS = {row.name: row.walk_count for row in RESOURCES if not row.is_singleton}

# Of what was listed without a gap, in every walk of its list: slices of a sync may be parts of what others have begun.
NOTE = """
INSERT INTO searches (sync_id, connection_id, destination_id, resource, range_start, range_end, stamp)
SELECT y.id, y.connection_id, d.destination_id, s.resource, lower(part), upper(part), s.stamp
FROM syncs y JOIN connection_destinations d ON d.connection_id = y.connection_id
CROSS JOIN LATERAL (
    SELECT w.resource, min(w.stamp) AS stamp, range_intersect_agg(w.covered) AS covered
    FROM (
        SELECT resource, walk, min(read_at) AS stamp, range_agg(int8range(
                   range_start,
                   CASE WHEN range_end > extract(epoch FROM y.started_at) THEN NULL ELSE range_end END)) AS covered
        FROM slices
        WHERE sync_id = y.id AND object_id IS NULL AND page_limit IS NULL AND status = 'confirmed'
          AND read_at IS NOT NULL AND (range_start < range_end) IS NOT FALSE
        GROUP BY 1, 2
    ) w
    JOIN unnest($2::text[], $3::int[]) AS c (resource, walks) USING (resource)
    GROUP BY w.resource, c.walks HAVING count(*) = c.walks
) s
CROSS JOIN LATERAL unnest(s.covered) AS part
WHERE y.id = ANY ($1::text[]) AND y.kind IN ('backfill', 'gap_fill', 'manual', 'reconcile', 'verify')
  AND NOT y.trigger = ANY ($4::text[])
ORDER BY y.id, s.resource, d.destination_id, part
"""
CLAIM = """
UPDATE searches SET lease_until = now() + $1::interval WHERE id = (
    SELECT s.id FROM searches s WHERE s.status = 'queued' AND s.not_before <= now()
      AND (s.lease_until IS NULL OR s.lease_until < now())
    ORDER BY s.not_before, s.id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, sync_id, connection_id, destination_id, resource, range_start, range_end, stamp, last_id,
          (SELECT y.kind = 'verify' FROM syncs y WHERE y.id = sync_id) AS compares
"""
ADVANCE = """
UPDATE searches SET last_id = $2, found = found + $3, cause = NULL, lease_until = now() + $4::interval WHERE id = $1
"""
FINISH = "UPDATE searches SET status = 'done', cause = NULL, lease_until = NULL WHERE id = $1"
FOUND = "SELECT coalesce(sum(found), 0)::bigint FROM searches WHERE sync_id = $1"
POSTPONE = "UPDATE searches SET lease_until = NULL, not_before = now() + $2::interval, cause = $3 WHERE id = $1"


@dataclass(frozen=True, slots=True)
class Search:
    """A search that this writer holds."""

    id: int
    sync_id: str
    connection_id: str
    destination_id: str
    resource: str
    range_start: int | None
    range_end: int | None
    stamp: int
    last_id: str | None
    compares: bool  # for a comparison, whose list has advanced no stamp


async def note_searches(db: Connection, sync_ids: Sequence[str]) -> None:
    """Note a search for each resource that the syncs have listed in full, within the caller's transaction."""
    await db.execute(NOTE, sync_ids, list(WALKS), list(WALKS.values()), list(WITHOUT_SEARCH))


async def advance(db: Connection, search: Search, last_id: str | None, *, found: int) -> None:
    """Note how far a search has come, within the caller's transaction; at the end of the table it is done."""
    await db.execute(ADVANCE, search.id, last_id, found, LEASE)
    if last_id is None:
        await db.execute(FINISH, search.id)


class SearchStore:
    """Reads and writes searches; every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self) -> Search | None:
        """Return one that is due, lent for half a minute; `None` when there is none."""
        with database_errors():
            row = await self._pool.fetchrow(CLAIM, LEASE)
        return _search(row) if row else None

    async def finish(self, search: Search) -> None:
        """Note that nothing is left to be looked for."""
        with database_errors():
            await self._pool.execute(FINISH, search.id)

    async def postpone(self, search: Search, *, seconds: float, cause: str) -> None:
        """Let it go on later, from where it is."""
        with database_errors():
            await self._pool.execute(POSTPONE, search.id, timedelta(seconds=seconds), cause)

    async def found(self, sync_id: str) -> int:
        """Return how many live rows the lists of a sync did not show, in all destinations."""
        with database_errors():
            return int(await self._pool.fetchval(FOUND, sync_id))


def _search(row: Row) -> Search:
    return Search(**dict(row))
