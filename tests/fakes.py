"""Stand-ins that tests can look into; small classes, no mocks."""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka.structs import RecordMetadata, TopicPartition

from shared.errors import AppError
from shared.kafka import Outgoing
from shared.topics import Topic


class FakeProducer:
    """Keeps what is published; raises `error` instead while it is set."""

    def __init__(self) -> None:
        self.published: list[tuple[Topic, Outgoing]] = []
        self.error: AppError | None = None
        self.is_stopped = False

    async def publish(self, topic: Topic, record: Outgoing) -> RecordMetadata:
        return (await self.publish_all(topic, [record]))[0]

    async def publish_all(self, topic: Topic, records: Sequence[Outgoing]) -> list[RecordMetadata]:
        if self.error:
            raise self.error
        first = len(self.published)
        self.published += [(topic, record) for record in records]
        return [_metadata(topic, first + number) for number, _ in enumerate(records)]

    async def stop(self) -> None:
        self.is_stopped = True

    def records(self, topic: Topic) -> list[Outgoing]:
        return [record for where, record in self.published if where is topic]


def _metadata(topic: Topic, offset: int) -> RecordMetadata:
    name = topic.name("tillstream")
    return RecordMetadata(name, 0, TopicPartition(name, 0), offset, -1, 0, 0)
