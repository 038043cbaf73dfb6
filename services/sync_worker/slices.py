"""Slices in the state database: claimed under a lease, checkpointed page by page, fenced by the lease's token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from services.sync_worker.planning import MOST_OF_FEED, MOST_PARALLEL, Plan
from shared.broker_log import CurrentLog
from shared.db import Connection, Pool, affected, database_errors, transaction
from shared.errors import TransientError
from shared.syncs import EVENT_FEED

LEASE = timedelta(seconds=10)  # a worker that was killed gives its slices free after it
RENEW_INTERVAL = 3.0  # seconds

Offsets = Mapping[tuple[str, int], int]  # topic and partition → last offset


class LeaseLostError(Exception):
    """Another worker has the slice now, or its sync waits or was cancelled: it is not to be gone on with."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice that this worker holds."""

    id: int
    sync_id: str
    connection_id: str
    resource: str
    walk: int
    range_start: int | None
    range_end: int | None
    cursor: str | None
    cursor_created: int | None
    object_id: str | None
    pages: int
    page_limit: int | None
    lease_token: int
    compares: bool  # what it reads is compared with the rows, and not written
    is_delayed: bool  # whether a try that failed is noted
    is_newest: bool  # its range ends where the sync began: objects may be dated later, by a test clock
    log_id: str  # the log that its pages go to


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one published page adds to its slice."""

    cursor: str | None
    cursor_created: int | None
    records: int
    offsets: Offsets
    is_last: bool
    calls: int = 0
    rate_limited: int = 0
    split: int | None = None
    read_at: int | None = None  # Stripe's clock, in seconds; the first page's stays
    failed: int = 0  # of the records, those that became dead letters before they were published


# The connection that is fetched least comes first, then the one whose turn is the longest ago. Of its lists, one that
# nobody fetches at the moment: each endpoint has a limit of its own. The lists are found by steps in an index, so that
# what a claim costs does not grow with the slices that wait.
CLAIM = """
WITH RECURSIVE lists AS (
    (SELECT connection_id, resource, id FROM slices WHERE status = 'planned'
     ORDER BY connection_id, resource, id LIMIT 1)
    UNION ALL
    SELECT n.* FROM lists l CROSS JOIN LATERAL (
        SELECT connection_id, resource, id FROM slices
        WHERE status = 'planned' AND (connection_id, resource) > (l.connection_id, l.resource)
        ORDER BY connection_id, resource, id LIMIT 1) n
), busy AS (
    SELECT connection_id, resource, count(*) AS slices FROM slices
    WHERE status = 'planned' AND lease_until > now() GROUP BY 1, 2
), ranked AS (
    SELECT l.connection_id, l.resource FROM lists l JOIN connections c ON c.id = l.connection_id
    WHERE c.state = 'active' AND ($4::text[] IS NULL OR l.resource = ANY ($4))
      AND NOT EXISTS (SELECT FROM resource_faults f WHERE f.connection_id = c.id AND f.resource = l.resource)
    ORDER BY (SELECT coalesce(sum(slices), 0) FROM busy b WHERE b.connection_id = c.id),
             array_position($5::text[], c.id) NULLS FIRST, c.id,
             (SELECT coalesce(sum(slices), 0) FROM busy b WHERE (b.connection_id, b.resource) = (c.id, l.resource)),
             l.id
)
UPDATE slices SET lease_owner = $1, lease_token = lease_token + 1, lease_until = now() + $2::interval
WHERE id = (
    SELECT n.id FROM ranked r CROSS JOIN LATERAL (
        SELECT s.id FROM slices s
        WHERE s.connection_id = r.connection_id AND s.resource = r.resource AND s.status = 'planned'
          AND (s.lease_until IS NULL OR s.lease_until < now()) AND coalesce(s.cluster_id, $3) = $3
          AND (SELECT y.status FROM syncs y WHERE y.id = s.sync_id) = 'running'
        ORDER BY s.id LIMIT 1 FOR UPDATE OF s SKIP LOCKED) n
    LIMIT 1
)
RETURNING id, sync_id, connection_id, resource, walk, range_start, range_end, cursor, cursor_created, object_id,
          pages, page_limit, lease_token, (SELECT y.kind = 'verify' FROM syncs y WHERE y.id = sync_id) AS compares,
          EXISTS (SELECT FROM delays d WHERE d.work = 'slice' AND d.work_id = slices.id::text) AS is_delayed,
          coalesce(range_end > (SELECT extract(epoch FROM y.started_at) FROM syncs y WHERE y.id = sync_id), false)
            AS is_newest
