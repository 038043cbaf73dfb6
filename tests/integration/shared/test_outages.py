"""Probes in an outage: a service that has lost Kafka or its database is alive, not ready, and comes back by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
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
from shared.crypto import make_encryption_key
from shared.http import BACKGROUND
from tests.eventually import eventually
from tests.proxy import Proxy

NOTICED_WITHIN = 5.0  # seconds until readiness says what has happened
ANSWERED_WITHIN = 3.0  # seconds; a probe that waits for a silent server says nothing
Make = Callable[[dict[str, Any]], web.Application]

SERVICES: dict[str, Make] = {
    "destination_writer": lambda values: make_writer(WriterSettings.model_validate(values)),
    "sync_worker": lambda values: make_worker(WorkerSettings.model_validate(values)),
    "connection_api": lambda values: make_api(ApiSettings.model_validate(values)),
}
OUTAGES = [
    ("destination_writer", "kafka"),
    ("destination_writer", "database"),
    ("sync_worker", "kafka"),
    ("sync_worker", "database"),
    ("connection_api", "database"),
]


@asynccontextmanager
async def behind_proxies(database_url: str, kafka: str) -> AsyncIterator[tuple[dict[str, Proxy], dict[str, Any]]]:
    """Lend a proxy before each server, and the settings that lead through them."""
    url, (host, _, port) = urlsplit(database_url), kafka.partition(":")
    async with Proxy(str(url.hostname), url.port or 5432) as database, Proxy(host, int(port)) as broker:
        user, _, _ = url.netloc.rpartition("@")
        yield (
            {"database": database, "kafka": broker},
            {
                "database_url": urlunsplit(url._replace(netloc=f"{user}@127.0.0.1:{database.port}")),
                "kafka_bootstrap_servers": f"127.0.0.1:{broker.port}",
                "topic_partitions": 2,
                "encryption_keys": make_encryption_key("test"),
            },
        )


@pytest.mark.parametrize(("service", "what"), OUTAGES)
async def test_outage_makes_a_service_unready_and_never_dead(
    service: str, what: str, database_url: str, kafka_bootstrap_servers: str, topic_prefix: str
) -> None:
    async with behind_proxies(database_url, kafka_bootstrap_servers) as (proxies, values):
        app = SERVICES[service](values | {"topic_prefix": topic_prefix})
        async with TestClient(TestServer(app)) as client:

            async def is_ready() -> bool:
                async with asyncio.timeout(ANSWERED_WITHIN):
                    assert (await client.get("/livez")).status == 200
                    return (await client.get("/readyz")).status == 200

            async def is_unready() -> bool:
                return not await is_ready()

            await eventually(is_ready, within=30, what="readiness")
            proxies[what].is_silent = True
            await eventually(is_unready, within=NOTICED_WITHIN, what="readiness is false")
            proxies[what].is_silent = False
            await proxies[what].cut()
            await eventually(is_ready, within=NOTICED_WITHIN * 2, what="readiness is true again")
            assert not app[BACKGROUND].failed.done()
