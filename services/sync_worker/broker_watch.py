"""Notices that the broker has lost records, and lets everything run again that lay there.

Lost is what the broker had acknowledged and no writer had written. Of it the state database knows the slices, the
answers to questions, and for each connection the second before which every event is written: from there on, Stripe's
event feed is read again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

from services.sync_worker.answers import LOSE as LOSE_ANSWERS
from services.sync_worker.answers import settle_answers
from services.sync_worker.broker import Partition, Seen
from services.sync_worker.gap_fill import OVERLAP
from shared.broker_log import CurrentLog, Log
from shared.connections import ConnectionStore
from shared.crypto import make_id
from shared.db import Connection as Database
from shared.db import Pool, Row, database_errors, transaction
from shared.dead_letters import take_turn
from shared.errors import KafkaUnavailableError
from shared.log import get_logger
from shared.metrics import BROKER_LOSSES
from shared.syncs import EVENT_FEED, NEWEST_WINDOW, Kind, SyncStore

STRANGE_AFTER = 10  # seconds: so long a broker is not replaced by another that somebody else still finds in its place
LOST = "broker lost records"  # what triggers the comparison with Stripe

TAKE_TURN = "SELECT pg_advisory_xact_lock(hashtext('tillstream.broker_watch'))"
CURRENT = """
SELECT cluster_id, life, mark, seen_at < now() - make_interval(secs => $1) AS is_unseen,
       marked_at < now() - interval '1 day' AS is_mark_old
FROM broker_logs WHERE is_current
"""
NOTE_SEEN = """
UPDATE broker_logs SET seen_at = now(), marked_at = CASE WHEN $2 THEN now() ELSE marked_at END
WHERE cluster_id = $1 AND ($2 OR seen_at < now() - interval '2 seconds')
"""
LEAVE = "UPDATE broker_logs SET is_current = false WHERE is_current"
# A cluster that is known and still has its mark has its log, too.
BEGIN_NEXT = """
INSERT INTO broker_logs AS b (cluster_id, mark, life) SELECT $1, $2, coalesce(max(life), 0) + 1 FROM broker_logs
ON CONFLICT (cluster_id) DO UPDATE SET life = excluded.life, mark = excluded.mark, is_current = true, seen_at = now(),
                                       marked_at = now()
"""
RETURN_TO = """
UPDATE broker_logs SET is_current = true, seen_at = now() WHERE cluster_id = $1 AND mark = $2 RETURNING life
"""
# How far each partition has come, as writers, slices and answers know.
NOTED = """
SELECT topic, partition, max(next_offset) AS next_offset FROM (
    SELECT topic, partition, next_offset FROM writer_progress WHERE cluster_id = $1
    UNION ALL
    SELECT o.topic, o.partition, o.last_offset + 1 FROM slice_offsets o JOIN slices s ON s.id = o.slice_id
    WHERE s.cluster_id = $1 AND s.status IN ('planned', 'published')
    UNION ALL
    SELECT topic, partition, last_offset + 1 FROM answers WHERE log_id = $1
) n GROUP BY 1, 2
"""
_OFFSETS = "unnest($2::text[], $3::int[], $4::bigint[]) AS u (topic, partition, number)"
# Where the broker begins behind what writers, slices or answers wait for.
PASSED = f"""
SELECT u.topic, u.partition, coalesce(w.next_offset, 0) AS from_offset FROM {_OFFSETS}
LEFT JOIN writer_progress w ON w.cluster_id = $1 AND w.topic = u.topic AND w.partition = u.partition
WHERE w.next_offset < u.number
   OR w.next_offset IS NULL AND EXISTS (
        SELECT FROM slice_offsets o JOIN slices s ON s.id = o.slice_id
        WHERE s.cluster_id = $1 AND s.status IN ('planned', 'published')
          AND o.topic = u.topic AND o.partition = u.partition AND o.last_offset < u.number)
"""
GAPS = "SELECT topic, partition, from_offset FROM broker_gaps WHERE log_id = $1"
CLOSE_GAPS = f"""
DELETE FROM broker_gaps g USING {_OFFSETS}
WHERE g.log_id = $1 AND g.topic = u.topic AND g.partition = u.partition AND g.from_offset = u.number
"""
# No log has an empty name: a slice that lies on it runs again.
LOSE_SLICES = f"""
UPDATE slices SET cluster_id = '' WHERE id IN (
    SELECT s.id FROM slices s WHERE s.cluster_id = $1 AND s.status <> 'confirmed' AND EXISTS (
        SELECT FROM slice_offsets o JOIN {_OFFSETS} ON u.topic = o.topic AND u.partition = o.partition
        WHERE o.slice_id = s.id AND o.last_offset >= u.number)
    ORDER BY s.id FOR NO KEY UPDATE OF s)
