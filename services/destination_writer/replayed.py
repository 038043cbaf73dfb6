"""What becomes of dead letters whose record was published again: one whose record is written goes, in the transaction
that counts the record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from services.destination_writer.delivery import Outcome, Report
from services.destination_writer.records import Parsed, Position
from shared.db import Connection
from shared.dead_letters import Replay, take_turn

_COUNTED = """
UPDATE dead_letter_replays r SET {field} = {field} + c.number
FROM (SELECT replay_id, count(*) AS number FROM {source} WHERE replay_id IS NOT NULL GROUP BY 1 ORDER BY 1) c
WHERE r.id = c.replay_id
"""
DONE = f"""
WITH settled AS (DELETE FROM dead_letters WHERE id = ANY ($1::bigint[]) RETURNING replay_id)
{_COUNTED.format(field="written", source="settled")}
"""
# It is a dead letter of its destinations now, no longer one of its own.
SPLIT = f"""
WITH settled AS (DELETE FROM dead_letters WHERE id = ANY ($1::bigint[]) RETURNING replay_id)
{_COUNTED.format(field="failed", source="settled")}
"""
# From now on the letter is known by the place of the record that waits.
WAITS = """
UPDATE dead_letters d SET topic = u.topic, partition = u.partition, record_offset = u.record_offset, is_parked = true,
    last_seen_at = now()
FROM unnest($1::bigint[], $2::text[], $3::int[], $4::bigint[]) AS u (id, topic, partition, record_offset)
WHERE d.id = u.id
"""
ARE_PARKED = """
SELECT EXISTS (
    SELECT FROM dead_letters d
    JOIN unnest($1::text[], $2::int[], $3::bigint[], $4::text[]) AS u (topic, partition, record_offset, destination_id)
      USING (topic, partition, record_offset, destination_id)
    WHERE d.is_parked)
"""
NOTHING = ""  # its new dead letter says it
LATE = f"""
WITH settled AS (
    DELETE FROM dead_letters d
    USING unnest($1::text[], $2::int[], $3::bigint[], $4::text[]) AS u (topic, partition, record_offset, destination_id)
    WHERE d.is_parked AND (d.topic, d.partition, d.record_offset, d.destination_id)
        = (u.topic, u.partition, u.record_offset, u.destination_id)
    RETURNING d.replay_id
)
{_COUNTED.format(field="written", source="settled")}
"""


async def settle(db: Connection, batch: Sequence[Parsed], reports: Sequence[Report]) -> None:
    """Let go the letters whose record is written, or not wanted any more; one that failed again comes by itself."""
    replays = [(item.replay, item.position) for item in batch if item.replay]
    if not replays:
        return
    outcomes: dict[Position, set[Outcome]] = defaultdict(set)
    for report in reports:
        outcomes[report.position].add(report.outcome)
    await take_turn(db)
    by_statement: dict[str, list[tuple[Replay, Position]]] = defaultdict(list)
    for replay, position in sorted(replays, key=lambda one: one[0].letter_id):
        by_statement[_statement(replay, outcomes[position])].append((replay, position))
    for sql in (DONE, SPLIT):
        if by_statement[sql]:
            await db.execute(sql, [replay.letter_id for replay, _ in by_statement[sql]])
    if waiting := [(r.letter_id, p.topic, p.partition, p.offset) for r, p in by_statement[WAITS]]:
        await db.execute(WAITS, *map(list, zip(*waiting, strict=True)))


def _statement(replay: Replay, outcomes: set[Outcome]) -> str:
    if Outcome.FAILED in outcomes:
        return NOTHING if replay.destination_id else SPLIT
    return WAITS if Outcome.PARKED in outcomes and replay.destination_id else DONE


async def settle_late(db: Connection, reports: Sequence[Report]) -> None:
    """Let go the letters whose record had waited for its destination and is written now."""
    written = [report for report in reports if report.outcome is not Outcome.FAILED]
    if written:
        places = [report.position for report in written]
        columns = (
            [place.topic for place in places],
            [place.partition for place in places],
            [place.offset for place in places],
            [report.destination_id for report in written],
        )
        if await db.fetchval(ARE_PARKED, *columns):
            await take_turn(db)
            await db.execute(LATE, *columns)
