"""A comparison with Stripe is queued when it is due, once, whoever looks."""

from __future__ import annotations

import time

from services.sync_worker.schedule import AT_START, TAKE_TURN
from shared.connections import State
from shared.syncs import EVENT_FEED, Kind, Sync
from tests.integration.sync_worker.worlds import CONNECTION, World


async def reconciles(here: World) -> list[Sync]:
    return [sync for sync in await here.syncs.list_newest() if sync.kind is Kind.RECONCILE]


async def age(here: World, interval: str) -> None:
    await here.pool.execute("UPDATE syncs SET status = 'running' WHERE status = 'queued'")
    await here.pool.execute(f"UPDATE syncs SET status = 'succeeded', created_at = created_at - interval '{interval}'")


async def test_a_start_is_followed_by_a_comparison(here: World) -> None:
    await here.schedule().queue_due()
    [sync] = await reconciles(here)
    assert sync.resources[0] == EVENT_FEED
    assert "balance" in sync.resources


async def test_nothing_is_queued_before_it_is_due(here: World) -> None:
    await here.schedule().queue_due()
    await age(here, "14 minutes")
    await here.schedule().queue_due()
    assert len(await reconciles(here)) == 1


async def test_the_next_one_is_queued_when_it_is_due(here: World) -> None:
    await here.schedule().queue_due()
    await age(here, "16 minutes")
    await here.schedule().queue_due()
    assert len(await reconciles(here)) == 2


async def test_one_that_has_not_ended_is_not_joined_by_another(here: World) -> None:
    await here.schedule().queue_due()
    await here.pool.execute("UPDATE syncs SET created_at = created_at - interval '2 hours'")
    await here.schedule().queue_due()
    assert len(await reconciles(here)) == 1


async def test_a_backfill_stands_for_a_comparison(here: World) -> None:
    await here.start("charge")
    await here.schedule().queue_due()
    assert await reconciles(here) == []


async def test_nothing_is_queued_while_another_worker_looks(here: World) -> None:
    async with here.pool.acquire() as other, other.transaction():
        await other.fetchval(TAKE_TURN)
        await here.schedule().queue_due()
        assert await reconciles(here) == []
    await here.schedule().queue_due()
    assert len(await reconciles(here)) == 1


async def test_a_connection_that_is_paused_is_left_alone(here: World) -> None:
    await here.connections.set_state(CONNECTION, State.PAUSED)
    await here.schedule().queue_due()
    assert await reconciles(here) == []


async def test_lists_are_read_far_back_once_a_day_and_else_only_the_newest(here: World) -> None:
    await here.schedule().queue_due()
    await age(here, "16 minutes")
    await here.schedule().queue_due()
    often, daily = await reconciles(here)
    assert daily.trigger == "daily"
    assert daily.range_start is not None
    assert often.range_start is not None
    assert (often.range_start - daily.range_start).days >= 34


async def test_lists_are_not_read_further_back_than_the_start_date(here: World) -> None:
    await here.pool.execute("UPDATE connections SET start_date = now() - interval '1 day'")
    await here.schedule(now=time.time()).queue_due()
    [sync] = await reconciles(here)
    assert sync.range_start == (await here.connection()).start_date


async def test_a_start_compares_what_was_not_compared_within_the_last_minute(here: World) -> None:
    await here.schedule().queue_due()
    await age(here, "50 seconds")
    await here.schedule().queue_due(AT_START)
    assert len(await reconciles(here)) == 1
    await age(here, "20 seconds")
    await here.schedule().queue_due(AT_START)
    assert len(await reconciles(here)) == 2


async def test_a_backfill_that_takes_long_keeps_no_comparison_waiting(here: World) -> None:
    await here.start("charge")
    await here.pool.execute("UPDATE syncs SET created_at = created_at - interval '16 minutes'")
    await here.schedule().queue_due()
    assert len(await reconciles(here)) == 1


async def test_records_that_wait_for_a_destination_keep_no_comparison_waiting(here: World) -> None:
    await here.schedule().queue_due()
    await here.completion().start_queued()
    await here.fetch_all()
    await here.pool.execute("UPDATE syncs SET created_at = created_at - interval '16 minutes'")
    await here.schedule().queue_due()
    assert len(await reconciles(here)) == 2
