"""Says when a sync has ended: when the writers have confirmed the last record of its last slice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from services.sync_worker.gap_fill import FEED_DAYS, feed_start, is_beyond_feed
from services.sync_worker.planning import plan
from services.sync_worker.sampling import plan_sample
from services.sync_worker.slices import Slices
from shared.broker_log import CurrentLog
from shared.catalogue import DELETIONS
from shared.connections import hold
from shared.db import Connection as Database
from shared.db import Pool, Row, RowInUseError, database_errors, in_transaction, transaction
from shared.errors import TransientError
from shared.log import get_logger
from shared.searches import note_searches
from shared.sync_progress import freeze
from shared.syncs import EVENT_FEED, Kind, SyncStore

POLL_INTERVAL = 0.3  # seconds
GAP_BEYOND_FEED = f"gap of more than {FEED_DAYS} days"  # what triggers a new reading of everything
MOST_UNSHOWN = 50  # objects that a comparison retrieves beside its lists
CLOCK_SLACK = 60  # seconds by which our clock may be behind Stripe's

# A gap fill waits for the one that still reads the feed: after outage upon outage, none would come to its end.
QUEUED = """
SELECT y.id, y.kind, y.resources, y.object_id, y.range_start, y.range_end, c.id AS connection_id, c.events_complete_to,
       c.created_at AS connected_at, c.resources AS synced, c.start_date, y.sample_pages
FROM syncs y JOIN connections c ON c.id = y.connection_id
WHERE y.status = 'queued' AND c.state = 'active' AND (y.not_before IS NULL OR y.not_before <= now())
  AND NOT (y.kind = 'gap_fill' AND EXISTS (
    SELECT FROM syncs o JOIN slices s ON s.sync_id = o.id
    WHERE o.connection_id = y.connection_id AND o.kind = 'gap_fill' AND o.status = 'running' AND s.status = 'planned'))
ORDER BY y.created_at
"""
IS_LISTED_AGAIN = """
SELECT EXISTS (SELECT FROM syncs WHERE connection_id = $1 AND kind = 'backfill' AND trigger = $2 AND finished_at IS NULL
               AND status <> 'cancelled')
"""
# What lies on another log than the current one is lost: the slice runs again.
RESTART_LOST = """
UPDATE slices SET status = 'planned', cursor = NULL, cursor_created = NULL, cluster_id = NULL, read_at = NULL,
    pages = 0, records = 0
WHERE id IN (
    SELECT s.id FROM slices s JOIN syncs y ON y.id = s.sync_id
    WHERE y.status IN ('running', 'paused') AND s.status IN ('planned', 'published')
      AND s.cluster_id IS NOT NULL AND s.cluster_id <> $1 AND (s.lease_until IS NULL OR s.lease_until < now())
    ORDER BY s.id FOR NO KEY UPDATE OF s SKIP LOCKED)
RETURNING id
"""
FORGET_OFFSETS = "DELETE FROM slice_offsets WHERE slice_id = ANY ($1::bigint[])"
FORGET_COUNTS = "DELETE FROM slice_counts WHERE slice_id = ANY ($1::bigint[])"
_IS_UNWRITTEN = """
(EXISTS (
    SELECT FROM slice_offsets o LEFT JOIN writer_progress w
      ON w.cluster_id = s.cluster_id AND w.topic = o.topic AND w.partition = o.partition
    WHERE o.slice_id = s.id AND coalesce(w.next_offset, 0) <= o.last_offset)
 OR EXISTS (
    SELECT FROM slice_offsets o JOIN broker_gaps g
      ON g.log_id = s.cluster_id AND g.topic = o.topic AND g.partition = o.partition AND g.from_offset <= o.last_offset
    WHERE o.slice_id = s.id)
 OR EXISTS (SELECT FROM parked_records p WHERE p.slice_id = s.id)
 OR EXISTS (SELECT FROM delivery_gaps g WHERE g.slice_id = s.id))
"""
CONFIRM = f"""
UPDATE slices SET status = 'confirmed'
WHERE id IN (
    SELECT s.id FROM slices s JOIN syncs y ON y.id = s.sync_id
    WHERE y.status IN ('running', 'paused', 'cancelled') AND s.status = 'published'
      AND s.cluster_id = $1 AND NOT {_IS_UNWRITTEN}
    ORDER BY s.id FOR NO KEY UPDATE OF s SKIP LOCKED)
