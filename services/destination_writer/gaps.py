"""Offsets that a writer was not given: the broker may have let them go, and the sync worker finds out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.destination_writer.records import Parsed
from shared.db import Connection

NOTE = """
INSERT INTO broker_gaps AS g (log_id, topic, partition, from_offset)
SELECT $1, u.* FROM unnest($2::text[], $3::int[], $4::bigint[]) AS u (topic, partition, from_offset)
ORDER BY 2, 3
ON CONFLICT (log_id, topic, partition) DO UPDATE SET from_offset = least(g.from_offset, excluded.from_offset)
"""


async def note_gaps(db: Connection, log_id: str, known: Mapping[tuple[str, int], int], batch: Sequence[Parsed]) -> None:
    """Note, within the caller's transaction, where the batch begins behind what follows the last one."""
    first: dict[tuple[str, int], int] = {}
    for item in batch:
        where = (item.position.topic, item.position.partition)
        first[where] = min(first.get(where, item.position.offset), item.position.offset)
    gaps = [where for where, offset in first.items() if offset > known.get(where, offset)]
    if gaps:
        columns = [topic for topic, _ in gaps], [partition for _, partition in gaps], [known[where] for where in gaps]
        await db.execute(NOTE, log_id, *columns)