"""
RENEW = "UPDATE slices SET lease_until = now() + $3::interval WHERE id = $1 AND lease_token = $2"
RELEASE = "UPDATE slices SET lease_until = NULL WHERE id = $1 AND lease_token = $2"
# Nobody takes it before that; this worker does not hold it any more.
POSTPONE = """
UPDATE slices SET lease_until = now() + $3::interval, lease_token = lease_token + 1 WHERE id = $1 AND lease_token = $2
"""
CHECKPOINT = """
UPDATE slices SET cursor = $3, cursor_created = $4, pages = pages + 1, records = records + $5, cluster_id = $6,
                  status = CASE WHEN $7 THEN 'published' ELSE status END, range_start = coalesce($8, range_start),
                  lease_until = now() + $9::interval, read_at = coalesce(read_at, $10)
WHERE id = $1 AND lease_token = $2 AND status = 'planned' AND coalesce(cluster_id, $6) = $6
"""
OFFSETS = """
INSERT INTO slice_offsets AS o (slice_id, topic, partition, last_offset)
SELECT $1, u.* FROM unnest($2::text[], $3::int[], $4::bigint[]) AS u (topic, partition, last_offset)
ON CONFLICT (slice_id, topic, partition) DO UPDATE SET last_offset = greatest(o.last_offset, excluded.last_offset)
"""
FAILED = """
INSERT INTO slice_counts AS c (slice_id, destination_id, failed)
SELECT $1, d.destination_id, $3 FROM connection_destinations d WHERE d.connection_id = $2 ORDER BY 2
ON CONFLICT (slice_id, destination_id) DO UPDATE SET failed = c.failed + excluded.failed
"""
SPLIT = """
INSERT INTO slices (sync_id, connection_id, resource, walk, range_start, range_end)
SELECT sync_id, connection_id, resource, walk, range_start, $2 FROM slices WHERE id = $1
"""
OPEN_OF_LIST = """
SELECT count(*) FROM slices WHERE sync_id = $1 AND resource = $2 AND walk = $3 AND status = 'planned'
"""
# First, since it waits for whoever pauses or cancels the sync: a page that was under way still counts in a pause.
COST = """
UPDATE syncs SET stripe_calls = stripe_calls + $2, rate_limited = rate_limited + $3
WHERE id = $1 AND status IN ('running', 'paused') RETURNING status = 'running'
"""
FEED_READ_AT = """
SELECT min(read_at) FROM slices WHERE sync_id = $1 AND resource = $2
HAVING bool_and(status IN ('published', 'confirmed'))
"""
FAIL = "UPDATE slices SET status = 'failed', cause_code = $3, cause = $4 WHERE id = $1 AND lease_token = $2"
BEGIN = """
UPDATE syncs SET status = 'running', started_at = now(), range_end = coalesce(range_end, to_timestamp($2))
WHERE id = $1 AND status = 'queued' RETURNING connection_id
"""
PLAN = """
INSERT INTO slices (sync_id, connection_id, resource, walk, range_start, range_end, object_id, page_limit)
SELECT $1, $2, u.*
FROM unnest($3::text[], $4::int[], $5::bigint[], $6::bigint[], $7::text[], $8::int[])
     AS u (resource, walk, s, e, object_id, page_limit)