RETURNING sync_id, resource = $2 AS is_feed
"""
# What a comparison with the feed has published is written: no event before its reading is missing, nor only on Kafka.
ADVANCE_WRITTEN = """
WITH fed AS (
    SELECT s.sync_id, min(s.connection_id) AS connection_id, min(s.read_at) AS read_at FROM slices s
    WHERE s.sync_id = ANY ($1::text[]) AND s.resource = $2
    GROUP BY s.sync_id HAVING bool_and(s.status = 'confirmed')
), told AS (
    SELECT o.id FROM connections o WHERE o.id IN (SELECT connection_id FROM fed) ORDER BY o.id FOR NO KEY UPDATE
)
UPDATE connections c SET events_written_to = greatest(c.events_written_to, f.read_at)
FROM (SELECT connection_id, max(read_at) AS read_at FROM fed GROUP BY 1) f JOIN told ON told.id = f.connection_id
WHERE c.id = f.connection_id
"""
# What may end now: nothing of it is left to fetch or to write, but for what waits for a permission.
ENDING = """
SELECT y.id, y.connection_id FROM syncs y WHERE y.status = 'running' AND y.kind <> 'live' AND NOT EXISTS (
    SELECT FROM slices s WHERE s.sync_id = y.id AND (s.status = 'published' OR s.status = 'planned' AND NOT EXISTS (
      SELECT FROM resource_faults f WHERE f.connection_id = s.connection_id AND f.resource = s.resource)))
"""
# A sync is locked before its slices, as by whoever notes a page; one that is busy ends the next time.
TAKE = "SELECT id FROM syncs WHERE id = ANY ($1::text[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"
# Held until the end of the transaction: a permission that comes back in between finds the slices that were given up.
HOLD_FAULTS = """
SELECT FROM resource_faults f WHERE EXISTS (
    SELECT FROM slices s WHERE s.connection_id = f.connection_id AND s.resource = f.resource AND s.status = 'planned')
ORDER BY f.connection_id, f.resource FOR SHARE OF f
"""
# When nothing else is left to do, what waits for a permission is given up: the permission's return begins it again.
GIVE_UP_WAITING = """
UPDATE slices s SET status = 'failed', cause_code = f.code, cause = f.cause
FROM resource_faults f, syncs y
WHERE f.connection_id = s.connection_id AND f.resource = s.resource AND y.id = s.sync_id AND y.status = 'running'
  AND y.id = ANY ($1::text[]) AND s.status = 'planned' AND (s.lease_until IS NULL OR s.lease_until < now())
  AND NOT EXISTS (
    SELECT FROM slices o WHERE o.sync_id = s.sync_id AND (o.status = 'published' OR o.status = 'planned' AND (
      o.lease_until > now() OR NOT EXISTS (
        SELECT FROM resource_faults g WHERE g.connection_id = o.connection_id AND g.resource = o.resource))))
"""
# A comparison that has read all it wants: what its whole lists did not show is looked for before it ends.
COMPARED = """
SELECT y.id FROM syncs y WHERE y.id = ANY ($1::text[]) AND y.kind = 'verify' AND y.sample_pages IS NULL
  AND NOT EXISTS (SELECT FROM slices s WHERE s.sync_id = y.id AND s.status NOT IN ('confirmed', 'failed'))
  AND NOT EXISTS (SELECT FROM searches f WHERE f.sync_id = y.id)
"""
# A comparison has the same blind spot as the lists that it reads. So what events have named, and no list has shown, is
# retrieved: at most $3 objects, the newest first. What an event said to be gone is left to the searches.
UNSHOWN = """
INSERT INTO slices (sync_id, connection_id, resource, object_id)
SELECT y.id, y.connection_id, u.resource, u.object_id
FROM syncs y CROSS JOIN LATERAL (
    SELECT e.resource, e.object_id FROM event_log e
    WHERE e.connection_id = y.connection_id AND e.resource = ANY (y.resources) AND e.object_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM compared_objects c WHERE c.sync_id = y.id AND c.resource = e.resource
                      AND c.object_id = e.object_id)
    GROUP BY 1, 2 HAVING NOT bool_or(e.type = ANY ($2::text[]))
    ORDER BY max(e.created) DESC, 1, 2 LIMIT $3
) u
WHERE y.id = ANY ($1::text[]) AND NOT EXISTS (SELECT FROM slices s WHERE s.sync_id = y.id AND s.object_id IS NOT NULL)
RETURNING sync_id
"""
IS_BEING_COMPARED = """(
    EXISTS (SELECT FROM searches f WHERE f.sync_id = y.id AND f.status = 'queued' AND y.kind = 'verify')
 OR EXISTS (SELECT FROM differences d WHERE d.sync_id = y.id AND d.status <> 'confirmed'))"""
FORGET_COMPARED = "DELETE FROM compared_objects WHERE sync_id = ANY ($1::text[])"
FINISH = f"""
UPDATE syncs y SET finished_at = now(),
    status = CASE WHEN f.slice IS NULL THEN 'succeeded' ELSE 'failed' END, cause_code = f.cause_code, cause = f.cause
