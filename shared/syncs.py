"""Syncs in the state database: each run of work that a person can see, with its progress and its counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from shared.catalogue import BY_NAME
from shared.connections import Connection
from shared.crypto import make_id
from shared.db import Pool, Row, database_errors
from shared.errors import NotFoundError


class Kind(StrEnum):
    """What a sync does."""

    BACKFILL = "backfill"
    GAP_FILL = "gap_fill"
    RECONCILE = "reconcile"
    LIVE = "live"
    KEY_CHECK = "key_check"
    MANUAL = "manual"


class Status(StrEnum):
    """How far a sync is."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


EVENT_FEED = "event"  # among a sync's resources: the comparison with /v1/events
# A balance transaction becomes available within days, an invoice item waits for its invoice for a month.
SILENT_WINDOW = timedelta(days=35)
NEWEST_WINDOW = timedelta(hours=2)


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
class Sync:
    """One run of work."""

    id: str
    connection_id: str
    kind: Kind
    trigger: str
    status: Status
    resources: tuple[str, ...]
    object_id: str | None
    range_start: datetime | None
    range_end: datetime | None
    cause_code: str | None
    cause: str | None
    stripe_calls: int
    rate_limited: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    read: int
    share: float  # of the time range that is covered and confirmed, from 0 to 1
    counts: Counts


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


# A slice that is being fetched walks from range_end back to range_start: what lies after its cursor is covered.
_SLICE_SHARE = """
CASE WHEN s.status IN ('confirmed', 'failed') THEN 1.0
     WHEN s.status = 'published' THEN 0.99
     WHEN s.cursor_created IS NULL OR s.range_end IS NULL THEN 0.0
     ELSE 0.98 * (s.range_end - s.cursor_created) / greatest(s.range_end - coalesce(s.range_start, f.oldest), 1)
END
"""
# The width of a slice in seconds is its weight; a list without a time range weighs as much as a day.
_SLICE_WIDTH = "coalesce(greatest(s.range_end - coalesce(s.range_start, f.oldest), 1), 86400)"
STRIPE_BEGAN = 1_293_840_000  # 2011-01-01: no object is older, so an open range starts here

_PROGRESS = f"""
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
_SELECT = f"""
SELECT y.*, p.share, p.read, {", ".join(f"p.{field}" for field in COUNT_FIELDS)}
FROM syncs y
LEFT JOIN LATERAL (
    SELECT avg(share)::float8 AS share, sum(read)::bigint AS read,
           {", ".join(f"sum({field})::bigint AS {field}" for field in COUNT_FIELDS)}
    FROM ({_PROGRESS.replace("$1", "y.id").replace("$2", str(STRIPE_BEGAN))}) per_resource
) p ON true
"""


def _counts(row: Row) -> Counts:
    return Counts(**{field: row[field] or 0 for field in COUNT_FIELDS})


def _sync(row: Row) -> Sync:
    status = Status(row["status"])
    return Sync(
        id=row["id"],
        connection_id=row["connection_id"],
        kind=Kind(row["kind"]),
        trigger=row["trigger"],
        status=status,
        resources=tuple(row["resources"]),
        object_id=row["object_id"],
        range_start=row["range_start"],
        range_end=row["range_end"],
        cause_code=row["cause_code"],
        cause=row["cause"],
        stripe_calls=row["stripe_calls"],
        rate_limited=row["rate_limited"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        read=row["read"] or 0,
        share=1.0 if status is Status.SUCCEEDED else float(row["share"] or 0),
        counts=_counts(row),
    )


class SyncStore:
    """Reads and writes syncs; every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(
        self,
        connection_id: str,
        kind: Kind,
        *,
        trigger: str,
        resources: Sequence[str],
        range_start: datetime | None = None,
        range_end: datetime | None = None,
    ) -> str:
        """Queue a sync and return its id. A sync worker takes it up, also when no command wakes it."""
        sync_id = make_id("syn")
        sql = """
        INSERT INTO syncs (id, connection_id, kind, trigger, status, resources, range_start, range_end)
        VALUES ($1, $2, $3, $4, 'queued', $5, $6, $7)
        """
        with database_errors():
            await self._pool.execute(
                sql, sync_id, connection_id, kind, trigger, list(resources), range_start, range_end
            )
        return sync_id

    async def reconcile(
        self, connection: Connection, *, trigger: str, now: float, window: timedelta = SILENT_WINDOW
    ) -> str:
        """Queue a comparison with Stripe: its event feed, and the lists of what changes without an event.

        `window` says how far back those lists are read; it costs a call for every 100 objects.
        """
        since = datetime.fromtimestamp(now, UTC) - window
        silent = (n for n in connection.resources if not BY_NAME[n].is_in_event_feed or BY_NAME[n].changes_silently)
        return await self.create(
            connection.id,
            Kind.RECONCILE,
            trigger=trigger,
            resources=[EVENT_FEED, *silent],
            range_start=max(since, connection.start_date) if connection.start_date else since,
        )

    async def get(self, sync_id: str) -> Sync:
        """Return the sync; raise `NotFoundError`."""
        with database_errors():
            row = await self._pool.fetchrow(f"{_SELECT} WHERE y.id = $1", sync_id)
        if row is None:
            raise NotFoundError(f"There is no sync {sync_id}.")
        return _sync(row)

    async def list_newest(
        self, connection_id: str | None = None, *, before: tuple[datetime, str] | None = None, limit: int = 25
    ) -> list[Sync]:
        """Return syncs, newest first; `before` is time and id of the last one on the page before."""
        sql = f"""{_SELECT}
        WHERE ($1::text IS NULL OR y.connection_id = $1)
          AND ($2::timestamptz IS NULL OR (y.created_at, y.id) < ($2, $3))
        ORDER BY y.created_at DESC, y.id DESC LIMIT $4
        """
        created_at, sync_id = before or (None, None)
        with database_errors():
            rows = await self._pool.fetch(sql, connection_id, created_at, sync_id, limit)
        return [_sync(row) for row in rows]

    async def progress(self, sync_id: str) -> list[ResourceProgress]:
        """Return how far the sync is with each of its resources."""
        with database_errors():
            rows = await self._pool.fetch(_PROGRESS, sync_id, STRIPE_BEGAN)
        return [
            ResourceProgress(
                row["resource"],
                float(row["share"] or 0),
                row["read"] or 0,
                row["confirmed"],
                row["cause_code"],
                row["cause"],
                _counts(row),
            )
            for row in rows
        ]
