"""What the broker says of itself: its cluster, our mark on it, and where each partition begins and ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata

from shared.errors import KafkaUnavailableError
from shared.kafka import UNREACHABLE, ensure_topics, make_admin
from shared.settings import Settings
from shared.topics import EVENTS, SNAPSHOTS, TOPICS

LOOK_TIMEOUT = 5.0  # seconds
CLOSE_TIMEOUT = 2.0  # seconds
WATCHED = (EVENTS, SNAPSHOTS)  # the others hold nothing that the state database does not know

Partition = tuple[str, int]  # topic and number


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at the broker has shown."""

    cluster_id: str
    mark: str | None  # None: a watched topic has none, or another than the others
    starts: Mapping[Partition, int]  # the offset of the oldest record
    ends: Mapping[Partition, int]  # the offset that the next record gets


class Broker:
    """Looks at the broker; raises `KafkaUnavailableError`.

    The mark lies as the metadata of an offset that nobody reads from: it goes when the topic goes, and with all data.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._names = [topic.name(settings.topic_prefix) for topic in WATCHED]
        self._group = f"{settings.topic_prefix}.mark"
        self._admin: AIOKafkaAdminClient | None = None
        self._consumer: AIOKafkaConsumer | None = None

    async def look(self) -> Seen:
        """Return what is there; make topics that are missing."""
        async with self._clients() as (admin, consumer):
            metadata = await admin.describe_topics()
            partitions = {topic["topic"]: [p["partition"] for p in topic["partitions"]] for topic in metadata}
            if {topic.name(self._settings.topic_prefix) for topic in TOPICS} - partitions.keys():
                await ensure_topics(self._settings)
                raise KafkaUnavailableError("Topics were missing on the broker; they have been made.")
            watched = [TopicPartition(name, number) for name in self._names for number in partitions[name]]
            return Seen(
                str((await admin.describe_cluster())["cluster_id"]),
                await self._read_mark(admin),
                _plain(await consumer.beginning_offsets(watched)),
                _plain(await consumer.end_offsets(watched)),
            )

    async def leave_mark(self, mark: str) -> None:
        """Leave `mark` at every watched topic."""
        async with self._clients() as (_, consumer):
            places = [TopicPartition(name, 0) for name in self._names]
            consumer.assign(places)
            try:
                await consumer.commit(dict.fromkeys(places, (0, mark)))
            finally:
                consumer.unsubscribe()  # nothing is to be read

    async def aclose(self) -> None:
        """Close the connections to the broker."""
        admin, consumer, self._admin, self._consumer = self._admin, self._consumer, None, None
        for stop in (admin and admin.close, consumer and consumer.stop):
            if stop:
                with suppress(*UNREACHABLE):
                    await asyncio.wait_for(stop(), CLOSE_TIMEOUT)

    async def _read_mark(self, admin: AIOKafkaAdminClient) -> str | None:
        places = [TopicPartition(name, 0) for name in self._names]
        return find_mark(places, await admin.list_consumer_group_offsets(self._group, partitions=places))

    @asynccontextmanager
    async def _clients(self) -> AsyncIterator[tuple[AIOKafkaAdminClient, AIOKafkaConsumer]]:
        """Lend both clients, started; after a failure they are made anew."""
        try:
            async with asyncio.timeout(LOOK_TIMEOUT):
                if self._admin is None or self._consumer is None:
                    self._admin = make_admin(self._settings)
                    self._consumer = AIOKafkaConsumer(
                        bootstrap_servers=self._settings.kafka_servers, group_id=self._group, enable_auto_commit=False
                    )
                    await self._admin.start()
                    await self._consumer.start()
                yield self._admin, self._consumer
        except UNREACHABLE as error:
            await self.aclose()
            raise KafkaUnavailableError(f"Kafka can't be looked at ({type(error).__name__}).") from error
        except BaseException:
            await self.aclose()
            raise


def find_mark(places: Collection[TopicPartition], found: Mapping[TopicPartition, OffsetAndMetadata]) -> str | None:
    """Return the mark that lies at all `places`; raise `KafkaUnavailableError` when the broker can't say.

    A place without one has the offset -1. While a broker that has just started loads its groups, it names no place,
    and aiokafka passes over the error beside them.
    """
    if set(places) - found.keys():
        raise KafkaUnavailableError("Kafka loads the offsets of its groups.")
    marks = {found[place].metadata if found[place].offset >= 0 else None for place in places}
    return marks.pop() if len(marks) == 1 else None


def _plain(offsets: Mapping[TopicPartition, int]) -> dict[Partition, int]:
    return {(place.topic, place.partition): offset for place, offset in offsets.items()}
