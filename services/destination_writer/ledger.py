"""What the writers report: counts, the event log, questions for Stripe, and their own progress.

One transaction per batch. The progress guards the counts, so a batch that comes again is not counted again.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType

from services.destination_writer import replayed
from services.destination_writer.delivery import Outcome, Report
from services.destination_writer.findings import ComparisonReport, note_comparisons
from services.destination_writer.gaps import note_gaps
from services.destination_writer.hours import arrivals, count_events, late_arrivals
from services.destination_writer.lifeline import ASKED, log_answers, log_events, log_late, require_waiting
from services.destination_writer.records import Parsed, Position, Refetch, positions
from services.destination_writer.refusals import Attempt, Suspects
from shared.catalogue import RESOURCES
from shared.connections import hold
from shared.consumers import settle
from shared.db import Connection, Pool, database_errors, in_transaction
from shared.dead_letters import describe
from shared.log import get_logger
from shared.metrics import LEDGER_ROWS_REFUSED
from shared.stripe_api import STAMP_MARGIN
from shared.sync_progress import COUNT_FIELDS

ASK_AFTER_MARGIN = 2  # seconds: stamps are whole seconds, so an answer asked later than this is surely newer
CLOCKS_APART = 10  # seconds by which our clock may be ahead of Stripe's
COUNTED = frozenset(COUNT_FIELDS)
TELLING = frozenset(event for row in RESOURCES for _, event in row.told_by)
Work = Callable[[Connection], Awaitable[None]]
UNTOLD = [Outcome.FAILED, Outcome.LEFT_OUT, Outcome.NOT_SYNCED, ASKED]  # an event that is in no row tells nothing


PROGRESS = """
INSERT INTO writer_progress AS w (cluster_id, topic, partition, next_offset)
SELECT $1, u.* FROM unnest($2::text[], $3::int[], $4::bigint[]) AS u (topic, partition, next_offset)
ORDER BY topic, partition
ON CONFLICT (cluster_id, topic, partition) DO UPDATE SET next_offset = greatest(w.next_offset, excluded.next_offset)
"""
BEFORE = """
SELECT topic, partition, next_offset FROM writer_progress
WHERE cluster_id = $1 AND (topic, partition) IN (SELECT * FROM unnest($2::text[], $3::int[]))
ORDER BY topic, partition FOR UPDATE
"""
_COLUMNS = ", ".join(COUNT_FIELDS)
_SUMS = ", ".join(f"coalesce(sum(n) FILTER (WHERE outcome = '{field}'), 0)" for field in COUNT_FIELDS)
_ADDED = ", ".join(f"{field} = t.{field} + excluded.{field}" for field in COUNT_FIELDS)
SLICE_COUNTS = f"""
INSERT INTO slice_counts AS t (slice_id, destination_id, {_COLUMNS})
SELECT u.slice_id, u.destination_id, {_SUMS}
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) AS u (slice_id, destination_id, outcome, n)
WHERE EXISTS (SELECT FROM slices s WHERE s.id = u.slice_id)
GROUP BY 1, 2 ORDER BY 1, 2
ON CONFLICT (slice_id, destination_id) DO UPDATE SET {_ADDED}
"""
HOURS = f"""
INSERT INTO delivery_hours AS t (connection_id, destination_id, resource, hour, {_COLUMNS})
SELECT u.connection_id, u.destination_id, u.resource, date_trunc('hour', now()), {_SUMS}
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
     AS u (connection_id, destination_id, resource, outcome, n)
WHERE EXISTS (SELECT FROM connections c WHERE c.id = u.connection_id)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
ON CONFLICT (connection_id, destination_id, resource, hour) DO UPDATE SET {_ADDED}
"""
# A connection's hour with changes is one sync, whichever writers it went through: its id follows from both.
LIVE = f"""
INSERT INTO syncs AS t (id, connection_id, kind, trigger, status, resources, range_start, range_end, started_at,
                        records, {_COLUMNS})
SELECT 'syn_' || left(encode(sha256(convert_to(c.id || ' ' || h.number, 'UTF8')), 'hex'), 26), c.id, 'live', c.live_by,
       'running', array_agg(DISTINCT u.resource), to_timestamp(h.number * 3600), to_timestamp((h.number + 1) * 3600),
       now(), max(p.records), {_SUMS}
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS u (connection_id, resource, outcome, n)
JOIN unnest($5::text[], $6::bigint[]) AS p (connection_id, records) USING (connection_id)
JOIN connections c ON c.id = u.connection_id
CROSS JOIN (SELECT floor(extract(epoch FROM now()) / 3600)::bigint AS number) h
GROUP BY c.id, h.number ORDER BY c.id
ON CONFLICT (id) DO UPDATE SET records = t.records + excluded.records, {_ADDED},
    resources = ARRAY(SELECT DISTINCT r FROM unnest(t.resources || excluded.resources) AS r ORDER BY r)
