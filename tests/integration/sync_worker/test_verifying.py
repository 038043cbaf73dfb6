"""A scheduled comparison is queued once when it is due, whoever looks, and waits while it can't be made."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from services.sync_worker.verifying import Verifying
from shared.connections import State
from shared.db import transaction
from shared.syncs import Kind, Sync
from shared.verify_schedules import HowOften, VerifySchedule, VerifyScheduleStore
from tests.integration.sync_worker.worlds import CONNECTION, World

MADE = datetime(2026, 3, 1, 12, tzinfo=UTC)
NIGHT = datetime(2026, 3, 2, 2, tzinfo=UTC)


def worker(here: World, now: datetime) -> Verifying:
    return Verifying(here.pool, here.connections, now=lambda: now)


async def choose(here: World, how_often: HowOften = HowOften.DAILY, pages: int = 3) -> None:
    async with transaction(here.pool) as db:
        schedule = VerifySchedule(how_often, hour=2, zone="UTC", pages=pages)
        await VerifyScheduleStore(here.pool).put(CONNECTION, schedule, now=MADE, db=db)


async def verifies(here: World) -> list[Sync]:
    return [sync for sync in await here.syncs.list_newest() if sync.kind is Kind.VERIFY]


async def end(here: World) -> None:
    for status in ("running", "succeeded"):
        await here.pool.execute("UPDATE syncs SET status = $1 WHERE status IN ('queued', 'running')", status)


async def next_run_at(here: World) -> datetime | None:
    return (await VerifyScheduleStore(here.pool).get(CONNECTION)).next_run_at


async def test_nothing_is_compared_before_somebody_has_chosen_it(here: World) -> None:
    assert await worker(here, NIGHT).queue_due() == 0
    assert await VerifyScheduleStore(here.pool).get(CONNECTION) == VerifySchedule()


async def test_a_run_is_queued_when_its_hour_has_come(here: World) -> None:
    await choose(here)
    assert await worker(here, NIGHT - timedelta(seconds=1)).queue_due() == 0
    assert await worker(here, NIGHT).queue_due() == 1
    [sync] = await verifies(here)
    assert sync.trigger == "daily"
    assert await here.pool.fetchval("SELECT sample_pages FROM syncs WHERE id = $1", sync.id) == 3
    assert await next_run_at(here) == NIGHT + timedelta(days=1)


async def test_many_missed_nights_are_caught_up_once(here: World) -> None:
    await choose(here)
    late = NIGHT + timedelta(days=30, hours=5)
    assert await worker(here, late).queue_due() == 1
    await end(here)
    assert await worker(here, late).queue_due() == 0
    assert await next_run_at(here) == NIGHT + timedelta(days=31)


async def test_two_workers_queue_one_run(here: World) -> None:
    await choose(here)
    queued = await asyncio.gather(*(worker(here, NIGHT).queue_due() for _ in range(4)))
    assert sum(queued) == 1
    assert len(await verifies(here)) == 1


@pytest.mark.parametrize("kind", ["verify", "backfill"])
async def test_a_run_waits_for_the_one_that_has_not_ended(here: World, kind: str) -> None:
    await choose(here)
    await here.pool.execute(
        """INSERT INTO syncs (id, connection_id, kind, trigger, status, resources)
           VALUES ('syn_1', $1, $2, 'requested', 'queued', '{customer}')""",
        CONNECTION,
        kind,
    )
    assert await worker(here, NIGHT).queue_due() == 0
    await end(here)
    assert await worker(here, NIGHT + timedelta(hours=1)).queue_due() == 1


@pytest.mark.parametrize("state", [State.PAUSED, State.ACTION_REQUIRED])
async def test_a_run_waits_until_the_connection_is_active(here: World, state: State) -> None:
    await choose(here)
    await here.connections.set_state(CONNECTION, state)
    assert await worker(here, NIGHT + timedelta(days=3)).queue_due() == 0
    await here.connections.set_state(CONNECTION, State.ACTIVE)
    assert await worker(here, NIGHT + timedelta(days=3)).queue_due() == 1


async def test_never_ends_the_schedule(here: World) -> None:
    await choose(here)
    await choose(here, HowOften.NEVER)
    assert await worker(here, NIGHT + timedelta(days=9)).queue_due() == 0


async def test_weekly_runs_on_sundays(here: World) -> None:
    await choose(here, HowOften.WEEKLY)  # 1 March 2026 is a Sunday, and its hour is over
    assert await next_run_at(here) == datetime(2026, 3, 8, 2, tzinfo=UTC)


async def test_the_loop_queues_what_is_due_and_wakes_the_fetchers(here: World) -> None:
    await choose(here)
    wake = asyncio.Event()
    running = asyncio.create_task(worker(here, NIGHT).run(wake))
    try:
        await asyncio.wait_for(wake.wait(), 10)
    finally:
        running.cancel()
    assert len(await verifies(here)) == 1
