"""Syncs that wait, are given up, are about one object or an hour, or read a new range: each costs what it must."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from shared.catalogue import BY_NAME
from shared.syncs import Counts, Kind, Status
from tests.integration.sync_worker.worlds import CONNECTION, World, world

COUNT = "INSERT INTO slice_counts (slice_id, destination_id, inserted) SELECT id, 'dst', records FROM slices"


async def finish(here: World) -> None:
    await here.confirm_everything()
    await here.completion().finish_confirmed()


async def interrupt(here: World, step: str, sync_id: str) -> None:
    """Fetch a slice, and take `step` while its first page is being published."""
    publish = here.producer.publish_all

    async def step_meanwhile(*what: object) -> object:
        here.producer.publish_all = publish  # type: ignore[method-assign]
        await getattr(here.syncs, step)(sync_id)
        return await publish(*what)  # type: ignore[arg-type]

    here.producer.publish_all = step_meanwhile  # type: ignore[method-assign, assignment]
    await here.backfill().fetch_one()


async def test_a_paused_sync_stops_at_its_checkpoint_and_goes_on_behind_it(here: World) -> None:
    sync_id = await here.start("charge")
    await interrupt(here, "pause", sync_id)
    assert len(here.published_ids()) == 100
    assert not await here.backfill().fetch_one()
    assert (await here.syncs.get(sync_id)).read == 100
    await here.syncs.resume(sync_id)
    await here.fetch_all()
    await finish(here)
    assert (await here.syncs.get(sync_id)).status is Status.SUCCEEDED
    assert Counter(here.published_ids()) == Counter(here.truth("charge"))


async def test_a_paused_sync_holds_up_no_other(here: World) -> None:
    paused = await here.start("charge")
    await here.syncs.pause(paused)
    other = await here.start("customer")
    await here.fetch_all()
    await finish(here)
    assert (await here.syncs.get(other)).status is Status.SUCCEEDED
    assert (await here.syncs.get(paused)).status is Status.PAUSED


async def test_a_sync_that_was_paused_before_its_start_is_planned_when_it_goes_on(here: World) -> None:
    sync_id = await here.syncs.create(CONNECTION, Kind.MANUAL, trigger="test", resources=["balance"])
    await here.syncs.pause(sync_id)
    assert await here.completion().start_queued() == 0
    await here.syncs.resume(sync_id)
    assert await here.completion().start_queued() == 1


async def test_what_a_lost_broker_had_of_a_paused_sync_is_fetched_again(here: World) -> None:
    sync_id = await here.start("balance")
    await here.fetch_all()
    await here.syncs.pause(sync_id)
    await here.completion("another-cluster").finish_confirmed()
    assert await here.pool.fetchval("SELECT status FROM slices") == "planned"


async def test_a_cancelled_sync_fetches_nothing_more_and_keeps_what_it_wrote(here: World) -> None:
    sync_id = await here.start("charge")
    await interrupt(here, "cancel", sync_id)
    assert not await here.backfill().fetch_one()
    assert len(await here.calls("/v1/charges")) == 1
    await finish(here)
    sync = await here.syncs.get(sync_id)
    assert sync.status is Status.CANCELLED
    assert sync.finished_at is not None
    [progress] = await here.syncs.progress(sync_id)
    assert (progress.cause_code, progress.share < 1) == ("cancelled", True)


async def test_a_cancelled_sync_counts_what_was_on_its_way(here: World) -> None:
    sync_id = await here.start("charge", "balance")
    await here.backfill().fetch_one()
    await here.syncs.cancel(sync_id)
    await here.completion().finish_confirmed()
    assert (await here.syncs.get(sync_id)).finished_at is None
    await here.pool.execute(COUNT)
    await finish(here)
    sync = await here.syncs.get(sync_id)
    assert sync.finished_at is not None
    assert sync.counts == Counts(inserted=sync.read)


async def test_a_cancelled_backfill_is_followed_by_nothing(here: World) -> None:
    await here.syncs.cancel(await here.start("charge"))
    await finish(here)
    assert [sync.status for sync in await here.syncs.list_newest()] == [Status.CANCELLED]


async def test_the_counts_of_an_ended_sync_do_not_hang_on_its_slices(here: World) -> None:
    sync_id = await here.start("charge", "customer")
    await here.fetch_all()
    await here.pool.execute(COUNT)
    await finish(here)
    read = len(here.truth("charge")) + len(here.truth("customer"))
    await here.pool.execute("DELETE FROM slices")
    sync = await here.syncs.get(sync_id)
    assert (sync.status, sync.share, sync.read) == (Status.SUCCEEDED, 1.0, read)
    assert sync.counts == Counts(inserted=read)


async def test_one_object_is_read_anew_with_one_call(here: World) -> None:
    identity = min(here.truth("charge"))
    connection = await here.connection()
    sync_id = await here.syncs.resync_object(connection, "charge", identity)
    await here.completion().start_queued()
    await here.fetch_all()
    await finish(here)
    sync = await here.syncs.get(sync_id)
    assert (sync.status, sync.read, sync.stripe_calls) == (Status.SUCCEEDED, 1, 1)
    assert here.published_ids() == [identity]


async def test_resources_are_read_anew_from_the_start_date_on(here: World) -> None:
    newest = await here.pool.fetchval(
        "UPDATE connections SET start_date = now() - interval '90 days' RETURNING start_date"
    )
    await here.syncs.resync(await here.connection(), ["charge"])
    await here.completion().start_queued()
    await here.fetch_all()
    assert set(here.published_ids()) == created_in(here, "charge", newest, datetime.now(UTC) + timedelta(days=1))


@pytest.mark.parametrize(("ends_ago", "is_ended"), [("2 minutes", True), ("30 seconds", False), ("-5 minutes", False)])
async def test_an_hour_of_live_changes_ends_when_it_is_past(here: World, ends_ago: str, *, is_ended: bool) -> None:
    sync_id = await here.syncs.create(CONNECTION, Kind.LIVE, trigger="webhooks", resources=["charge"])
    sql = "UPDATE syncs SET status = 'running', updated = 3, records = 3, range_end = now() - $1::text::interval"
    await here.pool.execute(sql, ends_ago)
    await here.completion().finish_confirmed()
    sync = await here.syncs.get(sync_id)
    assert sync.status is (Status.SUCCEEDED if is_ended else Status.RUNNING)
    assert sync.finished_at == (sync.range_end if is_ended else None)
    assert sync.counts == Counts(updated=3)


def created_in(here: World, resource: str, start: datetime, end: datetime) -> set[str]:
    """Return the objects that were made from `start` until before `end`, as the simulator knows them."""
    table = here.simulation.platform.store.tables[resource]
    seconds = {table.ids[at]: int(table.at(at)["created"]) for at in range(len(table.ids)) if table.at(at)}
    return {one for one, made in seconds.items() if start.timestamp() <= made < end.timestamp()}


async def test_an_earlier_start_date_costs_the_pages_of_the_new_range_and_few_more(database_url: str) -> None:
    async with world(database_url, objects=30_000) as here:
        end = datetime.now(UTC).replace(microsecond=0) - timedelta(days=90)
        start = end - timedelta(days=365)
        resources = ("charge", "customer", "invoice", "payment_intent", "balance_transaction")
        await here.syncs.create(
            CONNECTION, Kind.BACKFILL, trigger="test", resources=resources, range_start=start, range_end=end
        )
        await here.completion().start_queued()
        await here.fetch_all()
        wanted = {name: created_in(here, name, start, end) for name in resources}
        assert Counter(here.published_ids()) == Counter(one for ids in wanted.values() for one in ids)
        for name in resources:
            pages = math.ceil(len(wanted[name]) / 100)
            assert pages > 3, name
            assert len(await here.calls(BY_NAME[name].list_path)) <= pages + 2, name
