"""Figures of time for pictures: events, delays, rows and calls, read from what is kept of each hour.

Days are those of the viewer's zone; today, and the hour that runs, come last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from services.connection_api.labels import label_of, rank_of
from shared.budget import account_rate, scope_of
from shared.catalogue import RESOURCES
from shared.db import Pool, database_errors
from shared.delay_buckets import add, quantile

HOURS = 7 * 24
DAYS = 14
HOUR = timedelta(hours=1)
TABLES = {resource.name: resource.table for resource in RESOURCES}

EVENTS = "SELECT hour, events, delays FROM event_hours WHERE connection_id = $1 AND hour >= $2"
ALL_EVENTS = "SELECT hour, sum(events)::bigint AS events FROM event_hours WHERE hour >= $1 GROUP BY hour"
ALL_DELAYS = """
SELECT array_agg(n ORDER BY bucket) AS delays FROM (
    SELECT d.bucket, sum(d.n)::bigint AS n
    FROM event_hours h CROSS JOIN unnest(h.delays) WITH ORDINALITY AS d (n, bucket)
    WHERE h.hour >= $1 GROUP BY d.bucket) b
"""
ROWS = """
SELECT hour, sum(inserted + updated + deleted)::bigint AS written FROM delivery_hours
WHERE connection_id = $1 AND hour >= $2 GROUP BY hour
"""
CALLS = "SELECT hour, sum(calls)::bigint AS calls FROM stripe_hours WHERE scope = $1 AND hour >= $2 GROUP BY hour"
ALL_CALLS = "SELECT scope, hour, calls FROM stripe_hours WHERE hour >= $1"
TABLE_ROWS = """
SELECT resource, sum(inserted - deleted)::bigint AS rows FROM delivery_hours WHERE connection_id = $1 GROUP BY resource
"""
TABLE_HOURS = """
SELECT resource, hour, sum(inserted - deleted)::bigint AS added, sum(inserted + updated + deleted)::bigint AS written
FROM delivery_hours WHERE connection_id = $1 AND hour >= $2 GROUP BY resource, hour
"""
NEWS = "SELECT resource, created, seconds FROM resource_news WHERE connection_id = $1"
WAITING = """
SELECT r.resource, min(r.parked_at) AS since FROM connection_destinations l
JOIN parked_records r ON r.destination_id = l.destination_id AND r.connection_id = l.connection_id
WHERE l.connection_id = $1 GROUP BY r.resource
"""
CONNECTION = "SELECT account_id, livemode FROM connections WHERE id = $1"


@dataclass(frozen=True, slots=True)
class EventHour:
    """How many events came in an hour, and the seconds within which half and 95 % of them were written."""

    at: datetime
    events: int
    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class EventFigures:
    """Seven days of events, by the hour and by the day; the quantiles are of the last 24 hours."""

    hours: tuple[EventHour, ...]
    days: tuple[EventHour, ...]
    p50: float | None
    p95: float | None

    @property
    def today(self) -> int:
        """How many events came today."""
        return self.days[-1].events if self.days else 0


@dataclass(frozen=True, slots=True)
class Amount:
    """How much there was in an hour or a day that begins at `at`."""

    at: datetime
    number: int


@dataclass(frozen=True, slots=True)
class CallFigures:
    """Calls of Stripe by the hour, and how much of the limit the last sixty minutes took."""

    hours: tuple[Amount, ...]
    last_hour: int  # in the sixty minutes before now, of all accounts that are asked for
    share: float  # of Stripe's limit, from 0 to 1: that of the account that uses most of its own


@dataclass(frozen=True, slots=True)
class TableFigures:
    """A table of a connection, over all its destinations."""

    resource: str
    table: str
    label: str
    rows: int
    today: int  # rows more or fewer since midnight
    newest_at: datetime | None  # when the newest event happened at Stripe
    behind: float | None  # seconds; None: no event so far
    days: tuple[int, ...]  # rows written on each of fourteen days


async def read_events(pool: Pool, connection_id: str, *, now: datetime, zone: tzinfo) -> EventFigures:
    """Return the events of a connection; raise `DatabaseUnavailableError`."""
    moments = hours_before(now, HOURS)
    with database_errors():
        rows = await pool.fetch(EVENTS, connection_id, moments[0])
    kept = {row["hour"]: (row["events"], list(row["delays"])) for row in rows}
    days: dict[datetime, list[tuple[int, list[int]]]] = {}
    for at in moments:
        days.setdefault(midnight(at, zone), []).append(kept.get(at, (0, [])))
    lately = add(*(kept[at][1] for at in moments[-24:] if at in kept))
    return EventFigures(
        hours=tuple(_event_hour(at, [kept.get(at, (0, []))]) for at in moments),
        days=tuple(_event_hour(at, some) for at, some in days.items()),
        p50=quantile(lately, 0.5),
        p95=quantile(lately, 0.95),
    )


def _event_hour(at: datetime, kept: Sequence[tuple[int, list[int]]]) -> EventHour:
    delays = add(*(one[1] for one in kept))
    return EventHour(at, sum(one[0] for one in kept), quantile(delays, 0.5), quantile(delays, 0.95))


async def read_all_events(
    pool: Pool, *, now: datetime, known: Sequence[Amount] = ()
) -> tuple[tuple[Amount, ...], float | None]:
    """Return the events of all connections by the hour, and the p95 of this hour and the one before.

    `known` are hours that have passed, the oldest first: they are not read again.
    """
    moments = hours_before(now, HOURS)
    kept = {one.at: one.number for one in known}
    with database_errors():
        rows = await pool.fetch(ALL_EVENTS, _first_unknown(moments, kept))
        delays = await pool.fetchval(ALL_DELAYS, moments[-2])
    kept |= {row["hour"]: row["events"] for row in rows}
    return tuple(Amount(at, kept.get(at, 0)) for at in moments), quantile(delays or [], 0.95)


async def read_rows_a_day(pool: Pool, connection_id: str, *, now: datetime, zone: tzinfo) -> tuple[Amount, ...]:
    """Return how many rows were written on each of fourteen days."""
    days = days_before(now, zone, DAYS)
    with database_errors():
        rows = await pool.fetch(ROWS, connection_id, days[0])
    written = dict.fromkeys(days, 0)
    for row in rows:
        day = midnight(row["hour"], zone)
        written[day] = written.get(day, 0) + row["written"]
    return tuple(Amount(day, written[day]) for day in days)


async def read_calls(pool: Pool, connection_id: str, *, now: datetime) -> CallFigures:
    """Return the calls of the connection's account, those of its other connections among them."""
    moments = hours_before(now, HOURS)
    with database_errors():
        row = await pool.fetchrow(CONNECTION, connection_id)
        if row is None:
            return CallFigures(tuple(Amount(at, 0) for at in moments), 0, 0.0)
        scope = scope_of(row["account_id"], livemode=row["livemode"])
        rows = await pool.fetch(CALLS, scope, moments[0])
    kept = {row["hour"]: row["calls"] for row in rows}
    hours = tuple(Amount(at, kept.get(at, 0)) for at in moments)
    last = in_last_hour(hours, now)
    return CallFigures(hours, last, last / allowed_an_hour(livemode=row["livemode"]))


