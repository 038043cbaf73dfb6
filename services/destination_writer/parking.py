"""Records that wait for a destination which can't take them: the newest of each object, in the state database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from services.destination_writer.omission import Tree, strip
from services.destination_writer.records import Position, Record
from shared.catalogue import BY_NAME
from shared.connections import hold
from shared.db import Connection, Pool, Row, affected, database_errors, in_transaction
from shared.errors import MessageError
from shared.messages import Origin
from shared.metrics import LEFT_OUT
from shared.retries import pause_seconds

LONGEST_PAUSE = 30.0  # seconds between two tries of a parked record
OMIT_AT_ONCE = 1000  # bodies
CLAIMED_FOR = timedelta(seconds=30)  # longer than one try takes; then another writer may try

# What is tied (another body of the same second) can't be told apart here: Stripe is asked.
PARK = """
WITH input AS (
    SELECT * FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bytea[], $7::text[], $8::boolean[],
                         $9::bigint[], $10::text[], $11::int[], $12::bigint[])
             AS u (connection_id, resource, object_id, stamp, body, origin, is_deleted, slice_id, topic, partition,
                   record_offset)
), parked AS (
INSERT INTO parked_records AS p
    (destination_id, connection_id, resource, object_id, stamp, body, origin, is_deleted, slice_id, topic, partition,
     record_offset, reason, next_try_at)
SELECT $1, input.*, $13, CASE WHEN connection_id = ANY ($15::text[]) THEN 'infinity' ELSE now() + $14::interval END
FROM input WHERE EXISTS (SELECT FROM connections c WHERE c.id = input.connection_id AND c.state <> 'removing')
ORDER BY connection_id, resource, object_id
ON CONFLICT (destination_id, connection_id, resource, object_id) DO UPDATE SET
    stamp = excluded.stamp, body = excluded.body, origin = excluded.origin, is_deleted = excluded.is_deleted,
    slice_id = coalesce(excluded.slice_id, p.slice_id), topic = excluded.topic, partition = excluded.partition,
    record_offset = excluded.record_offset, reason = excluded.reason,
    next_try_at = CASE WHEN excluded.next_try_at = 'infinity' THEN excluded.next_try_at ELSE p.next_try_at END
WHERE p.stamp < excluded.stamp OR (p.stamp = excluded.stamp AND NOT p.is_deleted)
)
SELECT p.resource, p.object_id FROM parked_records p JOIN input i USING (connection_id, resource, object_id)
WHERE p.destination_id = $1 AND p.stamp = i.stamp AND p.body <> i.body AND NOT p.is_deleted AND NOT i.is_deleted
"""
# What is parked where delivery has stopped is held, until a person lets it go on: that deletes the stop, and waits for
# whoever holds it meanwhile.
STOPPED = """
SELECT connection_id FROM delivery_stops WHERE destination_id = $1 AND connection_id = ANY ($2::text[])
ORDER BY connection_id FOR SHARE
"""
# Who parks for a destination takes turns, so that together they keep within the cap.
TURN = "SELECT pg_advisory_xact_lock(hashtextextended('tillstream.parked:' || $1, 0))"
WAITING = "SELECT count(*) FROM (SELECT FROM parked_records WHERE destination_id = $1 LIMIT $2) AS p"
KNOWN = """
SELECT p.connection_id, p.resource, p.object_id FROM parked_records p
JOIN unnest($2::text[], $3::text[], $4::text[]) AS u (connection_id, resource, object_id)
  USING (connection_id, resource, object_id)
WHERE p.destination_id = $1
"""
# Of an event the gap has the moment; what Stripe was asked is asked again; a slice runs again.
LEAVE_OUT = """
INSERT INTO delivery_gaps AS g (destination_id, connection_id, resource, slice_id, since, until, records)
SELECT $1, u.connection_id, u.resource, u.slice_id, min(u.stamp) FILTER (WHERE u.is_live),
       max(u.stamp) FILTER (WHERE u.is_live), count(*)
FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::boolean[])
     AS u (connection_id, resource, slice_id, stamp, is_live)
