"""What comparisons have found, in the state database: exact counts, and the differences that are suspected.

Both are written in the transaction that notes the writer's progress, so a batch that comes twice counts once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from services.destination_writer.comparison import Compared
from services.destination_writer.records import Record
from shared.comparisons import COUNT_FIELDS
from shared.db import Connection, Row

SECOND_LOOK = timedelta(seconds=10)  # records that were on their way have arrived by then
LATE_LOOK = timedelta(seconds=30)  # the same, of what no event tells: it comes by a question that waits itself
MOST_SUSPECTED = 10_000  # of a sync at a time: so many are not on their way
COMPARED, SKIPPED = "compared", "skipped"


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """What came of the comparison of one record at one destination; `None` if the destination did not answer."""

    destination_id: str
    record: Record
    compared: Compared | None


_SUMS = ", ".join(f"coalesce(sum(n) FILTER (WHERE word = '{field}'), 0)" for field in COUNT_FIELDS)
_ADDED = ", ".join(f"{field} = t.{field} + excluded.{field}" for field in COUNT_FIELDS)
COUNT = f"""
INSERT INTO comparisons AS t (sync_id, destination_id, resource, {", ".join(COUNT_FIELDS)})
SELECT u.sync_id, u.destination_id, u.resource, {_SUMS}
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
     AS u (sync_id, destination_id, resource, word, n)
WHERE EXISTS (SELECT FROM syncs y WHERE y.id = u.sync_id)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
ON CONFLICT (sync_id, destination_id, resource) DO UPDATE SET {_ADDED}
"""
SYNCS = """
SELECT s.id AS slice, y.id AS sync, y.sample_pages IS NULL AS is_full,
       (SELECT count(*) FROM differences d WHERE d.sync_id = y.id AND d.status = 'suspected') AS suspected
FROM slices s JOIN syncs y ON y.id = s.sync_id WHERE s.id = ANY ($1::bigint[])
"""
SEEN = """
INSERT INTO compared_objects (sync_id, resource, object_id)
SELECT DISTINCT * FROM unnest($1::text[], $2::text[], $3::text[]) ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING
"""
SUSPECT = """
INSERT INTO differences
    (sync_id, connection_id, destination_id, resource, object_id, kind, fields, stamp, body, is_deleted, status, due_at)
SELECT u.sync_id, u.connection_id, u.destination_id, u.resource, u.object_id, u.kind,
       string_to_array(u.fields, chr(31)), u.stamp, u.body, u.is_deleted, 'suspected', now() + u.wait
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
            $9::bytea[], $10::boolean[], $11::interval[])
  AS u (sync_id, connection_id, destination_id, resource, object_id, kind, fields, stamp, body, is_deleted, wait)
WHERE EXISTS (SELECT FROM connections c WHERE c.id = u.connection_id)
  AND EXISTS (SELECT FROM destinations d WHERE d.id = u.destination_id)
ORDER BY 1, 3, 4, 5 ON CONFLICT DO NOTHING
"""


async def note_comparisons(db: Connection, reports: Sequence[ComparisonReport]) -> None:
    """Count what was compared, and keep what has to be looked at once more, within the caller's transaction."""
    if not reports:
        return
    slices = {report.record.slice_id for report in reports}
    known: dict[int, Row] = {row["slice"]: row for row in await db.fetch(SYNCS, list(slices))}
    mine = [(known[r.record.slice_id], r) for r in reports if r.record.slice_id in known]
    words: Counter[tuple[str, str, str, str]] = Counter()
    suspects: list[tuple[object, ...]] = []
    for sync, report in mine:
        record, compared = report.record, report.compared
        where = (sync["sync"], report.destination_id, record.resource.name)
        words[*where, COMPARED if compared else SKIPPED] += 1
        if compared is None:
            continue
        if not compared.finding.is_difference or sync["suspected"] >= MOST_SUSPECTED:
            words[*where, str(compared.finding)] += 1
        else:
            suspects.append(_suspect(sync["sync"], report, compared))
    seen = [(sync["sync"], r.record.resource.name, r.record.object_id) for sync, r in mine if sync["is_full"]]
    if suspects:
        await db.execute(SUSPECT, *_columns(suspects))
    if seen:
        await db.execute(SEEN, *_columns(seen))
    await count(db, words)


async def count(db: Connection, words: Counter[tuple[str, str, str, str]]) -> None:
    """Add to the counts by sync, destination, resource and word."""
    if words:
        await db.execute(COUNT, *_columns(words), list(words.values()))


def _suspect(sync_id: str, report: ComparisonReport, compared: Compared) -> tuple[object, ...]:
    record = report.record
    where = (sync_id, record.connection_id, report.destination_id, record.resource.name, record.object_id)
    what = (str(compared.finding), chr(31).join(compared.fields), record.stamp, record.body, record.is_deleted)
    return (*where, *what, LATE_LOOK if record.resource.changes_silently else SECOND_LOOK)


def _columns(rows: Iterable[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