"""


class Slices:
    """The slices of all syncs; every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool, *, owner: str, log: CurrentLog) -> None:
        """`owner` names this worker; `log` is what it publishes to."""
        self._pool = pool
        self._owner = owner
        self._log = log
        self._served: dict[str, None] = {}  # connections whose slices were claimed here, the latest last

    async def begin(self, db: Connection, sync_id: str, plans: Sequence[Plan], *, range_end: int) -> bool:
        """Start a queued sync with its slices, within the caller's transaction; tell whether it was not yet started."""
        connection_id = await db.fetchval(BEGIN, sync_id, range_end)
        if connection_id is None:
            return False
        await add_slices(db, sync_id, connection_id, plans)
        return True

    async def claim(self, *, of: Sequence[str] | None = None) -> Slice | None:
        """Return a slice that nobody works on, now held by this worker; `None` when there is none.

        Connections take turns. Only one of the resources `of`, if they are given.
        """
        log_id, wanted = self._log.id, None if of is None else list(of)
        with database_errors():
            row = await self._pool.fetchrow(CLAIM, self._owner, LEASE, log_id, wanted, list(self._served))
        if row is None:
            return None
        self._served.pop(row["connection_id"], None)
        self._served[row["connection_id"]] = None
        return Slice(**dict(row), log_id=log_id)

    @asynccontextmanager
    async def held(self, held: Slice) -> AsyncIterator[None]:
        """Renew the lease while the block runs, and give the slice free after it."""
        renewing = asyncio.create_task(self._renew(held))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            with database_errors():
                await self._pool.execute(RELEASE, held.id, held.lease_token)

    async def checkpoint(self, held: Slice, done: Checkpoint) -> None:
        """Note a published page; raise `LeaseLostError` when the slice is not to be gone on with."""
        if held.log_id != self._log.id:
            raise LeaseLostError  # the broker has lost what was published
        page = (done.cursor, done.cursor_created, done.records, held.log_id, done.is_last)
        async with transaction(self._pool) as db:
            goes_on = await db.fetchval(COST, held.sync_id, done.calls, done.rate_limited)
            if goes_on is None:
                raise LeaseLostError
            if done.split is not None:
                await db.execute(SPLIT, held.id, done.split)
            if not affected(
                await db.execute(CHECKPOINT, held.id, held.lease_token, *page, done.split, LEASE, done.read_at)
            ):
                raise LeaseLostError
            await _note_offsets(db, held.id, done.offsets)
            if done.failed:
                await db.execute(FAILED, held.id, held.connection_id, done.failed)
        if not goes_on:
            raise LeaseLostError

    async def postpone(self, held: Slice, seconds: float) -> None:
        """Give the slice back, to be gone on with after so many seconds."""
        with database_errors():
            await self._pool.execute(POSTPONE, held.id, held.lease_token, timedelta(seconds=seconds))

    async def may_split(self, held: Slice) -> bool:
        """Tell whether the list of this slice may be fetched by one more worker."""
        with database_errors():
            count = await self._pool.fetchval(OPEN_OF_LIST, held.sync_id, held.resource, held.walk)
        return bool(count < (MOST_OF_FEED if held.resource == EVENT_FEED else MOST_PARALLEL))

    async def feed_read_at(self, sync_id: str) -> int | None:
        """Return the second of Stripe's clock before which all events are published; `None` while a slice is open."""
        with database_errors():
            read_at: int | None = await self._pool.fetchval(FEED_READ_AT, sync_id, EVENT_FEED)
        return read_at

    async def fail(self, held: Slice, *, code: str, cause: str) -> None:
        """Give the slice up with its cause."""
        with database_errors():
            await self._pool.execute(FAIL, held.id, held.lease_token, code, cause)

    async def _renew(self, held: Slice) -> None:
        while True:
            await asyncio.sleep(RENEW_INTERVAL)
            try:
                with database_errors():
                    await self._pool.execute(RENEW, held.id, held.lease_token, LEASE)
            except TransientError:
                continue  # the lease runs out, and the next checkpoint says so


async def add_slices(db: Connection, sync_id: str, connection_id: str, plans: Sequence[Plan]) -> None:
    """Add slices to a sync, within the caller's transaction."""
    columns = ([getattr(plan, name) for plan in plans] for name in Plan.__slots__)
    await db.execute(PLAN, sync_id, connection_id, *columns)


async def _note_offsets(db: Connection, slice_id: int, offsets: Offsets) -> None:
    topics: Iterable[str] = [topic for topic, _ in offsets]
    partitions = [partition for _, partition in offsets]
    await db.execute(OFFSETS, slice_id, topics, partitions, list(offsets.values()))
