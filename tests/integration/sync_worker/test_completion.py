"""A sync has succeeded when the writers are done with its last record, and never earlier."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from services.sync_worker.completion import Completion
from services.sync_worker.handlers import Handlers
from shared.broker_log import CurrentLog
from shared.errors import DatabaseUnavailableError, MessageError
from shared.messages import RequestSync
from shared.syncs import Kind, Status, SyncStore
from tests.factories import make_message
from tests.integration.sync_worker.worlds import CLUSTER, CONNECTION, World

PARK = """
INSERT INTO parked_records (destination_id, connection_id, resource, object_id, stamp, body, origin, is_deleted,
                            slice_id, topic, partition, record_offset, reason, next_try_at)
SELECT d.id, $1, 'charge', 'ch_1', 1, '{}', 'listed', false, s.id, 't', 0, 0, 'down', now()
FROM destinations d, slices s LIMIT 1
"""


async def fetched(here: World, *resources: str) -> str:
    sync_id = await here.start(*resources)
    await here.fetch_all()
    return sync_id


async def status(here: World, sync_id: str) -> Status:
    await here.completion().finish_confirmed()
    return (await here.syncs.get(sync_id)).status


async def test_a_writer_that_is_one_record_behind_holds_the_sync_open(here: World) -> None:
    sync_id = await fetched(here, "charge")
    await here.confirm_everything()
    await here.pool.execute("UPDATE writer_progress SET next_offset = next_offset - 1")
    assert await status(here, sync_id) is Status.RUNNING


async def test_a_parked_record_holds_the_sync_open(here: World) -> None:
    sync_id = await fetched(here, "charge")
    await here.confirm_everything()
    await here.pool.execute(PARK, CONNECTION)
    assert await status(here, sync_id) is Status.RUNNING
    await here.pool.execute("DELETE FROM parked_records")
    assert await status(here, sync_id) is Status.SUCCEEDED


async def test_progress_on_another_broker_confirms_nothing(here: World) -> None:
    sync_id = await fetched(here, "charge")
    await here.confirm_everything("another-cluster")
    assert await status(here, sync_id) is Status.RUNNING


async def test_what_another_broker_lost_is_published_once_more(here: World) -> None:
    sync_id = await fetched(here, "charge", "customer")
    await here.completion("another-cluster").finish_confirmed()
    here.producer.published.clear()
    while await here.backfill(cluster="another-cluster").fetch_one():
        pass
    assert set(here.published_ids()) == here.truth("charge") | here.truth("customer")
    await here.confirm_everything("another-cluster")
    await here.completion("another-cluster").finish_confirmed()
    assert (await here.syncs.get(sync_id)).status is Status.SUCCEEDED


async def test_what_was_confirmed_is_not_fetched_again(here: World) -> None:
    await fetched(here, "charge")
    await here.confirm_everything()
    await here.pool.execute("UPDATE slices SET status = 'confirmed'")
    await here.completion("another-cluster").finish_confirmed()
    assert await here.pool.fetchval("SELECT count(*) FROM slices WHERE status = 'planned'") == 0


async def test_a_resource_that_failed_fails_the_sync_with_its_cause(here: World) -> None:
    await here.control("POST", f"keys/{await here.key()}/revoke", {"permissions": ["rak_customer_read"]})
    sync_id = await fetched(here, "charge", "customer")
    await here.confirm_everything()
    assert await status(here, sync_id) is Status.FAILED
    sync = await here.syncs.get(sync_id)
    assert sync.cause_code == "missing_permissions"
    assert sync.cause is not None
    assert "rak_customer_read" in sync.cause


async def test_a_resource_that_the_account_does_not_have_fails_nothing(here: World) -> None:
    sync_id = await fetched(here, "charge", "test_clock")
    await here.confirm_everything()
    assert await status(here, sync_id) is Status.SUCCEEDED
    progress = {one.resource: one.cause_code for one in await here.syncs.progress(sync_id)}
    assert progress == {"charge": None, "test_clock": "resource_unavailable"}


@pytest.mark.parametrize("kind", [Kind.GAP_FILL, Kind.RECONCILE, Kind.MANUAL])
async def test_only_a_backfill_is_followed_by_a_gap_fill(here: World, kind: Kind) -> None:
    await here.syncs.create(CONNECTION, kind, trigger="test", resources=["balance"])
    await here.completion().start_queued()
    await here.fetch_all()
    await here.confirm_everything()
    await here.completion().finish_confirmed()
    assert [sync.kind for sync in await here.syncs.list_newest()] == [kind]


async def test_after_a_backfill_lists_are_read_from_its_start_on(here: World) -> None:
    sync_id = await fetched(here, "charge")
    await here.confirm_everything()
    await here.completion().finish_confirmed()
    started_at = (await here.syncs.get(sync_id)).started_at
    assert started_at is not None
    listed_to = await here.pool.fetchval("SELECT listed_to FROM list_tails WHERE resource = 'charge'")
    assert listed_to <= started_at.timestamp()


async def test_a_sync_is_started_once(here: World) -> None:
    await here.start("charge", "customer")
    await here.completion().start_queued()
    assert await here.pool.fetchval("SELECT count(*) FROM slices") == 2


async def test_a_sync_of_nothing_succeeds_and_holds_nothing_up(here: World) -> None:
    empty = await here.start()
    other = await fetched(here, "balance")
    await here.confirm_everything()
    assert await status(here, empty) is Status.SUCCEEDED
    assert await status(here, other) is Status.SUCCEEDED


async def test_a_range_is_kept_to_at_both_ends(here: World) -> None:
    start, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
    await here.syncs.create(
        CONNECTION, Kind.MANUAL, trigger="test", resources=["charge"], range_start=start, range_end=end
    )
    await here.completion().start_queued()
    [row] = await here.pool.fetch("SELECT range_start, range_end FROM slices")
    assert tuple(row) == (start.timestamp(), end.timestamp())


async def test_a_paused_connection_starts_no_sync(here: World) -> None:
    await here.pool.execute("UPDATE connections SET state = 'paused'")
    sync_id = await here.start("charge")
    assert await status(here, sync_id) is Status.QUEUED


class FailingSyncs(SyncStore):
    """Fails to queue a sync, as when the database goes away at that moment."""

    async def create(self, *what: object, **how: object) -> str:
        raise DatabaseUnavailableError


async def test_a_backfill_does_not_end_without_its_gap_fill(here: World) -> None:
    sync_id = await fetched(here, "charge")
    await here.confirm_everything()
    failing = Completion(here.pool, FailingSyncs(here.pool), here.slices(), log=CurrentLog(CLUSTER))
    with pytest.raises(DatabaseUnavailableError):
        await failing.finish_confirmed()
    assert (await here.syncs.get(sync_id)).status is Status.RUNNING
    assert await status(here, sync_id) is Status.SUCCEEDED
    assert [sync.kind for sync in await here.syncs.list_newest()] == [Kind.GAP_FILL, Kind.BACKFILL]


async def test_a_command_starts_what_waits_and_ends_a_pause(here: World) -> None:
    sync_id = await here.syncs.create(CONNECTION, Kind.MANUAL, trigger="test", resources=["balance"])
    wake = asyncio.Event()
    command = RequestSync(connection_id=CONNECTION, sync_id=sync_id)
    await Handlers(here.completion(), wake).take_commands([make_message(command.model_dump_json().encode())])
    assert wake.is_set()
    assert (await here.syncs.get(sync_id)).status is Status.RUNNING


async def test_a_command_that_can_not_be_read_is_refused(here: World) -> None:
    with pytest.raises(MessageError):
        await Handlers(here.completion(), asyncio.Event()).take_commands([make_message(b"{}")])
