"""Stripe's feed has 30 days: what was missed before is found by reading everything again, once, and people see why."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from services.sync_worker.completion import GAP_BEYOND_FEED
from shared.connections import State
from shared.syncs import Kind, Status, Sync
from tests.integration.sync_worker.worlds import CONNECTION, SYNCED, World

DAY = 86_400


async def backfills(here: World) -> list[Sync]:
    return await here.syncs.list_newest(kind=Kind.BACKFILL)


async def compare(here: World, *, days_later: float = 0.0) -> str:
    """Begin a comparison as it would be after so many days."""
    now = time.time() + days_later * DAY
    sync_id = await here.syncs.reconcile(await here.connection(), trigger="resumed", now=now)
    await here.completion(now=lambda: now).start_queued()
    return sync_id


async def end(here: World) -> None:
    await here.completion().start_queued()
    await here.fetch_all()
    await here.confirm_everything()
    await here.completion().finish_confirmed()


async def test_a_gap_that_the_feed_reaches_is_filled_from_it_alone(here: World) -> None:
    await here.connections.advance_events(CONNECTION, int(time.time()))
    await compare(here, days_later=29.9)
    assert await backfills(here) == []


@pytest.mark.parametrize("days", [30, 31, 400])
async def test_a_longer_gap_has_everything_read_again_and_says_why(here: World, days: int) -> None:
    await here.connections.advance_events(CONNECTION, int(time.time()))
    await compare(here, days_later=days)
    [sync] = await backfills(here)
    assert (sync.trigger, sync.status) == ("gap of more than 30 days", Status.QUEUED)
    assert sync.trigger == GAP_BEYOND_FEED
    assert sorted(sync.resources) == sorted(SYNCED)


async def test_events_that_would_expire_while_they_are_read_count_as_gone(here: World) -> None:
    await here.connections.advance_events(CONNECTION, int(time.time()))
    await compare(here, days_later=30 - 0.02)
    assert len(await backfills(here)) == 1


async def test_everything_is_read_from_the_start_date_on(here: World) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    await here.pool.execute("UPDATE connections SET start_date = $1", start)
    await here.connections.advance_events(CONNECTION, int(time.time()) - 31 * DAY)
    await compare(here)
    [sync] = await backfills(here)
    assert sync.range_start == start


async def test_what_changed_before_the_feed_began_is_found(here: World) -> None:
    await here.connections.advance_events(CONNECTION, int(time.time()) - 31 * DAY)
    await compare(here)
    await end(here)
    assert set(here.published_ids()) >= here.truth("charge") | here.truth("customer") | here.truth("payment_method")
    marked = (await here.connection()).events_complete_to
    assert marked is not None
    assert marked > time.time() - 60


async def test_it_is_read_again_once(here: World) -> None:
    await here.connections.advance_events(CONNECTION, int(time.time()) - 31 * DAY)
    await compare(here)
    await compare(here)
    assert len(await backfills(here)) == 1
    await end(here)
    await compare(here)
    assert len(await backfills(here)) == 1


async def test_a_new_long_gap_is_read_again_anew(here: World) -> None:
    await here.connections.advance_events(CONNECTION, int(time.time()) - 31 * DAY)
    await compare(here)
    await end(here)
    await compare(here, days_later=31)
    assert len(await backfills(here)) == 2


async def test_a_connection_that_was_paused_for_long_catches_up_when_it_is_resumed(here: World) -> None:
    await here.connections.advance_events(CONNECTION, int(time.time()))
    await here.connections.set_state(CONNECTION, State.PAUSED)
    await compare(here, days_later=40)
    assert await backfills(here) == []  # it makes no calls
    await here.connections.set_state(CONNECTION, State.ACTIVE)
    await here.completion(now=lambda: time.time() + 40 * DAY).start_queued()
    assert [sync.trigger for sync in await backfills(here)] == [GAP_BEYOND_FEED]


async def test_a_sync_that_does_not_compare_the_feed_says_nothing_of_gaps(here: World) -> None:
    await here.connections.advance_events(CONNECTION, int(time.time()) - 31 * DAY)
    await here.start("charge")
    assert [sync.trigger for sync in await backfills(here)] == ["test"]
