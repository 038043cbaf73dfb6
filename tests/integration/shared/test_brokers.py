"""A list of brokers: those that are dead don't matter while one answers, and who has not joined is not ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.destination_writer.app import create_app as make_writer
from services.destination_writer.settings import WriterSettings
from services.sync_worker.app import create_app as make_worker
from services.sync_worker.settings import WorkerSettings
from services.webhook_gateway.app import create_app as make_gateway
from services.webhook_gateway.settings import GatewaySettings
from shared.consumers import Rejection, make_broker, subscribe
from shared.crypto import make_encryption_key
from shared.kafka import Outgoing, Producer, ensure_topics
from shared.settings import Settings, load
from shared.topics import COMMANDS
from tests.eventually import eventually

DEAD = "127.0.0.1:1"
SERVICES: dict[str, Callable[[dict[str, str]], web.Application]] = {
    "webhook_gateway": lambda environ: make_gateway(load(GatewaySettings, environ)),
    "sync_worker": lambda environ: make_worker(load(WorkerSettings, environ)),
    "destination_writer": lambda environ: make_writer(load(WriterSettings, environ)),
}


def environ(database_url: str, kafka: str, topic_prefix: str) -> dict[str, str]:
    return {
        "TILLSTREAM_DATABASE_URL": database_url,
        "TILLSTREAM_KAFKA_BOOTSTRAP_SERVERS": kafka,
        "TILLSTREAM_TOPIC_PREFIX": topic_prefix,
        "TILLSTREAM_TOPIC_PARTITIONS": "1",
        "TILLSTREAM_ENCRYPTION_KEYS": make_encryption_key("test"),
    }


def settings_of(kafka: str, topic_prefix: str) -> Settings:
    return load(WriterSettings, environ("postgresql://nobody@127.0.0.1:1/none", kafka, topic_prefix))


async def is_ready(client: TestClient[Any, Any]) -> bool:
    return (await client.get("/readyz")).status == 200


@pytest.mark.parametrize("form", ["{dead},{real}", "{real},{dead}", "{dead}, {real}, {dead}"])
@pytest.mark.parametrize("service", SERVICES)
async def test_service_is_ready_with_dead_brokers_in_its_list(
    service: str, form: str, database_url: str, kafka_bootstrap_servers: str, topic_prefix: str
) -> None:
    servers = form.format(dead=DEAD, real=kafka_bootstrap_servers)
    app = SERVICES[service](environ(database_url, servers, topic_prefix))
    async with TestClient(TestServer(app)) as client:
        await eventually(lambda: is_ready(client), within=60, what="readiness")


@pytest.mark.parametrize("form", ["{dead},{real}", "{real},{dead}"])
async def test_what_is_published_over_a_list_is_consumed_over_it(
    form: str, kafka_bootstrap_servers: str, topic_prefix: str
) -> None:
    settings = settings_of(form.format(dead=DEAD, real=kafka_bootstrap_servers), topic_prefix)
    await ensure_topics(settings)
    producer, broker, found = Producer(settings), make_broker(settings), []

    async def take(records: Any) -> None:
        found.extend(record.value for record in records)

    membership = subscribe(broker, settings, take, rejection=Rejection(producer, COMMANDS))
    await broker.start()
    await producer.publish(COMMANDS, Outgoing(b"key", b"value", []))
    await eventually(lambda: found == [b"value"], within=60)
    assert membership.is_joined
    await broker.stop()
    await producer.stop()


async def test_member_beyond_the_number_of_partitions_has_joined_too(
    kafka_bootstrap_servers: str, topic_prefix: str
) -> None:
    settings = settings_of(kafka_bootstrap_servers, topic_prefix)
    await ensure_topics(settings)
    producer = Producer(settings)
    brokers = [make_broker(settings) for _ in range(3)]

    async def take(_records: Any) -> None:
        return

    members = [subscribe(broker, settings, take, rejection=Rejection(producer, COMMANDS)) for broker in brokers]
    assert not any(member.is_joined for member in members)
    for broker in brokers:
        await broker.start()
    await eventually(lambda: all(member.is_joined for member in members), within=60)
    for broker in brokers:
        await broker.stop()
