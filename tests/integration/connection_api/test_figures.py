"""Figures are read from what each hour keeps, in the days of the viewer's zone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.connection_api.views.figures import (
    read_all_calls,
    read_all_events,
    read_calls,
    read_events,
    read_rows_a_day,
    read_table_figures,
)
from shared.db import Pool, make_pool
from shared.delay_buckets import counts_of
from tests.browser.sample import add_connection, add_destination, park

NOW = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
HOUR = NOW.replace(minute=0)
AUCKLAND = ZoneInfo("Pacific/Auckland")  # 13 hours ahead: midnight there is 11:00 UTC
EVENT_HOUR = "INSERT INTO event_hours (connection_id, hour, events, delays) VALUES ($1, $2, $3, $4)"
CALLS = "INSERT INTO stripe_hours (scope, hour, calls) VALUES ($1, $2, $3)"
ROWS = """
INSERT INTO delivery_hours (connection_id, destination_id, resource, hour, inserted, deleted)
VALUES ($1, 'dst_1', $2, $3, $4, $5)
"""


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await make_pool(database_url)
    await add_destination(pool)
    for number in (1, 2):
        await add_connection(pool, f"con_{number}", f"Account {number}", livemode=number == 1)
    await pool.execute("DELETE FROM delivery_hours")
    yield pool
    await pool.close()


async def test_events_are_told_by_the_hour_and_the_day_with_their_delays(pool: Pool) -> None:
    await pool.execute(EVENT_HOUR, "con_1", HOUR, 100, counts_of([0.4] * 94 + [1.1] * 6))
    await pool.execute(EVENT_HOUR, "con_1", HOUR - timedelta(days=2), 7, counts_of([90.0]))
    await pool.execute(EVENT_HOUR, "con_2", HOUR, 1000, [])
    figures = await read_events(pool, "con_1", now=NOW, zone=UTC)

    assert len(figures.hours) == 7 * 24
    assert (figures.hours[-1].at, figures.hours[-1].events) == (HOUR, 100)
    assert [day.events for day in figures.days] == [0, 0, 0, 0, 0, 7, 0, 100]
    assert figures.today == 100
    assert figures.p50 == pytest.approx(0.4, abs=0.05)
    assert figures.p95 == pytest.approx(1.1, abs=0.1)  # what took 90 s was two days ago
    assert figures.hours[0].p95 is None


async def test_all_accounts_add_up(pool: Pool) -> None:
    await pool.execute(EVENT_HOUR, "con_1", HOUR, 3, counts_of([0.1]))
    await pool.execute(EVENT_HOUR, "con_2", HOUR, 4, counts_of([9.0]))
    hours, p95 = await read_all_events(pool, now=NOW)
    assert hours[-1].number == 7
    assert p95 == pytest.approx(9, abs=1)


async def test_hours_that_have_passed_need_not_be_read_again(pool: Pool) -> None:
    before = HOUR - timedelta(hours=5)
    for hour in (before, HOUR):
        await pool.execute(EVENT_HOUR, "con_1", hour, 3, [])
        await pool.execute(CALLS, "acct_1:live", hour, 8)
    hours, _ = await read_all_events(pool, now=NOW)
    calls = await read_all_calls(pool, now=NOW)
    await pool.execute("UPDATE event_hours SET events = 5")
    await pool.execute("UPDATE stripe_hours SET calls = 9")
    later = NOW + timedelta(hours=1)
    again, _ = await read_all_events(pool, now=later, known=hours[:-2])
    calls_again = await read_all_calls(pool, now=later, known=calls.hours[:-2])
    assert [(one.at, one.number) for one in again if one.number] == [(before, 3), (HOUR, 5)]
    assert [(one.at, one.number) for one in calls_again.hours if one.number] == [(before, 8), (HOUR, 9)]


async def test_no_events_have_no_delay(pool: Pool) -> None:
    figures = await read_events(pool, "con_1", now=NOW, zone=UTC)
    assert (figures.p50, figures.p95, figures.today) == (None, None, 0)
    assert (await read_all_events(pool, now=NOW))[1] is None


async def test_a_day_is_that_of_the_viewer(pool: Pool) -> None:
    await pool.execute(ROWS, "con_1", "charge", NOW - timedelta(days=1) + timedelta(hours=1, minutes=30), 5, 0)
    assert [one.number for one in await read_rows_a_day(pool, "con_1", now=NOW, zone=UTC)][-2:] == [5, 0]
    assert [one.number for one in await read_rows_a_day(pool, "con_1", now=NOW, zone=AUCKLAND)][-2:] == [0, 5]


async def test_calls_are_held_against_the_limit_of_their_account(pool: Pool) -> None:
    accounts = [row["account_id"] for row in await pool.fetch("SELECT account_id FROM connections ORDER BY id")]
    await pool.execute(CALLS, f"{accounts[0]}:live", HOUR, 1_000)
    await pool.execute(CALLS, f"{accounts[0]}:live", HOUR - timedelta(hours=1), 1_600)
    await pool.execute(CALLS, f"{accounts[1]}:test", HOUR, 9_000)
    own = await read_calls(pool, "con_1", now=NOW)
    assert own.last_hour == 1_800  # half of the hour before, and what has run of this one
    assert own.share == pytest.approx(1_800 / 360_000)
    everyone = await read_all_calls(pool, now=NOW)
    assert everyone.last_hour == 10_800
    assert everyone.share == pytest.approx(9_000 / 90_000)  # the account that uses most of its own limit
    assert (await read_calls(pool, "con_9", now=NOW)).last_hour == 0


async def test_a_table_has_its_rows_its_news_and_its_days(pool: Pool) -> None:
    await pool.execute("UPDATE connections SET resources = '{customer,charge}' WHERE id = 'con_1'")
    await pool.execute(ROWS, "con_1", "charge", HOUR - timedelta(days=40), 100, 0)
    await pool.execute(ROWS, "con_1", "charge", HOUR - timedelta(days=1), 10, 2)
    await pool.execute(ROWS, "con_1", "charge", HOUR, 5, 1)
    created = int((NOW - timedelta(seconds=9)).timestamp())
    await pool.execute("INSERT INTO resource_news VALUES ('con_1', 'charge', $1, 0.4)", created)
    charges, customers = await read_table_figures(pool, "con_1", now=NOW, zone=UTC)

    assert (charges.table, charges.rows, charges.today, charges.behind) == ("charges", 112, 4, 0.4)
    assert charges.newest_at == NOW - timedelta(seconds=9)
    assert charges.days == (*[0] * 12, 12, 6)
    assert (customers.rows, customers.newest_at, customers.behind) == (0, None, None)

    await park(pool, "con_1", 3, NOW - timedelta(minutes=18))
    charges, _ = await read_table_figures(pool, "con_1", now=NOW, zone=UTC)
    assert charges.behind == 18 * 60