async def read_all_calls(pool: Pool, *, now: datetime, known: Sequence[Amount] = ()) -> CallFigures:
    """Return the calls of all accounts; `known` are hours that have passed and are not read again."""
    moments = hours_before(now, HOURS)
    kept = {one.at: one.number for one in known}
    with database_errors():
        sums = await pool.fetch(
            "SELECT hour, sum(calls)::bigint AS calls FROM (" + ALL_CALLS + ") h GROUP BY hour",
            _first_unknown(moments, kept),
        )
        newest = await pool.fetch(ALL_CALLS, moments[-2])
    kept |= {row["hour"]: row["calls"] for row in sums}
    hours = tuple(Amount(at, kept.get(at, 0)) for at in moments)
    by_scope: dict[str, dict[datetime, int]] = {}
    for row in newest:
        by_scope.setdefault(row["scope"], {})[row["hour"]] = row["calls"]
    shares = [
        in_last_hour([Amount(at, calls.get(at, 0)) for at in moments[-2:]], now)
        / allowed_an_hour(livemode=scope.endswith(":live"))
        for scope, calls in by_scope.items()
    ]
    return CallFigures(hours, in_last_hour(hours, now), max(shares, default=0.0))


async def read_table_figures(
    pool: Pool, connection_id: str, *, now: datetime, zone: tzinfo
) -> tuple[TableFigures, ...]:
    """Return what there is of each resource that the connection syncs, in the catalogue's order."""
    days = days_before(now, zone, DAYS)
    with database_errors():
        wanted = await pool.fetchval("SELECT resources FROM connections WHERE id = $1", connection_id) or ()
        totals = {row["resource"]: row["rows"] for row in await pool.fetch(TABLE_ROWS, connection_id)}
        hours = await pool.fetch(TABLE_HOURS, connection_id, days[0])
        news = {row["resource"]: row for row in await pool.fetch(NEWS, connection_id)}
        waiting = {row["resource"]: row["since"] for row in await pool.fetch(WAITING, connection_id)}
    written: dict[tuple[str, datetime], int] = {}
    added: dict[str, int] = {}
    for row in hours:
        key = (row["resource"], midnight(row["hour"], zone))
        written[key] = written.get(key, 0) + row["written"]
        if key[1] == days[-1]:
            added[row["resource"]] = added.get(row["resource"], 0) + row["added"]
    names = sorted({*wanted, *totals} & TABLES.keys(), key=lambda name: (rank_of(name), name))
    return tuple(
        TableFigures(
            resource=name,
            table=TABLES[name],
            label=label_of(name),
            rows=max(0, totals.get(name, 0)),
            today=added.get(name, 0),
            newest_at=datetime.fromtimestamp(news[name]["created"], now.tzinfo) if name in news else None,
            behind=_behind(news[name]["seconds"] if name in news else None, waiting.get(name), now),
            days=tuple(written.get((name, day), 0) for day in days),
        )
        for name in names
    )


