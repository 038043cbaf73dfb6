"""The pictures of an account's page: events, delays, rows and calls, and a row for each table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from services.connection_api.dashboard.charts.pictures import Point, Spark, bars, pair, seconds_text, share, spark
from services.connection_api.views.figures import (
    TableFigures,
    read_calls,
    read_events,
    read_rows_a_day,
    read_table_figures,
)
from shared.db import Pool

NO_DELAYS = "No delays yet"


@dataclass(frozen=True, slots=True)
class TableLine:
    """A table with its small picture."""

    table: TableFigures
    spark: Spark

    @property
    def behind(self) -> str:
        """How far behind its rows are."""
        return seconds_text(self.table.behind)


async def read_pictures(pool: Pool, connection_id: str, *, now: datetime, zone: tzinfo) -> Mapping[str, Any]:
    """Return what the page shows beside the card; raise `DatabaseUnavailableError`."""
    events = await read_events(pool, connection_id, now=now, zone=zone)
    rows = await read_rows_a_day(pool, connection_id, now=now, zone=zone)
    calls = await read_calls(pool, connection_id, now=now)
    tables = await read_table_figures(pool, connection_id, now=now, zone=zone)
    pictures = (
        bars("Events an hour, 7 days", [Point(hour.at, hour.events) for hour in events.hours], zone=zone),
        pair(
            "Delay, 7 days",
            [Point(hour.at, hour.p50) for hour in events.hours],
            [Point(hour.at, hour.p95) for hour in events.hours],
            zone=zone,
            empty=NO_DELAYS,
        ),
        bars(
            "Rows written a day, 14 days",
            [Point(day.at, day.number) for day in rows],
            zone=zone,
            noun="rows",
            empty="No rows yet",
        ),
        bars(
            "Calls to Stripe an hour, 7 days",
            [Point(hour.at, hour.number) for hour in calls.hours],
            zone=zone,
            noun="calls",
            empty="No calls yet",
        ),
    )
    return {
        "pictures": pictures,
        "share": share(calls.share, 1, "Stripe's limit in the last hour"),
        "p95": seconds_text(events.p95),
        "today": events.today,
        "lines": [TableLine(table, spark(table.days)) for table in tables],
    }
