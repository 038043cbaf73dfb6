"""Records that wait for a destination which can't take them: the newest of each object, in the state database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from services.destination_writer.records import Position, Record
from shared.catalogue import BY_NAME
from shared.db import Connection, Pool, Row, database_errors
from shared.messages import Origin
from shared.retries import pause_seconds

LONGEST_PAUSE = 60.0  # seconds between two tries of a parked record

PARK = """
INSERT INTO parked_records AS p
    (destination_id, connection_id, resource, object_id, stamp, body, origin, is_deleted, slice_id, topic, partition,
     record_offset, reason, next_try_at)
SELECT $1, u.*, $13, now() + $14::interval
FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bytea[], $7::text[], $8::boolean[], $9::bigint[],
            $10::text[], $11::int[], $12::bigint[])
     AS u (connection_id, resource, object_id, stamp, body, origin, is_deleted, slice_id, topic, partition,
           record_offset)
ORDER BY 2, 3, 4
ON CONFLICT (destination_id, connection_id, resource, object_id) DO UPDATE SET
    stamp = excluded.stamp, body = excluded.body, origin = excluded.origin, is_deleted = excluded.is_deleted,
    slice_id = coalesce(excluded.slice_id, p.slice_id), topic = excluded.topic, partition = excluded.partition,
    record_offset = excluded.record_offset, reason = excluded.reason
WHERE p.stamp <= excluded.stamp
"""
DUE = """
SELECT * FROM parked_records WHERE next_try_at <= now()
ORDER BY destination_id, connection_id, resource, object_id LIMIT $1 FOR UPDATE SKIP LOCKED
"""
DONE = """
DELETE FROM parked_records p USING unnest($3::text[], $4::text[]) AS u (resource, object_id)
WHERE p.destination_id = $1 AND p.connection_id = $2 AND p.resource = u.resource AND p.object_id = u.object_id
"""
LATER = """
UPDATE parked_records SET attempts = attempts + 1, next_try_at = now() + $3::interval, reason = $4
WHERE destination_id = $1 AND connection_id = $2
"""
Queue = tuple[str, str]  # destination and connection


class Parking:
    """Keeps and gives back parked records; every method raises `DatabaseUnavailableError`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def park(self, destination_id: str, records: Sequence[Record], *, reason: str) -> None:
        """Keep the newest record of each object."""
        if not records:
            return
        columns = map(list, zip(*map(_columns, records), strict=True))
        pause = timedelta(seconds=pause_seconds(0, base=1.0))
        with database_errors():
            await self._pool.execute(PARK, destination_id, *columns, reason, pause)

    async def count(self) -> int:
        """Return how many records wait."""
        with database_errors():
            return int(await self._pool.fetchval("SELECT count(*) FROM parked_records"))


async def lock_due(db: Connection, limit: int) -> dict[Queue, list[Row]]:
    """Return records whose time has come, by destination and connection, locked for this transaction."""
    queues: dict[Queue, list[Row]] = defaultdict(list)
    for row in await db.fetch(DUE, limit):
        queues[row["destination_id"], row["connection_id"]].append(row)
    return queues


async def remove(db: Connection, queue: Queue, rows: Sequence[Row]) -> None:
    """Forget records that were delivered."""
    await db.execute(DONE, *queue, [row["resource"] for row in rows], [row["object_id"] for row in rows])


async def postpone(db: Connection, queue: Queue, *, attempts: int, reason: str) -> None:
    """Let everything of a destination and connection wait longer."""
    pause = timedelta(seconds=pause_seconds(attempts, base=1.0, cap=LONGEST_PAUSE))
    await db.execute(LATER, *queue, pause, reason)


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
