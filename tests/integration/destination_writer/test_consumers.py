"""The consumers against a real broker: nothing is skipped, whatever fails, and whoever dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from faststream.kafka import KafkaBroker

from services.destination_writer.settings import WriterSettings
from shared.consumers import BatchHandler, Rejection, consuming, make_broker, subscribe
from shared.dead_letters import parse_dead_letter
from shared.errors import DatabaseUnavailableError, MessageError
from shared.kafka import Outgoing, Producer, ensure_topics
from shared.topics import DEAD_LETTERS, EVENTS, Topic, group
from tests.eventually import eventually
from tests.integration.destination_writer.state import make_settings

RECORDS = 60


@pytest.fixture
async def settings(kafka_bootstrap_servers: str, topic_prefix: str) -> WriterSettings:
    settings = make_settings("postgresql://nobody@127.0.0.1:1/none", kafka_bootstrap_servers, topic_prefix)
    await ensure_topics(settings)
    return settings


@pytest.fixture
async def producer(settings: WriterSettings) -> AsyncIterator[Producer]:
    producer = Producer(settings)
    yield producer
    await producer.stop()


async def publish(producer: Producer, first: int, count: int) -> None:
    """Publish numbers, those of one key in one partition."""
    await producer.publish_all(
        EVENTS, [Outgoing(b"con_1:cus_%d" % (n % 7), b"%d" % n, []) for n in range(first, first + count)]
    )


@asynccontextmanager
async def member(settings: WriterSettings, producer: Producer, handle: BatchHandler) -> AsyncIterator[KafkaBroker]:
    """Run one member of the group."""
    broker = make_broker(settings)
    subscribe(broker, settings, handle, rejection=Rejection(producer, EVENTS), batch_size=10)
    task = asyncio.create_task(consuming(broker))
    try:
        yield broker
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def committed(settings: WriterSettings, topic: Topic = EVENTS) -> int:
    """Return how many records the group has committed."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        group_id=group(settings.topic_prefix, topic),
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        name = topic.name(settings.topic_prefix)
        offsets = [await consumer.committed(TopicPartition(name, number)) for number in range(2)]
        return sum(offset or 0 for offset in offsets)
    finally:
        await consumer.stop()


class Seen:
    """Remembers what it handled; fails as long as it has `failures`."""

    def __init__(self, failures: int = 0) -> None:
        self.numbers: list[int] = []
        self.by_key: dict[bytes, list[int]] = {}
        self.failures = failures

    async def __call__(self, records: Sequence[ConsumerRecord]) -> None:
        if self.failures:
            self.failures -= 1
            raise DatabaseUnavailableError
        for record in records:
            number = int(record.value or b"")
            self.numbers.append(number)
            self.by_key.setdefault(record.key or b"", []).append(number)


async def test_transient_failure_delays_and_then_all_is_handled_in_order(
    settings: WriterSettings, producer: Producer
) -> None:
    seen = Seen(failures=3)
    await publish(producer, 0, RECORDS)
    async with member(settings, producer, seen):
        await eventually(lambda: len(seen.numbers) == RECORDS, within=20)
    assert sorted(seen.numbers) == list(range(RECORDS))
    assert all(numbers == sorted(numbers) for numbers in seen.by_key.values())
    assert await committed(settings) == RECORDS


async def test_batch_that_is_handed_back_comes_again_before_anything_is_committed_past_it(
    settings: WriterSettings, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.consumers.HAND_BACK_AFTER", 0.0)
    seen = Seen(failures=2)
    await publish(producer, 0, RECORDS)
    async with member(settings, producer, seen):
        await eventually(lambda: len(seen.numbers) >= RECORDS, within=20)
    assert sorted(seen.numbers) == list(range(RECORDS))
    assert await committed(settings) == RECORDS


async def test_nothing_is_committed_of_a_batch_that_is_under_way(settings: WriterSettings, producer: Producer) -> None:
    started = asyncio.Event()

    async def never_ends(records: Sequence[ConsumerRecord]) -> None:
        started.set()
        await asyncio.get_running_loop().create_future()

    await publish(producer, 0, RECORDS)
    async with member(settings, producer, never_ends):
        await asyncio.wait_for(started.wait(), 20)
    assert await committed(settings) == 0


async def test_culprit_becomes_a_dead_letter_with_its_place_and_the_rest_is_handled(
    settings: WriterSettings, producer: Producer
) -> None:
    seen = Seen()

    async def handle(records: Sequence[ConsumerRecord]) -> None:
        if any(record.value == b"17" for record in records):
            raise MessageError("Seventeen.")
        await seen(records)

    await publish(producer, 0, RECORDS)
    async with member(settings, producer, handle):
        await eventually(lambda: len(seen.numbers) == RECORDS - 1, within=20)
    assert 17 not in seen.numbers
    consumer = AIOKafkaConsumer(
        DEAD_LETTERS.name(settings.topic_prefix),
        bootstrap_servers=settings.kafka_bootstrap_servers,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        letter = parse_dead_letter(await asyncio.wait_for(consumer.getone(), 10))
    finally:
        await consumer.stop()
    assert (letter.body, letter.reason, letter.stage, letter.source_topic) == (
        b"17",
        "Seventeen.",
        "events",
        EVENTS.name(settings.topic_prefix),
    )


async def test_second_member_takes_over_and_nothing_is_lost(settings: WriterSettings, producer: Producer) -> None:
    """The first dies in the middle of a batch; a third joins while the second is at work."""
    first, second, third = Seen(), Seen(), Seen()
    died = asyncio.Event()

    async def dies(records: Sequence[ConsumerRecord]) -> None:
        if first.numbers:
            died.set()
            await asyncio.get_running_loop().create_future()
        await first(records)

    await publish(producer, 0, RECORDS)
    async with member(settings, producer, dies):
        await asyncio.wait_for(died.wait(), 20)
    async with member(settings, producer, second):
        await eventually(lambda: len(second.numbers) > 0, within=20)
        async with member(settings, producer, third):
            for round_ in range(1, 6):
                await publish(producer, round_ * RECORDS, RECORDS)
            wanted = set(range(6 * RECORDS))
            await eventually(
                lambda: {*first.numbers, *second.numbers, *third.numbers} == wanted, within=30, what="all records"
            )

    assert await committed(settings) == 6 * RECORDS
