"""Connecting an account, with a real database: what is made, what is refused, and what a crash leaves."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from shared.connections import Connection, State
from shared.errors import AppError, ConflictError, KafkaUnavailableError, KeyRefusedError, PayloadError
from shared.messages import parse_command
from shared.syncs import Kind, Status, SyncStore
from shared.topics import COMMANDS
from simulator.config import Faults
from simulator.resources import PERMISSIONS
from tests.integration.connection_api.stage import BY, Stage, set_up


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with set_up(database_url) as stage:
        yield stage


async def test_account_is_connected_with_endpoint_and_backfill(stage: Stage) -> None:
    connection_id = await stage.connect().connect(stage.wanted(), by=BY)

    (connection,) = await stage.connections()
    (backfill,) = await SyncStore(stage.pool).list_newest(connection_id)
    (endpoint,) = stage.simulator.simulation.endpoints.by_id.values()
    assert (connection.state, connection.account_name) == (State.ACTIVE, "Till Shop")
    assert connection.events_complete_to == endpoint.created
    assert (backfill.kind, backfill.status, backfill.resources) == (Kind.BACKFILL, Status.QUEUED, connection.resources)
    (record,) = stage.producer.records(COMMANDS)
    assert record.key == connection_id.encode()
    assert parse_command(record.value).sync_id == backfill.id


async def test_without_a_public_url_nothing_is_made_at_stripe(stage: Stage) -> None:
    await stage.connect(public_url=None).connect(stage.wanted(), by=BY)

    assert stage.endpoints_at_stripe() == 0
    assert [(one.state, one.live_by) for one in await stage.connections()] == [(State.ACTIVE, "polling")]


async def test_kafka_that_is_away_does_not_stop_a_connection(stage: Stage) -> None:
    stage.producer.error = KafkaUnavailableError()

    await stage.connect().connect(stage.wanted(), by=BY)

    assert [one.state for one in await stage.connections()] == [State.ACTIVE]


async def test_same_account_in_the_same_destination_is_refused(stage: Stage) -> None:
    await stage.connect().connect(stage.wanted(), by=BY)

    with pytest.raises(ConflictError, match="already connected"):
        await stage.connect().connect(stage.wanted(), by=BY)

    assert (len(await stage.connections()), stage.endpoints_at_stripe()) == (1, 1)


@pytest.mark.parametrize("missing", ["rak_charge_read", "rak_webhook_write"])
async def test_key_that_lacks_a_permission_leaves_nothing_behind(stage: Stage, missing: str) -> None:
    granted = PERMISSIONS - {missing} | ({"rak_webhook_read"} if missing.endswith("write") else set())
    key = stage.simulator.simulation.keys.create(granted)

    with pytest.raises(KeyRefusedError, match=missing) as caught:
        await stage.connect().connect(stage.wanted(key.secret), by=BY)

    assert caught.value.code == "missing_permissions"
    assert (await stage.connections(), stage.endpoints_at_stripe()) == ([], 0)


async def test_address_that_stripe_refuses_is_told_and_leaves_nothing_behind(stage: Stage) -> None:
    with pytest.raises(PayloadError) as caught:
        await stage.connect(public_url="nonsense").connect(stage.wanted(), by=BY)

    assert caught.value.status == 422
    assert await stage.connections() == []


async def test_key_that_may_not_read_its_account_syncs_all_the_rest(stage: Stage) -> None:
    """A backfill with a resource that can't be read would fail as a whole."""
    key = stage.simulator.simulation.keys.create(PERMISSIONS - {"rak_accounts_kyc_basic_read"})

    await stage.connect().connect(stage.wanted(key.secret), by=BY)

    (connection,) = await stage.connections()
    assert connection.state is State.ACTIVE
    assert "account" not in connection.resources
    assert "charge" in connection.resources


async def test_set_up_that_stripe_interrupted_goes_on_by_itself(stage: Stage) -> None:
    whole = stage.connect()
    original = whole._ensure_endpoint

    async def interrupted(connection: Connection) -> int:
        await original(connection)
        raise RuntimeError("killed")

    whole._ensure_endpoint = interrupted  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        await whole.connect(stage.wanted(), by=BY)
    await stage.pool.execute("DELETE FROM leases")

    later = stage.connect(now=lambda: time.time() + 120)
    await later.resume_unfinished()
    await later.resume_unfinished()

    (connection,) = await stage.connections()
    assert connection.state is State.ACTIVE
    assert stage.endpoints_at_stripe() == 1
    assert len(await SyncStore(stage.pool).list_newest(connection.id)) == 1


async def test_unfinished_set_up_whose_key_died_asks_for_action(stage: Stage) -> None:
    key = stage.simulator.simulation.keys.create()
    first = stage.connect()

    async def interrupted(_connection: Connection) -> int:
        raise RuntimeError("killed")

    first._ensure_endpoint = interrupted  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        await first.connect(stage.wanted(key.secret), by=BY)
    await stage.pool.execute("DELETE FROM leases")
    stage.simulator.simulation.keys.expire(key.secret)

    await stage.connect(now=lambda: time.time() + 120).resume_unfinished()

    (connection,) = await stage.connections()
    assert (connection.state, connection.cause_code) == (State.ACTION_REQUIRED, "api_key_expired")
    assert "API Key is invalid" in (connection.cause or "")


async def test_stripe_that_is_down_leaves_nothing_behind(stage: Stage) -> None:
    stage.simulator.simulation.faults = Faults(http_503=1.0)

    with pytest.raises(AppError) as caught:
        await stage.connect().connect(stage.wanted(), by=BY)

    assert caught.value.status == 503
    assert await stage.connections() == []
