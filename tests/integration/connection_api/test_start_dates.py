"""Start dates that are estimated and moved, with a simulated Stripe and a real destination."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from shared.cleanups import CleanupStore
from shared.errors import ConflictError, PayloadError
from shared.syncs import Kind
from tests.eventually import eventually
from tests.integration.connection_api.stage import BY, Stage, set_up

MOST_CALLS = 12
ROWS = """
CREATE SCHEMA copy;
CREATE TABLE copy.charges (_account text, _livemode boolean, id text, data jsonb);
"""
ROW = """
INSERT INTO copy.charges SELECT $1, $2, 'ch_' || n, jsonb_build_object('created', n) FROM generate_series($3::int, $4) n
"""


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with set_up(database_url, objects=4000) as stage:
        yield stage


def days_ago(days: float) -> datetime:
    return datetime.fromtimestamp(int(time.time() - days * 86_400), UTC)


def truth(stage: Stage, since: datetime | None, until: float) -> dict[str, int]:
    """Return how many objects of each kind the simulated account made in the range."""
    counts = {}
    for name, table in stage.simulator.simulation.platform.store.tables.items():
        created = [row.get("created") or row.get("date") or 0 for at in range(len(table.ids)) if (row := table.at(at))]
        counts[name] = sum(1 for at in created if (not since or at >= since.timestamp()) and at < until)
    return counts


async def calls(stage: Stage) -> int:
    return len((await stage.simulator.control("GET", "requests"))["requests"])


async def test_estimate_of_an_earlier_date_costs_few_calls_and_is_about_right(stage: Stage) -> None:
    connection = await stage.connected(start_date=days_ago(20))
    before = await calls(stage)

    estimate = await stage.use_cases().start_dates.estimate(connection.id, days_ago(120))

    made = await calls(stage) - before
    assert (made <= MOST_CALLS, estimate.calls) == (True, made)
    assert estimate.objects is not None
    expected = truth(stage, days_ago(120), days_ago(20).timestamp())
    known = {name: count for name, count in estimate.by_resource.items() if count is not None}
    total = sum(expected[name] for name in known)
    assert total * 0.6 <= sum(known.values()) <= total * 1.6
    assert estimate.objects_least <= total * 1.1
    assert estimate.objects_most >= total * 0.9


async def test_estimate_of_everything_costs_few_calls_and_is_about_right(stage: Stage) -> None:
    connection = await stage.connected(start_date=days_ago(1))
    before = await calls(stage)

    estimate = await stage.use_cases().start_dates.estimate(connection.id, None)

    assert await calls(stage) - before <= MOST_CALLS
    known = {name: count for name, count in estimate.by_resource.items() if count is not None}
    expected = truth(stage, None, days_ago(1).timestamp())
    total = sum(expected[name] for name in known)
    assert total / 2 <= sum(known.values()) <= total * 2


async def test_estimate_of_a_quiet_account_that_has_become_busy_is_right_within_a_factor_of_two(
    database_url: str,
) -> None:
    """As the demo is: two years of history, and then so many changes in a minute as in weeks before."""
    async with set_up(database_url, objects=20_000) as stage:
        connection = await stage.connected(start_date=datetime.now(UTC))
        before = sum(truth(stage, None, time.time()).values())
        await stage.simulator.control("POST", "business", {"changes_per_second": 100})

        async def is_busy() -> bool:
            return sum(truth(stage, None, time.time()).values()) > before + 1500

        await eventually(is_busy, within=120)
        await stage.simulator.control("POST", "business", {"changes_per_second": 0})
        await stage.pool.execute("UPDATE connections SET start_date = now()")

        estimate = await stage.use_cases().start_dates.estimate(connection.id, None)

        total = sum(truth(stage, None, time.time()).values())
        assert estimate.calls <= MOST_CALLS
        assert estimate.objects is not None
        assert total / 2 <= estimate.objects <= total * 2


async def test_account_that_was_read_before_is_counted_and_not_estimated(stage: Stage) -> None:
    first = await stage.connected()
    await stage.pool.execute("UPDATE syncs SET status = 'running', started_at = now()")
    await stage.pool.execute("UPDATE syncs SET status = 'succeeded', finished_at = now()")
    await stage.pool.execute(ROWS)
    await stage.pool.execute(ROW, first.account_id, True, 1_700_000_000, 1_700_000_009)
    other = await stage.add_destination("other")
    second = await stage.connected(destination_ids=(other,), start_date=datetime.fromtimestamp(1_700_000_008, UTC))

    known = await stage.use_cases().start_dates.estimate(second.id, datetime.fromtimestamp(1_700_000_002, UTC))

    assert (known.objects, known.objects_least, known.objects_most, known.calls) == (6, 6, 6, 0)
    assert known.is_known
    assert known.by_resource["charge"] == 6
    assert known.sentence == "About 6 objects, about 5 s. Counted where this account was read before."


async def test_later_date_is_said_to_cost_nothing_and_how_many_rows_are_older(stage: Stage) -> None:
    connection = await stage.connected()
    await stage.pool.execute(ROWS)
    await stage.pool.execute(ROW, connection.account_id, True, 1_700_000_000, 1_700_000_009)
    await stage.pool.execute(ROW, "acct_other", True, 1_700_000_000, 1_700_000_009)

    estimate = await stage.use_cases().start_dates.estimate(connection.id, datetime.fromtimestamp(1_700_000_004, UTC))

    assert (estimate.objects, estimate.calls, estimate.older_rows) == (0, 0, 4)
    assert estimate.sentence == "Nothing has to be fetched. The destination has 4 rows of older objects."


async def test_earlier_date_has_only_the_new_range_fetched(stage: Stage) -> None:
    start, earlier = days_ago(30), days_ago(90)
    connection = await stage.connected(start_date=start)

    await stage.use_cases().start_dates.set(connection.id, earlier, by=BY)

    backfill = (await stage.syncs(connection.id))[0]
    assert (backfill.kind, backfill.trigger) == (Kind.BACKFILL, "start date moved")
    assert (backfill.range_start, backfill.range_end) == (earlier, start)
    assert (await stage.connection(connection.id)).start_date == earlier
    assert await stage.audited() == ["connection.created", "connection.start_date_set"]


@pytest.mark.parametrize("delete_older", [False, True])
async def test_later_date_deletes_rows_only_if_that_was_chosen(stage: Stage, delete_older: bool) -> None:
    connection = await stage.connected()
    before, later = await stage.syncs(connection.id), days_ago(30)

    await stage.use_cases().start_dates.set(connection.id, later, delete_older=delete_older, by=BY)

    assert await stage.syncs(connection.id) == before
    cleanups = await CleanupStore(stage.pool).of_connection(connection.id)
    assert [(one.destination_id, one.created_before) for one in cleanups] == (
        [(stage.destination_id, later)] if delete_older else []
    )


async def test_same_date_changes_nothing(stage: Stage) -> None:
    start = days_ago(30)
    connection = await stage.connected(start_date=start)
    before = await stage.syncs(connection.id)

    await stage.use_cases().start_dates.set(connection.id, start, by=BY)

    assert await stage.syncs(connection.id) == before


async def test_date_in_the_future_is_refused(stage: Stage) -> None:
    connection = await stage.connected()
    tomorrow = datetime.now(UTC) + timedelta(days=1)

    for use in (
        stage.use_cases().start_dates.set(connection.id, tomorrow, by=BY),
        stage.use_cases().start_dates.estimate(connection.id, tomorrow),
    ):
        with pytest.raises(PayloadError, match="lies in the future"):
            await use


async def test_connection_that_is_being_removed_keeps_its_date(stage: Stage) -> None:
    connection = await stage.connected()
    await stage.use_cases().removals.request(connection.id, account_name="Till Shop", delete_rows=False, by=BY)

    with pytest.raises(ConflictError, match="removing"):
        await stage.use_cases().start_dates.set(connection.id, days_ago(30), by=BY)
