"""How far a sync is and what became of its records, added up from its slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.db import Connection as Database
from shared.db import Pool, Row, database_errors


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of records, added over all destinations."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    ignored: int = 0
    failed: int = 0


COUNT_FIELDS = tuple(Counts.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class ResourceProgress:
    """How far a sync is with one resource."""

    resource: str
    share: float  # of the time range, from 0 to 1: Stripe tells no totals
    read: int
    confirmed: bool
    cause_code: str | None
    cause: str | None
    counts: Counts


# A slice that is being fetched walks from range_end back to range_start: what lies after its cursor is covered. A list
# may show an object that is outside of the range that was asked for.
_SLICE_SHARE = """
CASE WHEN s.status = 'confirmed' OR s.cause_code IN ('resource_unavailable', 'not_synced') THEN 1.0
     WHEN s.status = 'published' THEN 0.99
     WHEN s.cursor_created IS NULL OR s.range_end IS NULL THEN 0.0
     ELSE 0.98 * greatest(least((s.range_end - s.cursor_created)
                                / greatest(s.range_end - coalesce(s.range_start, f.oldest), 1)::numeric, 1), 0)
END
"""
# The width of a slice in seconds is its weight; a list without a time range weighs as much as a day.
_SLICE_WIDTH = "coalesce(greatest(s.range_end - coalesce(s.range_start, f.oldest), 1), 86400)"
STRIPE_BEGAN = 1_293_840_000  # 2011-01-01: no object is older, so an open range starts here

PROGRESS = f"""
SELECT s.resource,
       sum({_SLICE_SHARE} * {_SLICE_WIDTH}) / sum({_SLICE_WIDTH}) AS share,
       sum(s.records)::bigint AS read,
       bool_and(s.status IN ('confirmed', 'failed')) AS confirmed,
       max(s.cause_code) AS cause_code, max(s.cause) AS cause,
       {", ".join(f"coalesce(sum(c.{field}), 0)::bigint AS {field}" for field in COUNT_FIELDS)}
FROM slices s
-- A range that is open to the past is measured from the oldest object that any list has shown so far.
CROSS JOIN (SELECT coalesce(min(cursor_created), $2::bigint) AS oldest FROM slices WHERE sync_id = $1) f
LEFT JOIN LATERAL (
    SELECT {", ".join(f"sum({field}) AS {field}" for field in COUNT_FIELDS)} FROM slice_counts WHERE slice_id = s.id
) c ON true
WHERE s.sync_id = $1 GROUP BY s.resource ORDER BY s.resource
"""
PROGRESS_OF_MANY = f"""
SELECT y.id AS sync_id, p.* FROM unnest($1::text[]) AS y (id) CROSS JOIN LATERAL ({PROGRESS.replace("$1", "y.id")}) p
"""
SUMS = f"""
SELECT avg(share)::float8 AS share, sum(read)::bigint AS read,
       {", ".join(f"sum({field})::bigint AS {field}" for field in COUNT_FIELDS)}
FROM ({PROGRESS.replace("$2", str(STRIPE_BEGAN))}) per_resource
"""
_FREEZE = f"""
UPDATE syncs y SET share = coalesce(p.share, 0), records = coalesce(p.read, 0),
       {", ".join(f"{field} = coalesce(p.{field}, 0)" for field in COUNT_FIELDS)}
FROM syncs z LEFT JOIN LATERAL ({SUMS.replace("$1", "z.id")}) p ON true
WHERE y.id = z.id AND z.id = ANY ($1::text[])
"""


def counts_of(row: Row) -> Counts:
    """Return the counts that stand in a row."""
    return Counts(**{field: row[field] or 0 for field in COUNT_FIELDS})


def bounded(share: float | None) -> float:
    """Return a share from 0 to 1, whatever an older release has kept."""
    return min(max(float(share or 0), 0.0), 1.0)


def resource_progress(row: Row) -> ResourceProgress:
    """Return what a row of `PROGRESS` tells."""
    return ResourceProgress(
        *(row["resource"], bounded(row["share"]), row["read"] or 0, row["confirmed"]),
        *(row["cause_code"], row["cause"], counts_of(row)),
    )


async def read_progress(pool: Pool, sync_ids: Sequence[str]) -> dict[str, list[ResourceProgress]]:
    """Return how far each sync is with each of its resources; raise `DatabaseUnavailableError`."""
    progress: dict[str, list[ResourceProgress]] = {sync_id: [] for sync_id in sync_ids}
    with database_errors():
        rows = await pool.fetch(PROGRESS_OF_MANY, list(sync_ids), STRIPE_BEGAN) if progress else []
    for row in rows:
        progress[row["sync_id"]].append(resource_progress(row))
    return progress


async def freeze(db: Database, sync_ids: Sequence[str]) -> None:
    """Note in the rows of syncs that end what their slices add up to, within the caller's transaction."""
    await db.execute(_FREEZE, sync_ids)
