"""Puts what Stripe answered on Kafka, untouched, and tells where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.broker_log import CurrentLog
from shared.catalogue import Resource
from shared.connections import Connection
from shared.kafka import Outgoing, Producer
from shared.messages import Origin, RecordHeaders
from shared.metrics import RECORDS_PUBLISHED
from shared.stripe_api import Item, parse_item
from shared.topics import SNAPSHOTS, Topic, record_key


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One object's state and where it came from."""

    resource: Resource
    body: bytes
    stamp: int  # Stripe's clock, in seconds
    origin: Origin
    is_deleted: bool = False
    is_compared: bool = False  # with its row, instead of being written


def object_id(connection: Connection, resource: Resource, item: Item) -> str:
    """Return the id under which the object is kept: what has none is named by its account."""
    return item.id if resource.has_id and item.id else connection.account_id


class Publisher:
    """Publishes for one topic prefix; every method raises `KafkaUnavailableError`."""

    def __init__(self, producer: Producer, log: CurrentLog) -> None:
        self._producer = producer
        self._log = log

    @property
    def log_id(self) -> str:
        """The log that is published to; to be taken before, since the broker may lose it meanwhile."""
        return self._log.id

    async def publish(
        self, connection: Connection, snapshots: Sequence[Snapshot], *, slice_id: int | None = None
    ) -> dict[tuple[str, int], int]:
        """Publish snapshots; return the last offset of each partition that holds some."""
        return await self.send(SNAPSHOTS, [_outgoing(connection, snapshot, slice_id) for snapshot in snapshots])

    async def publish_children(
        self,
        connection: Connection,
        child: str,
        parent_id: str,
        bodies: Sequence[bytes],
        *,
        stamp: int,
        is_complete: bool,
    ) -> dict[tuple[str, int], int]:
        """Publish a part of a child set; the part that completes it says so. Returns the last offset written."""
        headers = RecordHeaders(
            connection.id, child, stamp, Origin.REFETCHED, parent_id=parent_id, is_complete=is_complete
        )
        value = b'{"object":"list","data":[' + b",".join(bodies) + b"]}"
        return await self.send(SNAPSHOTS, [Outgoing(record_key(connection.id, parent_id), value, headers.encode())])

    async def send(self, topic: Topic, records: Sequence[Outgoing]) -> dict[tuple[str, int], int]:
        """Publish records; return the last offset of each partition that holds some."""
        offsets: dict[tuple[str, int], int] = {}
        for position in await self._producer.publish_all(topic, records):
            where = (position.topic, position.partition)
            offsets[where] = max(offsets.get(where, -1), position.offset)
        return offsets


def _outgoing(connection: Connection, snapshot: Snapshot, slice_id: int | None) -> Outgoing:
    RECORDS_PUBLISHED.labels(snapshot.origin).inc()
    headers = RecordHeaders(
        connection.id,
        snapshot.resource.name,
        snapshot.stamp,
        snapshot.origin,
        slice_id=slice_id,
        is_deleted=snapshot.is_deleted,
        is_compared=snapshot.is_compared,
    )
    key = record_key(connection.id, object_id(connection, snapshot.resource, parse_item(snapshot.body)))
    return Outgoing(key, snapshot.body, headers.encode())