FROM syncs z
LEFT JOIN LATERAL (
    SELECT s.id AS slice, s.cause_code, s.resource || ': ' || s.cause AS cause FROM slices s
    WHERE s.sync_id = z.id AND s.status = 'failed'
      AND s.cause_code NOT IN ('resource_unavailable', 'not_synced') ORDER BY s.id LIMIT 1
) f ON true
WHERE y.id = z.id AND y.id = ANY ($2::text[]) AND y.status = 'running' AND y.kind <> 'live' AND NOT {IS_BEING_COMPARED}
  AND NOT EXISTS (
    SELECT FROM slices s WHERE s.sync_id = y.id AND (
      s.status NOT IN ('confirmed', 'failed') OR s.status = 'failed' AND s.cluster_id = $1 AND {_IS_UNWRITTEN}))
RETURNING y.id, y.connection_id, y.kind, y.status, y.resources, y.started_at
"""
# Its last pages may still be on their way, and count.
FINISH_CANCELLED = f"""
UPDATE syncs SET finished_at = now() WHERE id IN (
    SELECT y.id FROM syncs y WHERE y.status = 'cancelled' AND y.finished_at IS NULL
      AND NOT EXISTS (
        SELECT FROM slices s WHERE s.sync_id = y.id AND (
          s.lease_until > now() OR s.status <> 'confirmed' AND s.cluster_id = $1 AND {_IS_UNWRITTEN}))
    ORDER BY y.id FOR NO KEY UPDATE OF y SKIP LOCKED)
RETURNING id
"""
LEAVE_CANCELLED = """
UPDATE slices SET status = 'failed', cause_code = 'cancelled', cause = 'The sync was cancelled.'
WHERE sync_id = ANY ($1::text[]) AND status IN ('planned', 'published')
"""
# The writers make it and count in it; a batch that began in its hour may come a moment later.
FINISH_HOURS = """
UPDATE syncs SET status = 'succeeded', finished_at = range_end WHERE id IN (
    SELECT id FROM syncs WHERE kind = 'live' AND status = 'running' AND range_end < now() - interval '1 minute'
    ORDER BY connection_id, id FOR NO KEY UPDATE SKIP LOCKED)
