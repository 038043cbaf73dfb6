"""The gateway with a real Kafka and a real Postgres, and without them."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from services.webhook_gateway.app import create_app
from services.webhook_gateway.endpoints import EndpointCache
from services.webhook_gateway.settings import GatewaySettings
from shared.dead_letters import parse_dead_letter
from shared.endpoint_secrets import Endpoint
from shared.messages import EventHeaders
from shared.topics import DEAD_LETTERS, EVENTS, Topic
from tests.eventually import eventually
from tests.unit.webhook_gateway.webhooks import ENDPOINT, NOW, SECRET, URL, header, make_body, make_settings

Client = TestClient[web.Request, web.Application]
INSERT = """
INSERT INTO tillstream.connections (id, account_id, account_name, livemode, state, key_hint, resources, live_by)
VALUES ('con_1', 'acct_1', 'Ada', true, 'active', 'rk_live_...1', '{}', 'webhooks');
INSERT INTO tillstream.webhook_endpoints (id, connection_id, url) VALUES ('we_1', 'con_1', 'https://example.com');
"""


@pytest.fixture
def settings(database_url: str, kafka_bootstrap_servers: str, topic_prefix: str) -> GatewaySettings:
    return make_settings(
        database_url=database_url,
        kafka_bootstrap_servers=kafka_bootstrap_servers,
        topic_prefix=topic_prefix,
        topic_partitions=2,
    )


@pytest.fixture
async def endpoint(settings: GatewaySettings) -> None:
    database = await asyncpg.connect(settings.database_url.get_secret_value())
    await database.execute(INSERT)
    await database.execute(
        "INSERT INTO tillstream.webhook_secrets (endpoint_id, secret) VALUES ('we_1', $1)",
        settings.key_ring.encrypt(SECRET, owner="we_1", name="secret"),
    )
    await database.close()


@asynccontextmanager
async def running(app: web.Application) -> AsyncIterator[Client]:
    async with TestClient(TestServer(app)) as client:
        yield client


async def is_ready(client: Client) -> bool:
    return (await client.get("/readyz")).status == 200


async def read_one(settings: GatewaySettings, topic: Topic) -> ConsumerRecord:
    consumer = AIOKafkaConsumer(
        topic.name(settings.topic_prefix),
        bootstrap_servers=settings.kafka_bootstrap_servers,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        return await asyncio.wait_for(consumer.getone(), 10)
    finally:
        await consumer.stop()


async def post(client: Client, body: bytes) -> int:
    return (await client.post(URL, data=body, headers={"Stripe-Signature": header(body)})).status


async def find(_endpoint_id: str) -> Endpoint:
    return ENDPOINT


@pytest.mark.usefixtures("endpoint")
async def test_signed_webhook_is_on_the_topic_with_the_same_bytes(settings: GatewaySettings) -> None:
    body = make_body()
    async with running(create_app(settings, now=lambda: NOW)) as client:
        await eventually(lambda: is_ready(client), what="readiness")
        assert await post(client, body) == 200
    record = await read_one(settings, EVENTS)
    assert (record.key, record.value) == (b"con_1:cus_1", body)
    assert EventHeaders.decode(record.headers) == EventHeaders("con_1", int(NOW * 1000), "acct_1", True)


@pytest.mark.usefixtures("endpoint")
async def test_signed_body_of_no_use_is_on_the_dead_letters(settings: GatewaySettings) -> None:
    async with running(create_app(settings, now=lambda: NOW)) as client:
        await eventually(lambda: is_ready(client), what="readiness")
        assert await post(client, b"not an event") == 200
    letter = parse_dead_letter(await read_one(settings, DEAD_LETTERS))
    assert (letter.stage, letter.code, letter.connection_id) == ("gateway", "not_json", "con_1")
    assert letter.body == b"not an event"


@contextmanager
def refusing() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def silent() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("broker", [refusing, silent])
async def test_webhook_is_told_within_two_seconds_that_kafka_is_away(broker: object) -> None:
    with broker() as address:  # type: ignore[operator]
        app = create_app(make_settings(kafka_bootstrap_servers=address), endpoints=EndpointCache(find), now=lambda: NOW)
        async with running(app) as client:
            for _ in range(3):
                started = time.monotonic()
                body = make_body()
                answer = await client.post(URL, data=body, headers={"Stripe-Signature": header(body)})
                assert time.monotonic() - started < 2
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert not await is_ready(client)
            assert (await client.get("/livez")).status == 200


@pytest.mark.parametrize("server", [refusing, silent])
async def test_service_starts_although_its_database_is_away(server: object) -> None:
    with server() as address:  # type: ignore[operator]
        app = create_app(make_settings(database_url=f"postgresql://nobody@{address}/none"), now=lambda: NOW)
        async with running(app) as client:
            assert await post(client, make_body()) == 503
            assert not await is_ready(client)
            assert (await client.get("/livez")).status == 200
