"""Probes in an outage: a service that has lost Kafka or its database is alive, not ready, and comes back by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.connection_api.app import create_app as make_api
from services.connection_api.settings import ApiSettings
from services.destination_writer.app import create_app as make_writer
from services.destination_writer.settings import WriterSettings
from services.sync_worker.app import create_app as make_worker
from services.sync_worker.settings import WorkerSettings
from services.webhook_gateway.app import create_app as make_gateway
from services.webhook_gateway.settings import GatewaySettings
from shared.crypto import make_encryption_key
from shared.http import BACKGROUND
from tests.e2e.brokers import OwnBroker
from tests.eventually import eventually
from tests.proxy import Proxy

PATIENCE = 60.0  # seconds
ANSWERED_WITHIN = 10.0  # seconds; a probe that waits for a silent server says nothing
Make = Callable[[dict[str, Any]], web.Application]

SERVICES: dict[str, Make] = {
    "webhook_gateway": lambda values: make_gateway(GatewaySettings.model_validate(values)),
    "destination_writer": lambda values: make_writer(WriterSettings.model_validate(values)),
    "sync_worker": lambda values: make_worker(WorkerSettings.model_validate(values)),
    "connection_api": lambda values: make_api(ApiSettings.model_validate(values)),
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnBroker]:
    """A broker that can be paused: behind a proxy, clients would find the way around it."""
    own = OwnBroker(Path(tmp_path_factory.mktemp("kafka")))
    own.start()
    yield own
    own.resume()
    own.kill()


def values_of(database_url: str, kafka: str, topic_prefix: str) -> dict[str, Any]:
    return {
        "database_url": database_url,
        "kafka_bootstrap_servers": kafka,
        "topic_prefix": topic_prefix,
        "topic_partitions": 2,
        "encryption_keys": make_encryption_key("test"),
    }


async def go_through_an_outage(
    app: web.Application, begin: Callable[[], None], end: Callable[[], Awaitable[None]]
) -> None:
    async with TestClient(TestServer(app)) as client:

        async def is_ready() -> bool:
            async with asyncio.timeout(ANSWERED_WITHIN):
                assert (await client.get("/livez")).status == 200
                return (await client.get("/readyz")).status == 200

        async def is_unready() -> bool:
            return not await is_ready()

        await eventually(is_ready, within=PATIENCE, what="readiness")
        begin()
        await eventually(is_unready, within=PATIENCE, what="readiness is false")
        await end()
        await eventually(is_ready, within=PATIENCE, what="readiness is true again")
        assert not app[BACKGROUND].failed.done()


@pytest.mark.parametrize("service", ["destination_writer", "sync_worker", "connection_api"])
async def test_service_that_has_lost_its_database_is_unready_and_never_dead(
    service: str, database_url: str, kafka_bootstrap_servers: str, topic_prefix: str
) -> None:
    url = urlsplit(database_url)
    async with Proxy(str(url.hostname), url.port or 5432) as proxy:
        user, _, _ = url.netloc.rpartition("@")
        through = urlunsplit(url._replace(netloc=f"{user}@127.0.0.1:{proxy.port}"))

        def fall_silent() -> None:
            proxy.is_silent = True

        async def come_back() -> None:
            proxy.is_silent = False
            await proxy.cut()

        app = SERVICES[service](values_of(through, kafka_bootstrap_servers, topic_prefix))
        await go_through_an_outage(app, fall_silent, come_back)


@pytest.mark.parametrize("service", ["webhook_gateway", "destination_writer", "sync_worker"])
async def test_service_that_has_lost_kafka_is_unready_and_never_dead(
    service: str, broker: OwnBroker, database_url: str, topic_prefix: str
) -> None:
    async def come_back() -> None:
        broker.resume()

    app = SERVICES[service](values_of(database_url, broker.address, topic_prefix))
    await go_through_an_outage(app, broker.pause, come_back)