"""
SKIP = f"""
INSERT INTO writer_progress AS w (cluster_id, topic, partition, next_offset) SELECT $1, u.* FROM {_OFFSETS}
ON CONFLICT (cluster_id, topic, partition) DO UPDATE SET next_offset = greatest(w.next_offset, excluded.next_offset)
"""
# First of all that a loss locks, as a ledger holds its connections before its progress.
HOLD_ALL = "SELECT FROM connections ORDER BY id FOR KEY SHARE"
LOCK_ALL = "SELECT FROM connections ORDER BY id FOR NO KEY UPDATE"
# Only what was written is sure.
GO_BACK = """
UPDATE connections SET events_complete_to =
    least(events_complete_to, coalesce(events_written_to, extract(epoch FROM created_at)::bigint))
WHERE events_complete_to IS NOT NULL
RETURNING id, state, events_complete_to
"""
# One that waits reads from there on, whenever it begins.
IS_QUEUED = "SELECT EXISTS (SELECT FROM syncs WHERE connection_id = $1 AND status = 'queued' AND trigger = $2)"
KEEP_LETTERS = "UPDATE dead_letters SET log_id = $1 WHERE log_id = ''"


class Cause(StrEnum):
    """How a loss was noticed."""

    OTHER_CLUSTER = "other_cluster"
    MARK_GONE = "mark_gone"
    SHORTER = "shorter"
    PASSED = "passed"


class Watched(Protocol):
    """A broker that can be looked at."""

    async def look(self) -> Seen: ...

    async def leave_mark(self, mark: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _Noted:
    """What the state database knew before the broker was looked at."""

    row: Row | None
    ends: Mapping[Partition, int]
    gaps: Mapping[Partition, int]  # from where on writers were not given what they expected


class BrokerWatch:
    """Looks at the broker. `log` tells the other parts of the worker which log they publish to."""

    def __init__(
        self,
        pool: Pool,
        connections: ConnectionStore,
        syncs: SyncStore,
        broker: Watched,
        log: CurrentLog,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._connections = connections
        self._syncs = syncs
        self._now = now
        self._broker = broker
        self._log = log

    async def look(self) -> None:
        """Compare the broker with what is known of it; when records are lost, let what lay there run again.

        Raises `KafkaUnavailableError` or `DatabaseUnavailableError`.
        """
        noted = await self._noted()  # first: what is noted later may lie beyond what the look shows
        seen = await self._broker.look()
        row = noted.row
        mark = row and row["mark"]
        if row is None:
            row = await self._begin_first(seen)
        elif cause := _find_loss(row, seen, noted.ends):
            row = await self._begin_next(row, seen, cause)
        elif row["is_mark_old"]:  # Kafka forgets offsets that are not committed again for a week
            await self._broker.leave_mark(row["mark"])
        log = Log(row["cluster_id"], row["life"])
        self._log.id = log.id
        async with transaction(self._pool) as db:
            await db.execute(TAKE_TURN)
            await db.execute(NOTE_SEEN, log.cluster_id, bool(row["is_mark_old"]))
            has_passed = False
            if row["mark"] == mark:
                has_passed = await self._find_passed(db, log, seen, noted.gaps)
            else:  # the writers begin where the log begins
                await db.execute(SKIP, log.id, *_columns(seen.starts))
            await settle_answers(db, log.id)
            if has_passed:
                await self._heal(db, Cause.PASSED)

    async def _noted(self) -> _Noted:
        with database_errors():
            row = await self._pool.fetchrow(CURRENT, STRANGE_AFTER)
            if row is None:
                return _Noted(None, {}, {})
            log = Log(row["cluster_id"], row["life"])
            ends, gaps = await self._pool.fetch(NOTED, log.id), await self._pool.fetch(GAPS, log.id)
        return _Noted(
            row,
            {(one["topic"], one["partition"]): one["next_offset"] for one in ends},
            {(one["topic"], one["partition"]): one["from_offset"] for one in gaps},
        )

    async def _begin_first(self, seen: Seen) -> Row:
        async with transaction(self._pool) as db:
            await db.execute(TAKE_TURN)
            if not await db.fetchrow(CURRENT, STRANGE_AFTER):
                await db.execute(BEGIN_NEXT, seen.cluster_id, await self._leave_mark())
            return await db.fetchrow(CURRENT, STRANGE_AFTER)

    async def _leave_mark(self) -> str:
        mark = make_id("mrk")
        await self._broker.leave_mark(mark)
        return mark

    async def _begin_next(self, row: Row, seen: Seen, cause: Cause) -> Row:
        """Begin the next log, unless another worker has done so meanwhile; return the one that is current then."""
        if cause is Cause.OTHER_CLUSTER and not row["is_unseen"]:
            raise KafkaUnavailableError("This is another broker than others still find in its place.")
        async with transaction(self._pool) as db:
            await db.execute(TAKE_TURN)
            now = await db.fetchrow(CURRENT, STRANGE_AFTER)
            if now["mark"] == row["mark"]:
                await db.execute(HOLD_ALL)
                await db.execute(LEAVE)
                has_its_mark = cause is Cause.OTHER_CLUSTER and await db.fetchval(RETURN_TO, seen.cluster_id, seen.mark)
                if not has_its_mark:
                    await db.execute(BEGIN_NEXT, seen.cluster_id, await self._leave_mark())
                await take_turn(db)
                await db.execute(KEEP_LETTERS, Log(row["cluster_id"], row["life"]).id)
                await self._heal(db, cause)
                now = await db.fetchrow(CURRENT, STRANGE_AFTER)
            return now

    async def _find_passed(self, db: Database, log: Log, seen: Seen, gaps: Mapping[Partition, int]) -> bool:
        """Find what the broker has let go before it was written, and tell whether there is any.

        Its retention was shorter than an outage.

        `gaps` are what writers had noted before the look. A record that became a dead letter leaves one, too.
        """
        lost = {place: offset for place, offset in gaps.items() if seen.starts.get(place, 0) > offset}
        passed = await db.fetch(PASSED, log.id, *_columns(seen.starts))
        lost |= {(row["topic"], row["partition"]): row["from_offset"] for row in passed}
        if lost:
            await db.execute(HOLD_ALL)
            await db.execute(SKIP, log.id, *_columns({place: seen.starts[place] for place in lost}))
            await db.execute(LOSE_SLICES, log.id, *_columns(lost))
            await db.execute(LOSE_ANSWERS, log.id, *_columns(lost))
        if gaps:
            await db.execute(CLOSE_GAPS, log.id, *_columns(gaps))
        return bool(lost)

    async def _heal(self, db: Database, cause: Cause) -> None:
        """Let all connections ask again for what was lost."""
        BROKER_LOSSES.labels(cause).inc()
        get_logger().error("broker_lost_records", cause=cause)
        await db.execute(LOCK_ALL)
        for row in await db.fetch(GO_BACK):
            if row["state"] == "active" and not await db.fetchval(IS_QUEUED, row["id"], LOST):
                await self._queue(db, row["id"], row["events_complete_to"] - OVERLAP)

    async def _queue(self, db: Database, connection_id: str, since: int) -> None:
        """Queue the gap fill, and a reading of the lists that the feed leaves out."""
        start, now = datetime.fromtimestamp(since, UTC), self._now()
        await self._syncs.create(
            connection_id, Kind.GAP_FILL, trigger=LOST, resources=[EVENT_FEED], range_start=start, db=db
        )
        for connection in await self._connections.list_by_id([connection_id], db=db):
            window = timedelta(seconds=now - since) + NEWEST_WINDOW
            await self._syncs.reconcile(connection, trigger=LOST, now=now, window=window, db=db)


def _find_loss(row: Row, seen: Seen, noted: Mapping[Partition, int]) -> Cause | None:
    if seen.cluster_id != row["cluster_id"]:
        return Cause.OTHER_CLUSTER
    if seen.mark != row["mark"]:
        return Cause.MARK_GONE
    if any(seen.ends[place] < next_offset for place, next_offset in noted.items() if place in seen.ends):
        return Cause.SHORTER
    return None


def _columns(offsets: Mapping[Partition, int]) -> tuple[list[str], list[int], list[int]]:
    places = sorted(offsets)
    return [topic for topic, _ in places], [number for _, number in places], [offsets[place] for place in places]
