"""The event log: what became of each event at each destination, and of Stripe's answer where Stripe was asked.

What was parked has its end noted when it is written, by the object: of several events that waited, the newest is
written, and with it the others are over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from services.destination_writer.delivery import Outcome, Reason, Report
from services.destination_writer.records import EventEntry, Parsed, Position
from shared.db import Connection, Pool, affected, database_errors
from shared.errors import TransientError
from shared.messages import Origin

# An event comes twice where Stripe sends it twice, and the first is what is told. One that was left out at a
# destination comes again on purpose, and has its end then.
LOG = """
INSERT INTO event_log AS l
    (connection_id, event_id, type, resource, object_id, created, outcome, partition, record_offset, received_at,
     deliveries, changes)
SELECT u.connection_id, event_id, type, resource, object_id, created, outcome, partition, record_offset, received_at,
       deliveries::jsonb, changes
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::int[],
            $9::bigint[], $10::timestamptz[], $11::text[], $12::bytea[])
     AS u (connection_id, event_id, type, resource, object_id, created, outcome, partition, record_offset, received_at,
           deliveries, changes)
WHERE EXISTS (SELECT FROM connections c WHERE c.id = u.connection_id)
ORDER BY 1, 2
ON CONFLICT (connection_id, event_id) DO UPDATE SET
    deliveries = l.deliveries || (
        SELECT coalesce(jsonb_object_agg(n.key, n.value), '{}') FROM jsonb_each(excluded.deliveries) n
        WHERE l.deliveries -> n.key ->> 'outcome' = 'left_out'),
    outcome = CASE WHEN l.outcome = 'left_out' THEN excluded.outcome ELSE l.outcome END
WHERE l.deliveries @? '$.* ? (@.outcome == "left_out")'
"""
# The rows that END and ANSWER may change, in one order. They change no others: one that is logged only now would be
# locked out of its order.
LOCK = """
SELECT l.connection_id, l.event_id FROM event_log l
WHERE (l.connection_id, l.object_id, l.resource) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))
ORDER BY l.connection_id, l.event_id FOR NO KEY UPDATE
"""
_HELD = """
unnest($1::text[], $2::text[]) AS h (connection_id, event_id) JOIN event_log l USING (connection_id, event_id)
"""
# Of events that a newer version overtook while they waited, the log says so with the moment at which it was written.
END = f"""
UPDATE event_log e SET
    deliveries = jsonb_set(e.deliveries, ARRAY[s.destination_id], s.entry || jsonb_build_object(
        'parked_at', e.deliveries -> s.destination_id -> 'at')),
    outcome = CASE
        WHEN e.outcome = 'parked' AND NOT (e.deliveries - s.destination_id) @? '$.* ? (@.outcome == "parked")'
        THEN s.entry ->> 'outcome' ELSE e.outcome END
FROM (
    SELECT l.connection_id, l.event_id, u.destination_id,
           (CASE WHEN l.partition = u.partition AND l.record_offset = u.record_offset
                 THEN u.entry ELSE u.overtaken END)::jsonb AS entry
    FROM {_HELD}
    JOIN unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::int[], $9::bigint[], $10::text[],
                $11::text[])
         AS u (connection_id, destination_id, resource, object_id, stamp, partition, record_offset, entry, overtaken)
         USING (connection_id, object_id, resource)
    WHERE l.created <= u.stamp
) s
WHERE e.connection_id = s.connection_id AND e.event_id = s.event_id
  AND e.deliveries -> s.destination_id ->> 'outcome' = 'parked'
"""
_WAITING = """
unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
  AS u (destination_id, connection_id, resource, object_id, stamp)
"""
# An answer is of no event: it ends the question of each event that asked, unless an earlier answer has.
ANSWER = f"""
UPDATE event_log e SET answers = u.entries::jsonb || (
    SELECT coalesce(jsonb_object_agg(a.key, a.value), '{{}}') FROM jsonb_each(e.answers) a
    WHERE a.value ->> 'outcome' <> 'parked')
FROM {_HELD}
JOIN unnest($3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[])
     AS u (connection_id, resource, object_id, stamp, entries) USING (connection_id, object_id, resource)
WHERE e.connection_id = l.connection_id AND e.event_id = l.event_id
  AND e.created <= u.stamp
  AND (e.outcome = 'asked_stripe' OR e.deliveries @? '$.* ? (@.reason == "tie" || @.outcome == "left_out")')
  AND (e.answers = '{{}}' OR e.answers @? '$.* ? (@.outcome == "parked")')
"""
# What waits is held, so that nobody ends it before this transaction has ended.
HOLD_WAITING = f"""
SELECT FROM parked_records p JOIN {_WAITING} USING (destination_id, connection_id, resource, object_id)
WHERE p.stamp >= u.stamp ORDER BY p.destination_id, p.connection_id, p.resource, p.object_id FOR KEY SHARE OF p
"""
HAS_ENDED = f"""
SELECT EXISTS (
    SELECT FROM {_WAITING} JOIN connections c ON c.id = u.connection_id AND c.state <> 'removing'
    WHERE NOT EXISTS (
        SELECT FROM parked_records p
        WHERE (p.destination_id, p.connection_id, p.resource, p.object_id)
            = (u.destination_id, u.connection_id, u.resource, u.object_id) AND p.stamp >= u.stamp))
