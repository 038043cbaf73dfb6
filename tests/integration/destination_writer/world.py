"""A connection whose rows go to a schema, and Kafka: what a whole writer is tested with."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp.test_utils import TestClient, TestServer
from aiokafka import AIOKafkaConsumer, TopicPartition

from services.destination_writer.app import create_app
from services.destination_writer.settings import WriterSettings
from shared.kafka import Outgoing, Producer, ensure_topics
from shared.messages import EventHeaders, Origin, RecordHeaders
from shared.stripe_api import API_VERSION
from shared.topics import Topic, group, record_key
from tests.integration.destination_writer.state import State, open_state


def snapshot(object_id: str, stamp: int, slice_id: int | None = None, **fields: Any) -> Outgoing:
    headers = RecordHeaders("con_1", "customer", stamp, Origin.LISTED, slice_id=slice_id)
    body = {"id": object_id, "object": "customer", **fields}
    return Outgoing(record_key("con_1", object_id), json.dumps(body).encode(), headers.encode())


def event(
    number: int,
    object_id: str,
    at: int,
    kind: str = "customer.updated",
    *,
    previous: dict[str, Any] | None = None,
    **fields: Any,
) -> Outgoing:
    body = {
        "id": f"evt_{number}",
        "object": "event",
        "type": kind,
        "created": at,
        "livemode": True,
        "api_version": API_VERSION,
        "data": {"object": {"id": object_id, "object": "customer", **fields}},
    }
    if previous is not None:
        body["data"] |= {"previous_attributes": previous}  # type: ignore[operator]
    headers = EventHeaders("con_1", received_at_ms=at * 1000)
    return Outgoing(record_key("con_1", object_id), json.dumps(body).encode(), headers.encode())


@dataclass
class World:
    """A connection `con_1` whose rows go to the schema `copy`, and Kafka."""

    state: State
    producer: Producer

    async def publish(self, topic: Topic, records: Sequence[Outgoing]) -> int:
        return len(await self.producer.publish_all(topic, records))

    async def customers(self) -> dict[str, tuple[str | None, bool]]:
        if not await self.state.value("SELECT to_regclass('copy.customers') IS NOT NULL"):
            return {}
        rows = await self.state.rows("SELECT id, data->>'name', _deleted FROM copy.customers")
        return {object_id: (name, is_deleted) for object_id, name, is_deleted in rows}

    def has(self, sql: str, *wanted: Any) -> Callable[[], Awaitable[bool]]:
        async def check() -> bool:
            return await self.state.rows(sql) == [wanted]

        return check

    def done(self, topic: Topic, records: int) -> Callable[[], Awaitable[bool]]:
        """Tell whether the writers have reported so many records of the topic."""
        name = topic.name(self.state.settings.topic_prefix)
        return self.has(f"SELECT sum(next_offset)::bigint FROM writer_progress WHERE topic = '{name}'", records)

    async def committed(self, topic: Topic, to: int | None = None) -> int:
        """Return how many records the group has committed; with `to`, move every partition there first."""
        settings = self.state.settings
        consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka_bootstrap_servers,
            group_id=group(settings.topic_prefix, topic),
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            partitions = [TopicPartition(topic.name(settings.topic_prefix), number) for number in range(2)]
            if to is not None:
                consumer.assign(partitions)
                await consumer.commit(dict.fromkeys(partitions, to))
            return sum([await consumer.committed(partition) or 0 for partition in partitions])
        finally:
            await consumer.stop()


@asynccontextmanager
async def open_world(settings: WriterSettings) -> AsyncIterator[World]:
    """Lend a world of its own."""
    await ensure_topics(settings)
    producer = Producer(settings)
    async with open_state(settings) as state:
        await state.add_connection("con_1", await state.add_destination("copy"))
        yield World(state, producer)
    await producer.stop()


@asynccontextmanager
async def running(world: World) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(create_app(world.state.settings))) as client:
        yield client
