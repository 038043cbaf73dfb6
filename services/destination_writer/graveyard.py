"""Dead letters in the state database, where people see them and replay them, and how long they stay there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from shared.bounds import LONGEST_ID, LONGEST_TYPE
from shared.db import Connection, Pool, affected, database_errors, in_transaction
from shared.dead_letters import MAX_REASON, REPLAY_HEADER, DeadLetter, find_replay, subject_of, take_turn
from shared.errors import TransientError
from shared.log import get_logger
from shared.retention import LETTERS_LIFE

KEPT_DAYS = LETTERS_LIFE.days
MOST_KEPT = 100_000  # letters of one connection; beyond them the oldest go
SWEEP_INTERVAL = 300.0  # seconds
SWEEP_BATCH = 5_000  # letters
LONGEST_KEY = 64 + 1 + LONGEST_ID  # characters: of a key, and of a header; what is longer was refused for that
MOST_HEADERS = 30

# A replay that failed again is its letter once more, at the place where it was published last.
INSERT = """
WITH again AS (
    UPDATE dead_letters d SET attempts = d.attempts + 1, stage = $1, code = $2, reason = $3, topic = $6, partition = $7,
        record_offset = $8, last_seen_at = now(), replay_id = NULL, is_published = false, is_parked = false
    FROM (SELECT id, replay_id FROM dead_letters
          WHERE id = $14::bigint AND ($5 = '' OR destination_id = $5) FOR UPDATE) o
    WHERE d.id = o.id RETURNING o.replay_id
), counted AS (
    UPDATE dead_letter_replays r SET failed = failed + 1 FROM again WHERE r.id = again.replay_id
)
INSERT INTO dead_letters AS d
    (stage, code, reason, connection_id, destination_id, topic, partition, record_offset, key, headers, body, resource,
     object_id)
SELECT $1::text, $2::text, $3::text, nullif($4::text, ''), $5::text, $6::text, $7::int, $8::bigint, $9::text,
       $10::jsonb, $11::bytea, $12::text, $13::text
WHERE ($4 = '' OR EXISTS (SELECT FROM connections c WHERE c.id = $4 AND c.state <> 'removing'))
  AND NOT EXISTS (SELECT FROM again)
ON CONFLICT (topic, partition, record_offset, destination_id, log_id) DO UPDATE
SET attempts = d.attempts + 1, code = excluded.code, reason = excluded.reason, last_seen_at = now(), replay_id = NULL,
    is_published = false, is_parked = false
"""
OLD = f"""
DELETE FROM dead_letters WHERE id IN (
    SELECT id FROM dead_letters WHERE first_seen_at < now() - interval '{KEPT_DAYS} days'
    ORDER BY first_seen_at LIMIT {SWEEP_BATCH})
"""
CROWDED = """
SELECT connection_id, sum(letters)::bigint AS letters FROM dead_letter_groups GROUP BY 1 HAVING sum(letters) > $1
"""
OLD_REPLAYS = f"""
DELETE FROM dead_letter_replays WHERE status = 'done' AND finished_at < now() - interval '{KEPT_DAYS} days'
"""
# Something newer of the object was parked over what a replay had published: the letter says nothing that counts.
OVERTAKEN = """
DELETE FROM dead_letters d WHERE replay_id IS NOT NULL AND is_parked AND last_seen_at < now() - interval '1 minute'
  AND NOT EXISTS (SELECT FROM parked_records p WHERE p.destination_id = d.destination_id
                  AND p.connection_id = d.connection_id AND p.resource = d.resource AND p.object_id = d.object_id
                  AND (p.topic, p.partition, p.record_offset) = (d.topic, d.partition, d.record_offset))
"""
OLDEST = """
DELETE FROM dead_letters WHERE id IN (
    SELECT id FROM dead_letters WHERE connection_id IS NOT DISTINCT FROM $1 ORDER BY id LIMIT $2)
"""


class Graveyard:
    """Keeps dead letters, each once; those of a connection that is gone are dropped."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def keep(self, letters: Sequence[DeadLetter]) -> None:
        """Write the dead letters; raise `DatabaseUnavailableError`."""
        rows = [_row(letter) for letter in letters]

        async def work(db: Connection) -> None:
            await take_turn(db)
            await db.executemany(INSERT, rows)

        await in_transaction(self._pool, work)

    async def run(self) -> None:
        """Let go what is too old and too much, for ever."""
        while True:
            try:
                await self.sweep()
            except TransientError as error:
                get_logger().warning("dead_letter_sweep_delayed", reason=error.message)
            await asyncio.sleep(SWEEP_INTERVAL)

    async def sweep(self, *, most: int = MOST_KEPT) -> None:
        """Delete letters of more than 35 days, and the oldest beyond `most` of a connection."""
        await self._delete(OVERTAKEN)
        await self._delete(OLD_REPLAYS)
        while await self._delete(OLD):
            pass
        with database_errors():
            crowded = await self._pool.fetch(CROWDED, most)
        for row in crowded:
            excess = row["letters"] - most
            get_logger().warning("dead_letters_dropped", connection_id=row["connection_id"], letters=excess)
            for begin in range(0, excess, SWEEP_BATCH):
                await self._delete(OLDEST, row["connection_id"], min(SWEEP_BATCH, excess - begin))

    async def _delete(self, sql: str, *values: object) -> int:
        async def work(db: Connection) -> int:
            await take_turn(db)
            return affected(await db.execute(sql, *values))

        return await in_transaction(self._pool, work)


def _row(letter: DeadLetter) -> tuple[object, ...]:
    subject, replay = subject_of(letter), find_replay(letter.headers)
    headers = [(name, value) for name, value in letter.headers if name != REPLAY_HEADER][:MOST_HEADERS]
    return (
        _clean(letter.stage),
        _clean(letter.code),
        _clean(letter.reason, MAX_REASON),
        _clean(letter.connection_id),
        _clean(letter.destination_id),
        _clean(letter.source_topic),
        letter.source_partition,
        letter.source_offset,
        _clean(letter.key.decode("utf-8", "replace"), LONGEST_KEY),
        {_clean(name): _clean(value.decode("utf-8", "replace"), LONGEST_KEY) for name, value in headers},
        letter.body,
        _clean(subject.resource, LONGEST_TYPE) if subject.resource else None,
        _clean(subject.object_id, LONGEST_ID) if subject.object_id else None,
        replay.letter_id if replay else None,
    )


def _clean(text: str, longest: int = LONGEST_ID) -> str:
    """Return the text as Postgres can keep and index it: a letter that can't be kept would come again for ever."""
    return text.replace("\x00", "")[:longest]
