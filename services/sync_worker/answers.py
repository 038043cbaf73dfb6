"""Answers of Stripe that are on their way: the question is asked again when the broker loses them."""

from __future__ import annotations

from collections.abc import Mapping

from shared.db import Connection as Database
from shared.db import Pool, database_errors

WHY = "answer lost"  # the reason of a question that is asked again

NOTE = """
INSERT INTO answers AS a (connection_id, resource, object_id, topic, partition, log_id, last_offset, listed_from)
SELECT c.id, $2, $3, u.topic, u.partition, $4, u.last_offset, $5::bigint
FROM unnest($6::text[], $7::int[], $8::bigint[]) AS u (topic, partition, last_offset), connections c
WHERE c.id = $1 AND c.state <> 'removing' ORDER BY 4, 5
ON CONFLICT (connection_id, resource, object_id, topic, partition) DO UPDATE
SET log_id = excluded.log_id, last_offset = excluded.last_offset,
    listed_from = least(a.listed_from, excluded.listed_from)
"""
# Answers are locked in the order of their keys, in which they are noted.
_ORDER = "ORDER BY a.connection_id, a.resource, a.object_id, a.topic, a.partition"
_IS_SAME = """
(a.connection_id, a.resource, a.object_id, a.topic, a.partition)
    = (l.connection_id, l.resource, l.object_id, l.topic, l.partition)
"""
FORGET_WRITTEN = f"""
DELETE FROM answers a USING (
    SELECT a.* FROM answers a JOIN writer_progress w
      ON w.cluster_id = a.log_id AND w.topic = a.topic AND w.partition = a.partition AND w.next_offset > a.last_offset
    WHERE NOT EXISTS (SELECT FROM broker_gaps g WHERE g.log_id = a.log_id AND g.topic = a.topic
                      AND g.partition = a.partition AND g.from_offset <= a.last_offset)
    {_ORDER} FOR UPDATE OF a) l
WHERE {_IS_SAME}
"""
# The newest part of a list begins where the lost answer had begun.
ASK_LOST = f"""
WITH lost AS (
    DELETE FROM answers a USING (SELECT a.* FROM answers a WHERE a.log_id <> $1 {_ORDER} FOR UPDATE) l
    WHERE {_IS_SAME} RETURNING a.connection_id, a.resource, a.object_id, a.listed_from
), tails AS (
    UPDATE list_tails t SET listed_to = least(t.listed_to, l.since)
    FROM (SELECT connection_id, resource, min(listed_from) AS since FROM lost GROUP BY 1, 2) l
    WHERE t.connection_id = l.connection_id AND t.resource = l.resource AND l.since IS NOT NULL
)
INSERT INTO refetches AS r (connection_id, resource, object_id, reason, due_at)
SELECT DISTINCT l.connection_id, l.resource, l.object_id, $2, now()
FROM lost l JOIN connections c ON c.id = l.connection_id AND l.resource = ANY (c.resources) ORDER BY 1, 2, 3
ON CONFLICT (connection_id, resource, object_id) DO UPDATE SET generation = r.generation + 1, told_by = NULL
"""
# Their offsets stay as they are, but what they stand for is gone.
LOSE = f"""
UPDATE answers a SET log_id = '' FROM (
    SELECT a.* FROM answers a JOIN unnest($2::text[], $3::int[], $4::bigint[]) AS u (topic, partition, from_offset)
      ON a.topic = u.topic AND a.partition = u.partition AND a.last_offset >= u.from_offset
    WHERE a.log_id = $1 {_ORDER} FOR UPDATE OF a) l
WHERE {_IS_SAME}
"""

Offsets = Mapping[tuple[str, int], int]  # topic and partition → last offset


class Answers:
    """Keeps which answers are on their way; raises `DatabaseUnavailableError`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def note(
        self,
        question: tuple[str, str, str],
        offsets: Offsets,
        *,
        log_id: str,
        listed_from: int | None = None,
    ) -> None:
        """Note where the answer to `question` (connection, resource, object) lies on the log."""
        if not offsets:
            return
        columns = [topic for topic, _ in offsets], [partition for _, partition in offsets], list(offsets.values())
        with database_errors():
            await self._pool.execute(NOTE, *question, log_id, listed_from, *columns)


async def settle_answers(db: Database, log_id: str) -> None:
    """Forget the answers that were written, and ask again what lies on another log than `log_id`."""
    await db.execute(FORGET_WRITTEN)
    await db.execute(ASK_LOST, log_id, WHY)