"""
# What was listed by a backfill needs to be listed again only from its start on.
TAILS = """
INSERT INTO list_tails AS t (connection_id, resource, listed_to)
SELECT $1, r, $3 FROM unnest($2::text[]) AS r ORDER BY r
ON CONFLICT (connection_id, resource) DO UPDATE SET listed_to = greatest(t.listed_to, excluded.listed_to)
"""


class Completion:
    """Starts queued syncs and finishes those that are confirmed."""

    def __init__(
        self, pool: Pool, syncs: SyncStore, slices: Slices, *, log: CurrentLog, now: Callable[[], float] = time.time
    ) -> None:
        self._pool = pool
        self._syncs = syncs
        self._slices = slices
        self._log = log
        self._now = now

    async def run(self, wake: asyncio.Event) -> None:
        """Start and finish syncs, for ever; sets `wake` when there is something to fetch."""
        while True:
            try:
                if await self.start_queued():
                    wake.set()
                await self.finish_confirmed()
            except TransientError as error:
                get_logger().warning("completion_delayed", reason=error.message)
            await asyncio.sleep(POLL_INTERVAL)

    async def start_queued(self) -> int:
        """Plan the syncs that wait; return how many there were."""
        with database_errors():
            rows = await self._pool.fetch(QUEUED)
        for row in rows:
            await self._begin(row, now=self._now())
        return len(rows)

    async def _begin(self, row: Row, *, now: float) -> None:
        start = int(row["range_start"].timestamp()) if row["range_start"] else None
        end = int(row["range_end"].timestamp()) if row["range_end"] else int(now) + CLOCK_SLACK
        gap = (row["events_complete_to"], row["connected_at"])
        since = feed_start(*gap, now=now)
        if row["kind"] == Kind.GAP_FILL and start is not None:
            since = min(since, start)  # of other kinds, the range is that of the lists
        if row["sample_pages"] is None:
            plans = list(plan(row["resources"], start=start, end=end, object_id=row["object_id"], feed_start=since))
        else:
            plans = await plan_sample(self._pool, row, start=start, end=end)
        async with transaction(self._pool) as db:
            await hold(db, [row["connection_id"]])
            begun = await self._slices.begin(db, row["id"], plans, range_end=end)
            if begun and EVENT_FEED in row["resources"] and is_beyond_feed(*gap, now=now):
                await self._list_again(db, row)

    async def _list_again(self, db: Database, row: Row) -> None:
        """Queue a reading of all that may have changed before the oldest event that Stripe still has."""
        connection_id = row["connection_id"]
        if await db.fetchval(IS_LISTED_AGAIN, connection_id, GAP_BEYOND_FEED):
            return
        get_logger().warning("gap_beyond_feed", connection=connection_id, complete_to=row["events_complete_to"])
        what = {"resources": row["synced"], "range_start": row["start_date"]}
        await self._syncs.create(connection_id, Kind.BACKFILL, trigger=GAP_BEYOND_FEED, **what, db=db)

    async def finish_confirmed(self) -> None:
        """Confirm slices that the writers are done with, and end the syncs that have nothing left to do."""
        # Each step is a transaction of its own, since together they would lock rows in no order.
        await in_transaction(self._pool, self._confirm)
        try:
            await in_transaction(self._pool, self._finish)
        except RowInUseError:
            get_logger().info("connection_gone")  # removed while its sync ended: nothing was changed
        await in_transaction(self._pool, self._finish_cancelled)
        with database_errors():
            await self._pool.execute(FINISH_HOURS)

    async def _confirm(self, db: Database) -> None:
        lost = [row["id"] for row in await db.fetch(RESTART_LOST, self._log.id)]
        await db.execute(FORGET_OFFSETS, lost)
        await db.execute(FORGET_COUNTS, lost)
        confirmed = {row["sync_id"] for row in await db.fetch(CONFIRM, self._log.id, EVENT_FEED) if row["is_feed"]}
        await db.execute(ADVANCE_WRITTEN, list(confirmed), EVENT_FEED)

    async def _finish(self, db: Database) -> None:
        ending = await db.fetch(ENDING)
        if not ending:
            return
        await hold(db, (row["connection_id"] for row in ending))
        taken = [row["id"] for row in await db.fetch(TAKE, [row["id"] for row in ending])]
        await db.execute(HOLD_FAULTS)
        await db.execute(GIVE_UP_WAITING, taken)
        await self._look_behind_lists(db, taken)
        finished = await db.fetch(FINISH, self._log.id, taken)
        await freeze(db, [row["id"] for row in finished])
        await note_searches(db, [row["id"] for row in finished if row["kind"] != Kind.VERIFY])
        await db.execute(FORGET_COMPARED, [row["id"] for row in finished])
        for row in finished:
            get_logger().info("sync_finished", sync=row["id"], kind=row["kind"], status=row["status"])
            if row["kind"] == Kind.BACKFILL:
                await self._follow_backfill(db, row)

    async def _look_behind_lists(self, db: Database, sync_ids: Sequence[str]) -> None:
        """Retrieve what no list of a comparison has shown; then look for rows that none has shown."""
        compared = [row["id"] for row in await db.fetch(COMPARED, sync_ids)]
        asked = {row["sync_id"] for row in await db.fetch(UNSHOWN, compared, sorted(DELETIONS), MOST_UNSHOWN)}
        await note_searches(db, [sync_id for sync_id in compared if sync_id not in asked])

    async def _finish_cancelled(self, db: Database) -> None:
        cancelled = [row["id"] for row in await db.fetch(FINISH_CANCELLED, self._log.id)]
        await freeze(db, cancelled)
        await db.execute(LEAVE_CANCELLED, cancelled)
        await db.execute(FORGET_COMPARED, cancelled)

    async def _follow_backfill(self, db: Database, row: Row) -> None:
        """Fill the gap since the endpoint was made, and remember up to when the lists are known."""
        listed_to = int(row["started_at"].timestamp()) - CLOCK_SLACK
        await db.execute(TAILS, row["connection_id"], row["resources"], listed_to)
        await self._syncs.create(
            row["connection_id"], Kind.GAP_FILL, trigger="backfill finished", resources=[EVENT_FEED], db=db
        )