WHERE EXISTS (SELECT FROM connections c WHERE c.id = u.connection_id AND c.state <> 'removing')
GROUP BY 2, 3, 4 ORDER BY 2, 3, 4
ON CONFLICT (destination_id, connection_id, resource, slice_id) DO UPDATE SET
    since = least(g.since, excluded.since), until = greatest(g.until, excluded.until),
    records = g.records + excluded.records, version = g.version + 1
"""
# Also what is held without a stop: nothing waits for a person who has nothing to let go.
_IS_STOPPED = """
EXISTS (SELECT FROM delivery_stops s
        WHERE s.destination_id = {row}.destination_id AND s.connection_id = {row}.connection_id)
"""
DUE = f"""
WITH RECURSIVE held AS (
    (SELECT destination_id, connection_id FROM parked_records WHERE next_try_at = 'infinity' ORDER BY 1, 2 LIMIT 1)
    UNION ALL
    SELECT n.* FROM held h CROSS JOIN LATERAL (
        SELECT p.destination_id, p.connection_id FROM parked_records p
        WHERE p.next_try_at = 'infinity' AND (p.destination_id, p.connection_id) > (h.destination_id, h.connection_id)
        ORDER BY 1, 2 LIMIT 1) n
)
SELECT destination_id, connection_id FROM parked_records WHERE next_try_at <= now()
UNION SELECT h.destination_id, h.connection_id FROM held h WHERE NOT {_IS_STOPPED.format(row="h")}
ORDER BY 1, 2
"""
# Rows are claimed, not locked: nobody who parks a record waits for a destination that does not answer.
CLAIM = f"""
UPDATE parked_records p SET next_try_at = now() + $4::interval
FROM (SELECT destination_id, connection_id, resource, object_id FROM parked_records q
      WHERE destination_id = $1 AND connection_id = $2
        AND (next_try_at <= now() OR next_try_at = 'infinity' AND NOT {_IS_STOPPED.format(row="q")})
      ORDER BY 1, 2, 3, 4 LIMIT $3 FOR UPDATE SKIP LOCKED) AS due
WHERE p.destination_id = due.destination_id AND p.connection_id = due.connection_id
  AND p.resource = due.resource AND p.object_id = due.object_id
RETURNING p.*
"""
# Rows of a queue are locked in the order of their keys, as by whoever parks: nobody waits in a circle.
LOCK = """
SELECT p.resource, p.object_id FROM parked_records p
JOIN unnest($3::text[], $4::text[]) AS u (resource, object_id) USING (resource, object_id)
WHERE p.destination_id = $1 AND p.connection_id = $2 ORDER BY p.resource, p.object_id FOR UPDATE OF p
"""
_OF_QUEUE = """
unnest($3::text[], $4::text[], $5::text[], $6::int[], $7::bigint[])
  AS u (resource, object_id, topic, partition, record_offset)
WHERE p.destination_id = $1 AND p.connection_id = $2 AND p.resource = u.resource AND p.object_id = u.object_id
"""
# An event whose line was written after the end of this record was noted needs one more end: the record stays for it.
DONE = f"""
DELETE FROM parked_records p USING {_OF_QUEUE}
  AND (p.topic, p.partition, p.record_offset) = (u.topic, u.partition, u.record_offset)
  AND (NOT EXISTS (SELECT FROM event_log e
                   WHERE e.connection_id = p.connection_id AND e.object_id = p.object_id AND e.resource = p.resource
                     AND e.created <= p.stamp AND e.deliveries -> p.destination_id ->> 'outcome' = 'parked')
       OR NOT EXISTS (SELECT FROM connections c WHERE c.id = p.connection_id AND c.state <> 'removing'))
"""
PARKED_MEANWHILE = f"UPDATE parked_records p SET next_try_at = now() FROM {_OF_QUEUE}"
LATER = """
UPDATE parked_records p SET attempts = p.attempts + 1, reason = $4,
    next_try_at = CASE WHEN $5 THEN 'infinity' ELSE now() + $3::interval END