"""
# An answer that is under way when it is asked again is not enough: the generation grows, so it is asked once more.
# The newest of a list is not put off by it: where something happens all the time, it would never be read.
REFETCHES = """
INSERT INTO refetches AS r (connection_id, resource, object_id, reason, due_at, told_by, hinted_at)
SELECT DISTINCT ON (1, 2, 3) u.connection_id, u.resource, u.object_id, u.reason,
       CASE WHEN u.is_held THEN 'infinity' ELSE now() + u.wait END,
       CASE WHEN bool_and(u.told_by IS NOT NULL) OVER same THEN u.told_by END, max(u.stamp) OVER same
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::interval[], $6::boolean[], $7::text[], $8::bigint[])
     AS u (connection_id, resource, object_id, reason, wait, is_held, told_by, stamp)
JOIN connections c ON c.id = u.connection_id AND u.resource = ANY (c.resources)
WINDOW same AS (PARTITION BY u.connection_id, u.resource, u.object_id)
ORDER BY 1, 2, 3, u.is_held, u.wait DESC
ON CONFLICT (connection_id, resource, object_id) DO UPDATE
SET generation = r.generation + 1, reason = excluded.reason, due_at = CASE
    WHEN r.due_at = 'infinity' THEN excluded.due_at
    WHEN excluded.due_at = 'infinity' OR r.object_id = '*' THEN r.due_at
    ELSE greatest(r.due_at, excluded.due_at) END,
    told_by = CASE WHEN r.told_by = excluded.told_by THEN r.told_by END,
    hinted_at = greatest(r.hinted_at, excluded.hinted_at)
"""
# Whichever comes first, the hint or the event that tells as much: the second of them finds the other.
FORGET_TOLD = """
DELETE FROM refetches r USING (
    SELECT f.connection_id, f.resource, f.object_id FROM refetches f
    WHERE (f.connection_id, f.resource, f.object_id) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))
      AND EXISTS (SELECT FROM event_log e WHERE e.connection_id = f.connection_id AND e.object_id = f.object_id
                  AND e.type = f.told_by AND e.created >= f.hinted_at AND e.outcome <> ALL ($4::text[]))
    ORDER BY 1, 2, 3 FOR UPDATE OF f
) told
WHERE (r.connection_id, r.resource, r.object_id) = (told.connection_id, told.resource, told.object_id)
"""
SEEN = """
UPDATE connections c SET last_event_at = least(greatest(c.last_event_at, seen.at), now())
FROM (SELECT o.id, u.at FROM unnest($1::text[], $2::timestamptz[]) AS u (id, at) JOIN connections o USING (id)
      ORDER BY o.id FOR NO KEY UPDATE OF o) seen
WHERE c.id = seen.id
"""
# "Last sync" tells of destinations: nothing but their own answer moves it.
CONFIRMED = frozenset({Outcome.INSERTED, Outcome.UPDATED, Outcome.UNCHANGED, Outcome.DELETED})
WRITTEN = """
UPDATE connection_destinations l SET written_at = now()
FROM (SELECT o.connection_id, o.destination_id FROM unnest($1::text[], $2::text[]) AS u (connection_id, destination_id)
      JOIN connection_destinations o USING (connection_id, destination_id) ORDER BY 1, 2 FOR NO KEY UPDATE OF o) w
