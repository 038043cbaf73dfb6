"""What is kept of each hour of a connection for its pictures: how many events came, and how long each took."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.destination_writer.delivery import Outcome, Report
from services.destination_writer.records import Parsed, Position
from shared.db import Connection
from shared.delay_buckets import counts_of

HAS_ENDED = frozenset({Outcome.INSERTED, Outcome.UPDATED, Outcome.UNCHANGED, Outcome.DELETED, Outcome.IGNORED})
COUNT = """
INSERT INTO event_hours AS t (connection_id, hour, events, delays)
SELECT u.connection_id, date_trunc('hour', now()), u.events, u.delays::bigint[]
FROM unnest($1::text[], $2::bigint[], $3::text[]) AS u (connection_id, events, delays)
WHERE EXISTS (SELECT FROM connections c WHERE c.id = u.connection_id)
ORDER BY 1
ON CONFLICT (connection_id, hour) DO UPDATE SET events = t.events + excluded.events, delays = ARRAY(
    SELECT coalesce(d.kept, 0) + coalesce(d.more, 0)
    FROM unnest(t.delays, excluded.delays) WITH ORDINALITY AS d (kept, more, bucket) ORDER BY d.bucket)
"""
NEWS = """
INSERT INTO resource_news AS t (connection_id, resource, created, seconds)
SELECT u.* FROM unnest($1::text[], $2::text[], $3::bigint[], $4::float8[])
     AS u (connection_id, resource, created, seconds)
WHERE EXISTS (SELECT FROM connections c WHERE c.id = u.connection_id)
ORDER BY 1, 2
ON CONFLICT (connection_id, resource) DO UPDATE SET created = excluded.created, seconds = excluded.seconds
WHERE excluded.created > t.created OR excluded.created = t.created AND excluded.seconds IS NOT NULL
"""
RECEIVED = """
SELECT u.connection_id, l.resource, l.created, extract(epoch FROM l.received_at)::float8 AS received, u.at
FROM unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::float8[])
     AS u (connection_id, object_id, partition, record_offset, at)
JOIN event_log l USING (connection_id, object_id, partition, record_offset) WHERE l.received_at IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event that came, or one that had come before and was written now; `seconds` is how long that took."""

    connection_id: str
    resource: str | None
    created: int  # in Stripe's clock
    seconds: float | None  # None: it is not written yet, or never
    is_new: bool = True


def arrivals(batch: Iterable[Parsed], fresh: Iterable[Report], is_fresh: Iterable[bool]) -> list[Arrival]:
    """Return the events of a batch that count, with what their reports tell of the time."""
    found: dict[Position, list[Report]] = defaultdict(list)
    for report in fresh:
        found[report.position].append(report)
    return [
        Arrival(item.connection_id, item.event.resource, item.event.created, _took(item, found.get(item.position, ())))
        for item, counts in zip(batch, is_fresh, strict=True)
        if item.event and counts and not item.replay
    ]


def _took(item: Parsed, reports: Sequence[Report]) -> float | None:
    received = item.event.received_at_ms / 1000 if item.event else 0
    if not received or not reports or not all(r.at and r.outcome in HAS_ENDED for r in reports):
        return None
    return max(r.at for r in reports) - received


async def late_arrivals(db: Connection, reports: Iterable[Report]) -> list[Arrival]:
    """Return how long the events took that waited for their destination; they were counted when they came."""
    rows = [
        (r.connection_id, r.object_id, r.position.partition, r.position.offset, r.at)
        for r in reports
        if r.is_live and r.at and r.outcome in HAS_ENDED
    ]
    if not rows:
        return []
    found = await db.fetch(RECEIVED, *map(list, zip(*rows, strict=True)))
    return [
        Arrival(row["connection_id"], row["resource"], row["created"], row["at"] - row["received"], is_new=False)
        for row in found
    ]


async def count_events(db: Connection, arrived: Sequence[Arrival]) -> None:
    """Add to the hour of each connection, and note which is the newest of each resource."""
    by_connection: dict[str, list[Arrival]] = defaultdict(list)
    for one in arrived:
        by_connection[one.connection_id].append(one)
    if by_connection:
        await db.execute(
            COUNT,
            list(by_connection),
            [sum(one.is_new for one in some) for some in by_connection.values()],
            [_text(one.seconds for one in some if one.seconds is not None) for some in by_connection.values()],
        )
    if news := newest_of(arrived):
        await db.execute(NEWS, *map(list, zip(*news, strict=True)))


def newest_of(arrived: Iterable[Arrival]) -> list[tuple[str, str, int, float | None]]:
    """Return the newest of each connection and resource: of one second the one that took longest."""
    newest: dict[tuple[str, str], Arrival] = {}
    for one in arrived:
        if one.resource:
            known = newest.get((one.connection_id, one.resource))
            if known is None or _age(one) > _age(known):
                newest[one.connection_id, one.resource] = one
    return [(connection_id, name, one.created, one.seconds) for (connection_id, name), one in newest.items()]


def _age(one: Arrival) -> tuple[int, bool, float]:
    return one.created, one.seconds is not None, one.seconds or 0.0


def _text(seconds: Iterable[float]) -> str:
    return f"{{{','.join(map(str, counts_of(seconds)))}}}"
