"""How much of the topics the writers have not yet dealt with."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from shared.settings import Settings
from shared.topics import EVENTS, SNAPSHOTS, Topic, group

# Seconds; aiokafka may wait for ever for a broker that was killed as it answered.
LOOK_TIMEOUT, STOP_TIMEOUT = 20.0, 5.0
PREFIX: str = Settings.model_fields["topic_prefix"].default
PARTITIONS: int = Settings.model_fields["topic_partitions"].default


async def lag(
    bootstrap_servers: str,
    topics: Sequence[Topic] = (EVENTS, SNAPSHOTS),
    *,
    prefix: str = PREFIX,
    partitions: int = PARTITIONS,
) -> int | None:
    """Return how many records of the topics are not committed; None while Kafka does not tell."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=5000)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, request_timeout_ms=5000)
    try:
        async with asyncio.timeout(LOOK_TIMEOUT):
            await admin.start()
            await consumer.start()
            behind = 0
            for topic in topics:
                places = [TopicPartition(topic.name(prefix), number) for number in range(partitions)]
                ends = await consumer.end_offsets(places)
                committed = await _committed(admin, topic, prefix)
                behind += sum(end - max(0, committed[at].offset if at in committed else 0) for at, end in ends.items())
            return behind
    except (KafkaError, OSError, TimeoutError):
        return None
    finally:
        await asyncio.sleep(0)  # a consumer that is stopped before its tasks have begun takes us for cancelled
        with suppress(KafkaError, OSError, TimeoutError):
            await asyncio.wait_for(consumer.stop(), STOP_TIMEOUT)
        with suppress(KafkaError, OSError, TimeoutError):
            await asyncio.wait_for(admin.close(), STOP_TIMEOUT)


async def _committed(admin: AIOKafkaAdminClient, topic: Topic, prefix: str) -> dict[TopicPartition, OffsetAndMetadata]:
    """Return what the group of the newest life has committed: it is another one once the broker has lost records."""
    committed: dict[TopicPartition, OffsetAndMetadata] = {}
    for life in itertools.count(1):
        found = await admin.list_consumer_group_offsets(group(prefix, topic, life))
        if not found:
            break
        committed = found
    return committed