WHERE l.connection_id = w.connection_id AND l.destination_id = w.destination_id
"""


NO_CHANGES: Mapping[Position, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Reported:
    """What is to be written of a batch."""

    batch: Sequence[Parsed]
    reports: Sequence[Report]
    refetches: Sequence[Refetch]
    comparisons: Sequence[ComparisonReport]
    changes: Mapping[Position, bytes]


class Ledger:
    """Writes the reports of a batch; raises `DatabaseUnavailableError`."""

    def __init__(self, pool: Pool, cluster_id: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`cluster_id` names the broker: offsets of another one mean something else."""
        self._pool = pool
        self._cluster_id = cluster_id
        self._suspects = Suspects(clock)

    async def record(
        self,
        batch: Sequence[Parsed],
        reports: Sequence[Report],
        refetches: Sequence[Refetch],
        comparisons: Sequence[ComparisonReport] = (),
        changes: Mapping[Position, bytes] = NO_CHANGES,
    ) -> None:
        """Write what became of `batch`, once, however often the batch comes.

        `changes` are what its events have changed, sealed, by where they lie.
        """
        reported = Reported(batch, reports, refetches, comparisons, changes)
        await self._write(lambda step: partial(self._record, reported, step))
        await self._forget_told(batch, refetches)

    async def _record(self, told: Reported, step: Attempt, db: Connection) -> None:
        batch, following = told.batch, positions(told.batch)
        topics, partitions = [topic for topic, _ in following], [partition for _, partition in following]
        await hold(db, (item.connection_id for item in batch))
        before = await db.fetch(BEFORE, self._cluster_id, topics, partitions)
        known = {(row["topic"], row["partition"]): row["next_offset"] for row in before}
        await note_gaps(db, self._cluster_id, known, batch)
        fresh = [r for r in told.reports if _is_fresh(r.position, known)]
        await step(db, _count_slices, _alike(fresh))
        await step(db, _count_hours, _alike(fresh))
        await step(db, _count_live, _by_position(fresh))
        counts = [_is_fresh(item.position, known) for item in batch]
        await step(db, count_events, arrivals(batch, fresh, counts))
        await step(db, partial(log_events, reports=fresh, changes=told.changes), batch)
        await step(db, log_answers, fresh)
        compared = [one for one in told.comparisons if _is_fresh(one.record.position, known)]
        await step(db, note_comparisons, compared)
        await step(db, _ask_stripe, _by_object(told.refetches))
        await require_waiting(db, fresh)
        await step(db, partial(replayed.settle, reports=told.reports), batch)
        await step(db, _note_connections, batch)
        await step(db, _note_written, told.reports)
        await db.execute(PROGRESS, self._cluster_id, topics, partitions, list(following.values()))

    async def record_late(self, reports: Sequence[Report], refetches: Sequence[Refetch]) -> None:
        """Write what became of records that were parked: their batch is long past."""

        async def record(step: Attempt, db: Connection) -> None:
            await hold(db, (report.connection_id for report in reports))
            await step(db, _count_slices, _alike(reports))
            await step(db, _count_hours, _alike(reports))
            await step(db, partial(_count_live, are_late=True), _by_position(reports))
            await step(db, count_events, await late_arrivals(db, reports))
            await step(db, log_late, reports)
            await step(db, _ask_stripe, _by_object(refetches))
            await step(db, replayed.settle_late, reports)
            await step(db, _note_written, reports)

        await self._write(lambda step: partial(record, step))

    async def _write(self, work_by: Callable[[Attempt], Work], careful: frozenset[str] = frozenset()) -> None:
        """Write a report without the rows that the database refuses.

        One such row costs neither the others of its batch nor a second delivery of them. Where one was refused, others
        of its connection follow: for a while they are written apart, so that no transaction has to begin anew.
        """

        async def write(attempts: Sequence[Attempt]) -> None:
            async def work(db: Connection) -> None:
                attempts[0].refused.clear()
                await work_by(attempts[0])(db)

            await in_transaction(self._pool, work)
            for connection_id, error in attempts[0].refused:
                LEDGER_ROWS_REFUSED.inc()
                get_logger().error("ledger_row_refused", connection_id=connection_id, reason=describe(error)[1])

        async def write_carefully(attempt: Attempt, error: Exception) -> None:
            if attempt.part in careful:
                raise error  # of no part's row
            get_logger().warning("ledger_begun_anew", part=attempt.part, reason=describe(error)[1])
            await self._write(work_by, careful | {attempt.part})

        await settle([Attempt(careful, self._suspects)], write, write_carefully)

    async def _forget_told(self, batch: Sequence[Parsed], refetches: Sequence[Refetch]) -> None:
        """Drop the questions about objects of this batch to which events hold the answer.

        Apart from the rest, since the rows would be locked in no order with those of the questions that are asked.
        One that a crash leaves costs a call.
        """
        hinted = {(r.connection_id, r.resource, r.object_id) for r in refetches if r.told_by}
        events = [item.event for item in batch if item.event and item.event.type in TELLING]
        told = hinted | {(e.connection_id, e.resource, e.object_id) for e in events}
        if told:
            with database_errors():
                await self._pool.execute(FORGET_TOLD, *map(list, zip(*told, strict=True)), UNTOLD)


def _is_fresh(position: Position, known: Mapping[tuple[str, int], int]) -> bool:
    return position.offset >= known.get((position.topic, position.partition), 0)