"""
FORGET_CHANGES = """
UPDATE event_log e SET changes = NULL FROM (
    SELECT connection_id, event_id FROM event_log
    WHERE connection_id = $1 AND resource = $2 AND changes IS NOT NULL
    ORDER BY connection_id, event_id LIMIT $3 FOR NO KEY UPDATE
) f
WHERE (e.connection_id, e.event_id) = (f.connection_id, f.event_id)
"""
FORGET_AT_ONCE = 1_000  # events
ASKED = "asked_stripe"


class EndedMeanwhileError(TransientError):
    """A record of this batch waited for its destination and was written before that could be noted."""

    code = "ended_meanwhile"


async def log_events(
    db: Connection, batch: Sequence[Parsed], reports: Iterable[Report], changes: Mapping[Position, bytes]
) -> None:
    """Log the events of a batch, each once, with what became of it at each destination, and what it changed."""
    found: dict[Position, list[Report]] = defaultdict(list)
    for report in reports:
        found[report.position].append(report)
    first: dict[tuple[str, str], tuple[object, ...]] = {}
    for item in batch:
        if item.event and (item.event.connection_id, item.event.event_id) not in first:
            row = _row(item, item.event, found.get(item.position, ()))
            first[item.event.connection_id, item.event.event_id] = (*row, changes.get(item.position))
    if rows := list(first.values()):
        await db.execute(LOG, *_columns(rows))


async def forget_changes(pool: Pool, connection_id: str, resource: str) -> None:
    """Forget what events have changed in objects of a resource: it may hold what is left out from now on.

    Rows are changed in one order, as everybody does. Raises `DatabaseUnavailableError`.
    """
    with database_errors():
        while affected(await pool.execute(FORGET_CHANGES, connection_id, resource, FORGET_AT_ONCE)) == FORGET_AT_ONCE:
            pass


async def require_waiting(db: Connection, reports: Iterable[Report]) -> None:
    """Hold what the log says of events to be parked; raise `EndedMeanwhileError` if some of it has ended.

    Its end is noted once, and found no line then. So the batch has to come again, for what became of it by now.
    """
    keys = [
        (r.destination_id, r.connection_id, r.resource, r.object_id, r.stamp)
        for r in reports
        if r.is_live and r.outcome is Outcome.PARKED
    ]
    if keys:
        columns = list(_columns(keys))
        await db.execute(HOLD_WAITING, *columns)
        if await db.fetchval(HAS_ENDED, *columns):
            raise EndedMeanwhileError


async def log_late(db: Connection, reports: Sequence[Report]) -> None:
    """Note the end of what was parked, and what became of those of them that were Stripe's answers."""
    rows = [
        (
            r.connection_id,
            r.destination_id,
            r.resource,
            r.object_id,
            r.stamp,
            *((r.position.partition, r.position.offset) if r.is_live else (None, None)),
            _text(_entry(r)),
            _text({"outcome": Outcome.IGNORED, "reason": Reason.OLDER, "at": r.at}),
        )
        for r in reports
    ]
    if rows and (held := await _lock(db, reports)):
        await db.execute(END, *_columns(held), *_columns(rows))
        await _note_answers(db, held, reports)


async def log_answers(db: Connection, reports: Sequence[Report]) -> None:
    """Note what became of Stripe's answers, at the events that made us ask."""
    answers = [report for report in reports if report.origin is Origin.REFETCHED]
    if answers and (held := await _lock(db, answers)):
        await _note_answers(db, held, answers)


async def _lock(db: Connection, reports: Iterable[Report]) -> Sequence[tuple[str, str]]:
    """Hold the events of the objects of `reports`, and return their keys: connection and id."""
    keys = {(report.connection_id, report.object_id, report.resource) for report in reports}
    return [tuple(row) for row in await db.fetch(LOCK, *_columns(sorted(keys)))]


async def _note_answers(db: Connection, held: Sequence[tuple[str, str]], reports: Iterable[Report]) -> None:
    answers: dict[tuple[str, str, str, int], dict[str, Any]] = defaultdict(dict)
    for r in reports:
        if r.origin is Origin.REFETCHED:
            answers[r.connection_id, r.resource, r.object_id, r.stamp][r.destination_id] = _entry(r)
    if answers:
        rows = [(*key, _text(answers[key])) for key in sorted(answers)]
        await db.execute(ANSWER, *_columns(held), *_columns(rows))


def _columns(rows: Iterable[Sequence[object]]) -> Iterable[list[object]]:
    """Turn rows into the columns that `unnest` takes."""
    return map(list, zip(*rows, strict=True))


def _row(item: Parsed, entry: EventEntry, reports: Sequence[Report]) -> tuple[object, ...]:
    received_at = datetime.fromtimestamp(entry.received_at_ms / 1000, UTC) if entry.received_at_ms else None
    return (
        entry.connection_id,
        entry.event_id,
        entry.type,
        entry.resource,
        entry.object_id,
        entry.created,
        _summary(item, reports),
        entry.position.partition,
        entry.position.offset,
        received_at,
        _text({report.destination_id: _entry(report) for report in reports}),
    )


def _summary(item: Parsed, reports: Sequence[Report]) -> str:
    """Return one word for all destinations: the one that needs to be looked at first."""
    outcomes = {report.outcome for report in reports}
    for outcome in (Outcome.FAILED, Outcome.LEFT_OUT, Outcome.PARKED):
        if outcome in outcomes:
            return outcome
    if reports:
        return reports[0].outcome
    return ASKED if item.refetches and not item.record else Outcome.NOT_SYNCED


def _entry(report: Report) -> Mapping[str, object]:
    entry = {"outcome": report.outcome, "at": report.at}
    return {**entry, "reason": report.reason} if report.reason else entry


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
