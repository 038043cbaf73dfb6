"""How fresh each way is in which changes reach us, and what it takes of Stripe's read allowance.

One set of words: the dashboard, the REST API and the command line show them as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.connection_api.pace import duration_text
from shared.catalogue import WEBHOOK_ENDPOINT
from shared.connections import Connection, LiveBy, State
from shared.db import Pool, Row, database_errors
from shared.refusals import PROVEN_AT
from shared.settings import PaceSettings

DAY = timedelta(days=1)
MONTH = 30  # days
LEAST_ALLOWED = 10_000  # reads a month; above it, about 500 for each transaction
READS_EACH = 500  # reads for each transaction
NOT_KNOWN = "How many reads a month this takes is not known yet: it is told after the first day."
ALLOWED = f"Stripe allows about {READS_EACH} for each transaction, and at least {LEAST_ALLOWED:,} a month."
NO_READS = "No calls while syncing is stopped."

# What the schedule has made in the last day: what a person or a new key begins is no pace. A comparison takes a few
# seconds, so the one before an open one tells when it was done.
FIND = f"""
SELECT c.id, p.polled_at, p.pause_seconds, done.at AS compared_at, newest.at AS begun_at, spent.calls,
       first.at AS first_at, paid.charges,
       EXISTS (SELECT FROM webhook_refusals r JOIN webhook_endpoints e ON e.id = r.endpoint_id
               WHERE e.connection_id = c.id AND {PROVEN_AT} IS NOT NULL) AS refuses
FROM connections c
LEFT JOIN polls p ON p.connection_id = c.id
LEFT JOIN LATERAL (SELECT finished_at AS at FROM syncs WHERE connection_id = c.id AND kind = 'reconcile'
                   AND status = 'succeeded' ORDER BY created_at DESC, id DESC LIMIT 1) done ON true
LEFT JOIN LATERAL (SELECT created_at AS at FROM syncs WHERE connection_id = c.id AND kind = 'reconcile'
                   ORDER BY created_at DESC, id DESC LIMIT 1) newest ON true
LEFT JOIN LATERAL (SELECT sum(stripe_calls)::bigint AS calls FROM syncs WHERE connection_id = c.id
                   AND kind = 'reconcile' AND trigger IN ('schedule', 'daily') AND created_at >= $2) spent ON true
LEFT JOIN LATERAL (SELECT created_at AS at FROM syncs WHERE connection_id = c.id AND kind = 'reconcile'
                   AND trigger IN ('schedule', 'daily') ORDER BY created_at, id LIMIT 1) first ON true
LEFT JOIN LATERAL (SELECT max(n)::bigint AS charges FROM (
                     SELECT sum(h.inserted) AS n FROM delivery_hours h WHERE h.connection_id = c.id
                     AND h.resource = 'charge' AND h.hour >= $2 - interval '29 days' GROUP BY h.destination_id) h
                   WHERE c.created_at <= $2 - interval '30 days') paid ON true
WHERE c.id = ANY ($1::text[])
"""


@dataclass(frozen=True, slots=True)
class Way:
    """One way in which changes reach us."""

    name: str
    title: str
    sentence: str
    last_at: datetime | None
    next_at: datetime | None
    reads_per_day: int | None  # None: not known yet


@dataclass(frozen=True, slots=True)
class Freshness:
    """All ways of a connection, and their cost in a sentence."""

    ways: tuple[Way, ...]
    reads_per_month: int | None  # None: not known yet
    cost: str


class FreshnessReader:
    """Reads how fresh connections are; raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool, pace: PaceSettings) -> None:
        """`pace` has to be that of the sync worker."""
        self._pool = pool
        self._pace = pace

    async def read(self, connections: Sequence[Connection], *, now: datetime) -> dict[str, Freshness]:
        """Return the freshness of each connection by its id."""
        with database_errors():
            rows = await self._pool.fetch(FIND, [connection.id for connection in connections], now - DAY)
        by_id = {row["id"]: row for row in rows}
        return {one.id: describe(one, by_id[one.id], self._pace, now=now) for one in connections if one.id in by_id}


def describe(connection: Connection, row: Row, pace: PaceSettings, *, now: datetime) -> Freshness:
    """Return how fresh the connection is, by what is known of its polls and comparisons."""
    asks = connection.state is State.ACTIVE
    is_endpoint_lost = any(fault.resource == WEBHOOK_ENDPOINT for fault in connection.faults)
    ways = []
    if connection.live_by is LiveBy.WEBHOOKS:
        ways.append(_webhooks(connection, is_lost=is_endpoint_lost, refuses=row["refuses"]))
    if connection.live_by is LiveBy.POLLING or is_endpoint_lost or row["refuses"]:
        ways.append(_polling(row, pace, asks=asks))
    ways.append(_comparing(row, pace, asks=asks, now=now))
    days = [way.reads_per_day for way in ways]
    month = None if None in days else sum(day or 0 for day in days) * MONTH
    known = NOT_KNOWN if month is None else f"About {month:,} reads a month at this pace."
    cost = f"{known} {_allowed(row['charges'])}" if asks else NO_READS
    return Freshness(tuple(ways), month, cost)


def _allowed(charges: int | None) -> str:
    """Say what Stripe allows; of an account that is known for a month, for its own charges."""
    if charges is None:
        return ALLOWED
    allowed = max(LEAST_ALLOWED, charges * READS_EACH)
    return f"Stripe allows about {allowed:,} for the {charges:,} charges of the last 30 days."


def _webhooks(connection: Connection, *, is_lost: bool, refuses: bool) -> Way:
    sentence = "Stripe sends every change, and it is written within about a second. It costs no reads."
    if refuses:
        sentence = "The gateway refuses what Stripe sends, so Stripe is asked for changes until it accepts a webhook."
    if is_lost:
        sentence = "The endpoint at Stripe can't be repaired, so nothing may come this way."
    return Way("webhooks", "Webhooks", sentence, connection.last_event_at, None, 0)


def _polling(row: Row, pace: PaceSettings, *, asks: bool) -> Way:
    often, rarely = duration_text(pace.poll_seconds), duration_text(pace.poll_seconds_quiet)
    sentence = f"Stripe is asked for changes every {often} while things happen, every {rarely} when it is quiet"
    if not asks or row["pause_seconds"] is None:
        return Way("polling", "Polling", f"{sentence}.", row["polled_at"], None, 0)
    pause = timedelta(seconds=row["pause_seconds"])
    at_present = f"{sentence}; every {duration_text(row['pause_seconds'])} at the moment."
    return Way("polling", "Polling", at_present, row["polled_at"], row["polled_at"] + pause, round(DAY / pause))


def _comparing(row: Row, pace: PaceSettings, *, asks: bool, now: datetime) -> Way:
    interval = timedelta(seconds=pace.reconcile_seconds)
    sentence = (
        f"The event feed is compared every {duration_text(pace.reconcile_seconds)}, and lists of what changes without "
        "an event are read again: the last 2 hours of them, once a day the last 35 days."
    )
    if not asks:
        return Way("comparing", "Comparing", sentence, row["compared_at"], None, 0)
    next_at = row["begun_at"] + interval if row["begun_at"] else None
    is_known = row["first_at"] is not None and row["first_at"] <= now - DAY
    return Way(
        "comparing", "Comparing", sentence, row["compared_at"], next_at, (row["calls"] or 0) if is_known else None
    )