FROM (SELECT resource, object_id FROM parked_records
      WHERE destination_id = $1 AND connection_id = $2 AND ($6::text[] IS NULL OR resource = ANY ($6))
      ORDER BY resource, object_id FOR UPDATE) held
WHERE p.destination_id = $1 AND p.connection_id = $2
  AND p.resource = held.resource AND p.object_id = held.object_id
"""
BODIES = """
SELECT object_id, body FROM parked_records
WHERE destination_id = $1 AND connection_id = $2 AND resource = $3 AND object_id > $4 ORDER BY object_id LIMIT $5
"""
# A body that was parked over the old one meanwhile lacks the fields already.
REPLACE = """
UPDATE parked_records p SET body = u.stripped
FROM unnest($4::text[], $5::bytea[], $6::bytea[]) AS u (id, body, stripped)
WHERE p.destination_id = $1 AND p.connection_id = $2 AND p.resource = $3 AND p.object_id = u.id AND p.body = u.body
"""
POSITION = ("topic", "partition", "record_offset")
Queue = tuple[str, str]  # destination and connection


@dataclass(frozen=True, slots=True)
class Parked:
    """What came of records that a destination could not take."""

    tied: Collection[tuple[str, str]] = ()  # resource and id of what Stripe has to be asked for
    left_out: Collection[Record] = ()  # for which there was no room


class Parking:
    """Keeps and gives back parked records; every method raises `DatabaseUnavailableError`."""

    def __init__(self, pool: Pool, *, cap: int) -> None:
        """`cap` is how many records may wait for a destination."""
        self._pool = pool
        self._cap = cap

    async def park(self, destination_id: str, records: Sequence[Record], *, reason: str) -> Parked:
        """Keep the newest record of each object, as far as the cap allows; the rest is noted as a gap.

        Where delivery has stopped, what is kept is held. Nothing is kept of a connection that is gone.
        """
        if not records:
            return Parked()
        pause = timedelta(seconds=pause_seconds(0, base=1.0))
        connection_ids = sorted({record.connection_id for record in records})

        async def work(db: Connection) -> Parked:
            await db.execute(TURN, destination_id)
            await hold(db, connection_ids)
            stopped = [row["connection_id"] for row in await db.fetch(STOPPED, destination_id, connection_ids)]
            kept, left_out = await self._divide(db, destination_id, records)
            if left_out:
                await db.execute(LEAVE_OUT, destination_id, *map(list, zip(*map(_gap, left_out), strict=True)))
            columns = list(map(list, zip(*map(_columns, kept), strict=True)))
            tied = await db.fetch(PARK, destination_id, *columns, reason, pause, stopped) if kept else ()
            return Parked(frozenset((row["resource"], row["object_id"]) for row in tied), tuple(left_out))

        parked = await in_transaction(self._pool, work)
        LEFT_OUT.inc(len(parked.left_out))
        return parked

    async def _divide(
        self, db: Connection, destination_id: str, records: Sequence[Record]
    ) -> tuple[Sequence[Record], Sequence[Record]]:
        """Return what may be kept and what not: an object that waits already takes no further room."""
        room = self._cap - await db.fetchval(WAITING, destination_id, self._cap)
        if room >= len(records):
            return records, ()
        known = {
            tuple(row)
            for row in await db.fetch(KNOWN, destination_id, *map(list, zip(*map(_key, records), strict=True)))
        }
        kept: list[Record] = []
        left_out: list[Record] = []
        for record in records:
            is_known = _key(record) in known
            room -= not is_known
            (kept if is_known or room >= 0 else left_out).append(record)
        return kept, left_out

    async def due(self) -> list[Queue]:
        """Return where there are records whose time has come."""
        with database_errors():
            return [(row["destination_id"], row["connection_id"]) for row in await self._pool.fetch(DUE)]

    async def claim(self, queue: Queue, limit: int) -> list[Row]:
        """Return records of a queue whose time has come; no other writer tries them meanwhile."""
        with database_errors():
            return list(await self._pool.fetch(CLAIM, *queue, limit, CLAIMED_FOR))

    async def remove(self, queue: Queue, rows: Sequence[Row]) -> int:
        """Forget records that were delivered; return how many.

        What was parked over one meanwhile is due at once, and one for whose end an event still waits as well.
        """
        keys = [[row[name] for row in rows] for name in ("resource", "object_id")]

        async def work(db: Connection) -> int:
            # One that came in the moment after the lock would be locked out of its order: it is left alone.
            held = {tuple(row) for row in await db.fetch(LOCK, *queue, *keys)}
            known = [row for row in rows if (row["resource"], row["object_id"]) in held]
            columns = [[row[name] for row in known] for name in ("resource", "object_id", *POSITION)]
            done = affected(await db.execute(DONE, *queue, *columns))
            await db.execute(PARKED_MEANWHILE, *queue, *columns)
            return done

        return await in_transaction(self._pool, work)

    async def postpone(
        self, queue: Queue, *, attempts: int, reason: str, resources: Sequence[str] | None = None
    ) -> None:
        """Let everything of a destination and connection wait longer, or only these resources.

        Where delivery has stopped, it is held.
        """
        pause = timedelta(seconds=pause_seconds(attempts, base=1.0, cap=LONGEST_PAUSE))

        async def work(db: Connection) -> None:
            is_stopped = bool(await db.fetch(STOPPED, queue[0], [queue[1]]))
            await db.execute(LATER, *queue, pause, reason, is_stopped, resources)

        await in_transaction(self._pool, work)

    async def omit(self, queue: Queue, resource: str, tree: Tree) -> None:
        """Take fields out of what is parked: that shall not hold them either until it is delivered."""
        last = ""
        while tree:
            with database_errors():
                rows = await self._pool.fetch(BODIES, *queue, resource, last, OMIT_AT_ONCE)
                changes = [(row["object_id"], row["body"], body) for row in rows if (body := _strip(row["body"], tree))]
            if changes:
                await self._replace(queue, resource, changes)
            if len(rows) < OMIT_AT_ONCE:
                return
            last = rows[-1]["object_id"]

    async def _replace(self, queue: Queue, resource: str, changes: Sequence[tuple[str, bytes, bytes]]) -> None:
        ids, old, new = map(list, zip(*changes, strict=True))

        async def work(db: Connection) -> None:
            await db.execute(LOCK, *queue, [resource] * len(ids), ids)
            await db.execute(REPLACE, *queue, resource, ids, old, new)

        await in_transaction(self._pool, work)

    async def count(self) -> int:
        """Return how many records wait."""
        with database_errors():
            return int(await self._pool.fetchval("SELECT count(*) FROM parked_records"))


def record_of(row: Row) -> Record:
    """Return the record as it was parked."""
    return Record(
        row["connection_id"],
        BY_NAME[row["resource"]],
        row["object_id"],
        row["stamp"],
        row["body"],
        Origin(row["origin"]),
        Position(row["topic"], row["partition"], row["record_offset"]),
        is_deleted=row["is_deleted"],
        slice_id=row["slice_id"],
    )


def _strip(body: bytes, tree: Tree) -> bytes | None:
    """Return the body without what is omitted; `None` when there is nothing to be left out, or no way to do it."""
    try:
        stripped = strip(body, tree)
    except MessageError:
        return None  # it ends as a dead letter once its destination is back
    return None if stripped is body else stripped


def _key(record: Record) -> tuple[str, str, str]:
    return record.connection_id, record.resource.name, record.object_id


def _gap(record: Record) -> tuple[object, ...]:
    is_live = record.origin is Origin.EVENT
    return record.connection_id, record.resource.name, record.slice_id or 0, record.stamp, is_live


def _columns(record: Record) -> tuple[object, ...]:
    position = record.position
    return (
        record.connection_id,
        record.resource.name,
        record.object_id,
        record.stamp,
        record.body,
        record.origin,
        record.is_deleted,
        record.slice_id,
        position.topic,
        position.partition,
        position.offset,
    )
