"""The whole worker, on a real broker: it takes up what waits, and says when it can work."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from services.sync_worker.app import create_app
from tests.eventually import eventually
from tests.integration.sync_worker.belongings import ask, receipt
from tests.integration.sync_worker.worlds import CONNECTION, World

Client = TestClient  # type: ignore[type-arg]


@pytest.fixture
async def worker(here: World, kafka_bootstrap_servers: str, topic_prefix: str) -> AsyncIterator[Client]:
    changes = {"kafka_bootstrap_servers": kafka_bootstrap_servers, "topic_prefix": topic_prefix, "poll_seconds": 0.2}
    settings = here.settings.model_copy(update=changes)
    async with TestClient(TestServer(create_app(settings))) as client:
        yield client


async def is_ready(worker: Client) -> bool:
    return (await worker.get("/readyz")).status == 200


async def test_a_sync_that_waits_is_fetched_onto_the_broker(here: World, worker: Client) -> None:
    await here.start("charge", "customer", "balance")
    left = "SELECT count(*) FROM slices WHERE status = 'planned'"

    async def is_fetched() -> bool:
        return not await here.pool.fetchval(left)

    await eventually(is_fetched, within=30)
    assert await here.pool.fetch("SELECT resource, cause FROM slices WHERE status = 'failed'") == []
    assert await here.pool.fetchval("SELECT sum(records) FROM slices") == (
        len(here.truth("charge")) + len(here.truth("customer")) + 1
    )
    assert await here.pool.fetchval("SELECT sum(last_offset) FROM slice_offsets") > 0


async def test_a_worker_that_works_is_ready(worker: Client) -> None:
    await eventually(lambda: is_ready(worker), within=30)
    assert (await worker.get("/livez")).status == 200


async def test_a_missed_event_is_made_up_for_without_a_webhook(here: World, worker: Client) -> None:
    await here.control("POST", "scenarios/update_customer")
    known = "SELECT count(*) FROM event_log WHERE connection_id = $1 AND outcome = 'asked_stripe'"

    async def is_known() -> bool:
        return bool(await here.pool.fetchval(known, CONNECTION))

    await eventually(is_known, within=30)


async def test_a_dead_key_leaves_the_worker_alive(here: World, worker: Client) -> None:
    await eventually(lambda: is_ready(worker), within=30)
    await here.control("POST", f"keys/{await here.key()}/expire")

    async def is_noticed() -> bool:
        return bool((await here.connection()).cause_code == "api_key_expired")

    await eventually(is_noticed, within=30)
    assert await is_ready(worker)
    assert len([call for call in await here.calls() if call["status"] == 401]) <= 3


async def test_a_removal_that_was_asked_for_is_carried_out(here: World, worker: Client) -> None:
    await ask(here)

    async def is_done() -> bool:
        return (await receipt(here)).is_done

    await eventually(is_done, within=60)
