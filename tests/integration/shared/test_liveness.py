"""Every loop of a service turns while nothing happens, and by that the service is alive."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import TestClient, TestServer

from shared.heartbeat import STUCK_AFTER
from shared.http import BACKGROUND
from tests.eventually import eventually
from tests.integration.shared.test_outages import SERVICES, values_of

LOOPS = {
    "webhook_gateway": {"notes of refused webhooks"},
    "connection_api": {"State._finish"},
    "destination_writer": {"destinations", "cleaning", "retry", "searches", "second look"},
    "sync_worker": {"slices", "completion", "polling", "schedule", "removals", "faults"},
}
IDLE_FOR_LONG = {"dead letters"}  # sweeps every five minutes


@pytest.mark.parametrize("service", SERVICES)
async def test_every_loop_turns_while_nothing_happens(
    service: str, database_url: str, kafka_bootstrap_servers: str, topic_prefix: str
) -> None:
    app = SERVICES[service](values_of(database_url, kafka_bootstrap_servers, topic_prefix))
    async with TestClient(TestServer(app)) as client:

        async def is_ready() -> bool:
            return (await client.get("/readyz")).status == 200

        await eventually(is_ready, within=60)
        heartbeats = app[BACKGROUND].heartbeats
        await eventually(lambda: LOOPS[service] <= {heart.name for heart in heartbeats._hearts}, within=60)
        for heart in heartbeats._hearts:
            heart._last -= STUCK_AFTER + 1
        assert (await client.get("/livez")).status == 503
        await eventually(lambda: heartbeats.stuck().keys() <= IDLE_FOR_LONG, within=60, what="every loop has turned")
