"""The producer against a real broker, and against one that is away."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import aclosing

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from services.destination_writer.settings import WriterSettings
from shared.errors import KafkaUnavailableError, MessageError
from shared.kafka import MAX_RECORD_BYTES, Cluster, Outgoing, OversizeError, Producer, ensure_topics
from shared.topics import DEAD_LETTERS, EVENTS, SNAPSHOTS, Topic
from tests.eventually import eventually
from tests.integration.destination_writer.state import make_settings
from tests.proxy import Proxy

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
RECORD = Outgoing(b"key", b"value", [("name", b"\xff")])


@pytest.fixture
def settings(kafka_bootstrap_servers: str, topic_prefix: str) -> WriterSettings:
    return make_settings(NOWHERE, kafka_bootstrap_servers, topic_prefix)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


async def read(settings: WriterSettings, topic: Topic, count: int) -> list[ConsumerRecord]:
    consumer = AIOKafkaConsumer(
        topic.name(settings.topic_prefix),
        bootstrap_servers=settings.kafka_bootstrap_servers,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=2 * MAX_RECORD_BYTES,
    )
    await consumer.start()
    try:
        async with asyncio.timeout(15):
            return [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()


async def test_record_is_on_its_topic_when_publish_returns(settings: WriterSettings) -> None:
    await ensure_topics(settings)
    producer = Producer(settings)
    placed = await producer.publish(EVENTS, RECORD)
    [found] = await read(settings, EVENTS, 1)
    assert (found.partition, found.offset) == (placed.partition, placed.offset)
    assert (found.key, found.value, found.headers) == (b"key", b"value", (("name", b"\xff"),))
    await producer.stop()


async def test_records_of_one_key_keep_their_order(settings: WriterSettings) -> None:
    await ensure_topics(settings)
    producer = Producer(settings)
    placed = await producer.publish_all(SNAPSHOTS, [Outgoing(b"key", b"%d" % n, []) for n in range(500)])
    assert len({place.partition for place in placed}) == 1
    assert [place.offset for place in placed] == list(range(500))
    await producer.stop()


async def test_making_topics_twice_is_harmless(settings: WriterSettings) -> None:
    await ensure_topics(settings)
    await ensure_topics(settings)
    async with aclosing(Cluster(settings)) as once, aclosing(Cluster(settings)) as again:
        assert await once.id() == await again.id()


async def test_producer_fails_within_its_time_and_heals_when_the_broker_is_back(
    settings: WriterSettings, free_port: int
) -> None:
    await ensure_topics(settings)
    away = settings.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{free_port}"})
    producer = Producer(away, timeout_seconds=1.0)
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(KafkaUnavailableError):
            await producer.publish(EVENTS, RECORD)
        assert time.monotonic() - started < 1.5
    host, _, port = settings.kafka_bootstrap_servers.partition(":")
    async with Proxy(host, int(port), listen=free_port):
        started = time.monotonic()
        assert (await producer.publish(EVENTS, RECORD)).offset == 0
        assert time.monotonic() - started < 2
        await producer.stop()


async def test_many_publications_share_one_attempt_to_reach_a_broker(settings: WriterSettings) -> None:
    """In an outage, every webhook asks; a silent broker must not collect a connection of each of them."""
    connections: list[asyncio.StreamWriter] = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    producer = Producer(settings.model_copy(update={"kafka_bootstrap_servers": address}), timeout_seconds=0.5)
    started = time.monotonic()
    answers = await asyncio.gather(*(producer.publish(EVENTS, RECORD) for _ in range(50)), return_exceptions=True)
    seconds = time.monotonic() - started
    await producer.stop()
    server.close()
    for writer in connections:
        writer.close()
    assert {type(answer) for answer in answers} == {KafkaUnavailableError}
    assert seconds < 1.5
    assert len(connections) <= 3


async def test_producer_is_made_anew_when_it_has_not_succeeded_for_a_while(
    settings: WriterSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker forgot the topic's state: whatever the old client believes, a new one asks again."""
    monkeypatch.setattr("shared.kafka.HEAL_AFTER", 0.0)
    producer = Producer(settings, timeout_seconds=1.0)
    with pytest.raises(KafkaUnavailableError):
        await producer.publish(EVENTS, RECORD)  # there is no such topic yet, and healing makes it

    async def is_published() -> bool:
        try:
            await producer.publish(EVENTS, RECORD)
        except KafkaUnavailableError:
            return False
        return True

    await eventually(is_published, within=10, what="the producer is healed")
    await producer.stop()


async def test_record_that_is_too_large_is_refused_for_good(settings: WriterSettings) -> None:
    """Waiting would not help: it must not count as an outage, nor end the producer."""
    await ensure_topics(settings)
    producer = Producer(settings)
    with pytest.raises(MessageError, match="larger"):
        await producer.publish(SNAPSHOTS, Outgoing(b"key", b"x" * (MAX_RECORD_BYTES + 1), []))
    await producer.publish(SNAPSHOTS, RECORD)
    await producer.stop()


@pytest.mark.parametrize("beyond", [1, 10_000_000], ids=["for the broker", "for the client"])
async def test_what_fits_is_published_once_beside_what_is_too_large(settings: WriterSettings, beyond: int) -> None:
    await ensure_topics(settings)
    producer = Producer(settings)
    small = [Outgoing(b"key", b"%d" % number, []) for number in range(3)]
    large = Outgoing(b"key", b"x" * (MAX_RECORD_BYTES + beyond), [])
    with pytest.raises(OversizeError) as caught:
        await producer.publish_all(SNAPSHOTS, [*small[:2], large, small[2]])
    assert [place and place.offset for place in caught.value.placed] == [0, 1, None, 2]
    await producer.publish(SNAPSHOTS, RECORD)
    found = await read(settings, SNAPSHOTS, 4)
    assert [one.value for one in found if one.value != RECORD.value] == [b"0", b"1", b"2"]
    await producer.stop()


async def test_dead_letter_of_the_largest_record_can_be_published(settings: WriterSettings) -> None:
    """A dead letter is its record and a little more; one that did not fit would stop the stream."""
    await ensure_topics(settings)
    producer = Producer(settings)
    body = b"x" * (MAX_RECORD_BYTES - 100)
    await producer.publish(SNAPSHOTS, Outgoing(b"", body, []))
    await producer.publish(DEAD_LETTERS, Outgoing(b"k" * 200, body, [("dead-letter-reason", b"r" * 500)] * 3))
    [found] = await read(settings, DEAD_LETTERS, 1)
    assert len(found.value or b"") == len(body)
    await producer.stop()