def _behind(seconds: float | None, waiting_since: datetime | None, now: datetime) -> float | None:
    if waiting_since:
        return max(0.0, (now - waiting_since).total_seconds())
    return None if seconds is None else max(0.0, seconds)


def allowed_an_hour(*, livemode: bool) -> float:
    """Return how many calls an hour Stripe allows for an account."""
    return account_rate(livemode=livemode, share=1) * 3600


def _first_unknown(moments: Sequence[datetime], known: Mapping[datetime, int]) -> datetime:
    return next((at for at in moments if at not in known), moments[-1])


def in_last_hour(hours: Sequence[Amount], now: datetime) -> int:
    """Return about how many there were in the sixty minutes before now: what has run of this hour, the rest before."""
    if not hours:
        return 0
    run = min(1.0, max(0.0, (now - hours[-1].at) / HOUR))
    before = hours[-2].number * (1 - run) if len(hours) > 1 else 0
    return round(hours[-1].number + before)


def hours_before(now: datetime, number: int) -> list[datetime]:
    """Return when the last hours began, the one that runs included."""
    last = now.replace(minute=0, second=0, microsecond=0)
    return [last - HOUR * back for back in reversed(range(number))]


def midnight(at: datetime, zone: tzinfo) -> datetime:
    """Return when the day of a moment began in a zone."""
    return at.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)


def days_before(now: datetime, zone: tzinfo, number: int) -> list[datetime]:
    """Return when the last days began in a zone, today included."""
    today = midnight(now, zone)
    return [(today - timedelta(days=back)).replace(hour=0) for back in reversed(range(number))]