async def ask_stripe(db: Connection, refetches: Sequence[Refetch]) -> None:
    """Queue questions for Stripe, each object once, due when an answer is surely newer than what raised them."""
    if not refetches:
        return
    now = datetime.now(UTC).timestamp()
    # A stamp lies the margin before its request. Our clock may be ahead of Stripe's, so it shortens the wait only of
    # what is surely old: asked too soon, Stripe's answer would be older than the row, and settle nothing.
    longest = STAMP_MARGIN + ASK_AFTER_MARGIN
    waits = [min(max(0.0, r.stamp + longest + CLOCKS_APART - now), longest) for r in refetches]
    await db.execute(
        REFETCHES,
        [r.connection_id for r in refetches],
        [r.resource for r in refetches],
        [r.object_id for r in refetches],
        [r.reason for r in refetches],
        [timedelta(seconds=wait) for wait in waits],
        [r.is_held for r in refetches],
        [r.told_by for r in refetches],
        [r.stamp for r in refetches],
    )


def _alike(reports: Iterable[Report]) -> list[list[Report]]:
    """Return the reports that count, those together that count as the same: so one refusal is of all of them."""
    found: dict[tuple[object, ...], list[Report]] = defaultdict(list)
    for r in reports:
        if r.outcome in COUNTED:
            found[r.connection_id, r.slice_id, r.destination_id, r.resource, r.outcome].append(r)
    return list(found.values())


def _by_object(refetches: Iterable[Refetch]) -> list[list[Refetch]]:
    """Return the questions, those about one object together."""
    found: dict[tuple[str, ...], list[Refetch]] = defaultdict(list)
    for r in refetches:
        found[r.connection_id, r.resource, r.object_id].append(r)
    return list(found.values())


async def _ask_stripe(db: Connection, questions: Sequence[Sequence[Refetch]]) -> None:
    await ask_stripe(db, [refetch for some in questions for refetch in some])


async def _count_slices(db: Connection, alike: Iterable[Sequence[Report]]) -> None:
    by_slice: Counter[tuple[object, ...]] = Counter()
    for reports in alike:
        first = reports[0]
        if first.slice_id is not None:
            by_slice[first.slice_id, first.destination_id, first.outcome] += len(reports)
    if by_slice:
        await db.execute(SLICE_COUNTS, *map(list, zip(*by_slice, strict=True)), list(by_slice.values()))


async def _count_hours(db: Connection, alike: Iterable[Sequence[Report]]) -> None:
    by_hour: Counter[tuple[object, ...]] = Counter()
    for reports in alike:
        first = reports[0]
        by_hour[first.connection_id, first.destination_id, first.resource, first.outcome] += len(reports)
    if by_hour:
        await db.execute(HOURS, *map(list, zip(*by_hour, strict=True)), list(by_hour.values()))


def _by_position(reports: Iterable[Report]) -> list[list[Report]]:
    """Return the reports of events, those of one record together: it counts once, wherever it went."""
    found: dict[Position, list[Report]] = defaultdict(list)
    for report in reports:
        if report.is_live and report.outcome is not Outcome.NOT_SYNCED:
            found[report.position].append(report)
    return list(found.values())


async def _count_live(db: Connection, records: Sequence[Sequence[Report]], *, are_late: bool = False) -> None:
    """Add to the hour of each connection; records that come late were counted as records when they came."""
    if not records:
        return
    numbers = Counter(reports[0].connection_id for reports in records)
    by_outcome = Counter((r.connection_id, r.resource, r.outcome) for reports in records for r in reports)
    columns = map(list, zip(*by_outcome, strict=True))
    counted = [0 if are_late else number for number in numbers.values()]
    await db.execute(LIVE, *columns, list(by_outcome.values()), list(numbers), counted)


async def _note_connections(db: Connection, batch: Sequence[Parsed]) -> None:
    newest: dict[str, int | None] = {}
    for item in batch:
        created = item.event.created if item.event else None
        newest[item.connection_id] = max(filter(None, (newest.get(item.connection_id), created)), default=None)
    moments = [datetime.fromtimestamp(second, UTC) if second else None for second in newest.values()]
    await db.execute(SEEN, list(newest), moments)


async def _note_written(db: Connection, reports: Iterable[Report]) -> None:
    written = {(report.connection_id, report.destination_id) for report in reports if report.outcome in CONFIRMED}
    if written:
        await db.execute(WRITTEN, *map(list, zip(*written, strict=True)))
