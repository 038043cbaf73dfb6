"""Puts what Stripe answered on Kafka, untouched, and tells where it lies."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from aiokafka.structs import RecordMetadata

from shared.broker_log import CurrentLog
from shared.catalogue import Resource
from shared.connections import Connection
from shared.consumers import publish_dead_letter
from shared.dead_letters import DeadLetter, describe
from shared.errors import AppError, MessageError, ObjectUnreadableError
from shared.kafka import MAX_RECORD_BYTES, Outgoing, OversizeError, Producer
from shared.messages import Headers, Origin, RecordHeaders
from shared.metrics import RECORDS_PUBLISHED
from shared.stripe_pages import Item, Page, parse_item
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


class RecordTooLargeError(MessageError):
    """The object is larger than Kafka takes."""

    code = "record_too_large"


STAGE = "read"  # of a dead letter: what Stripe gave can't go on its way
KEPT_OF_LARGE = 256 * 1024  # bytes of an object that is too large for its letter, too; Stripe has the whole


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a page."""

    offsets: dict[tuple[str, int], int]  # topic and partition → last offset
    records: int  # that Stripe gave
    failed: int  # of them, that became dead letters


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

    async def publish_page(
        self,
        connection: Connection,
        resource: Resource,
        page: Page,
        *,
        slice_id: int | None = None,
        is_compared: bool = False,
        refetched: Collection[str] = (),
    ) -> Published:
        """Publish what a page of a list has; what can't be read or is too large becomes a dead letter.

        `refetched` are objects that somebody has asked about: the answer to that is on this page.
        """
        origins = [Origin.REFETCHED if item.id in refetched else Origin.LISTED for item in page.items]
        snapshots = [
            Snapshot(resource, body, page.stamp, origin, is_compared=is_compared)
            for body, origin in zip(page.objects, origins, strict=True)
        ]
        records = [_outgoing(connection, snapshot, slice_id) for snapshot in snapshots]
        offsets, too_large = await self._send(SNAPSHOTS, records)
        await self.bury_unreadable(connection, page, resource=resource)
        return Published(offsets, len(records) + len(page.unreadable), too_large + len(page.unreadable))

    async def bury_unreadable(self, connection: Connection, page: Page, *, resource: Resource | None = None) -> None:
        """Make dead letters of what nobody can read on a page of a resource's list, or else of the event feed."""
        for one in page.unreadable:
            error = ObjectUnreadableError(one.reason)
            headers: Headers = [("connection", connection.id.encode())]
            if resource is not None:
                headers = RecordHeaders(connection.id, resource.name, page.stamp, Origin.LISTED).encode()
            await self._bury(Outgoing(record_key(connection.id, one.id or ""), one.body, headers), error)

    async def bury_question(self, connection: Connection, resource: Resource, object_id: str, error: AppError) -> None:
        """Make a dead letter of a question that Stripe does not answer, or by nothing that can be read."""
        body = error.body if isinstance(error, ObjectUnreadableError) else b""
        headers = RecordHeaders(connection.id, resource.name, 0, Origin.REFETCHED).encode()
        await self._bury(Outgoing(record_key(connection.id, object_id), body, headers), error)

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
            connection.id,
            child,
            stamp,
            Origin.REFETCHED,
            parent_id=parent_id,
            is_complete=is_complete,
            account_id=connection.account_id,
            livemode=connection.livemode,
        )
        value = b'{"object":"list","data":[' + b",".join(bodies) + b"]}"
        return await self.send(SNAPSHOTS, [Outgoing(record_key(connection.id, parent_id), value, headers.encode())])

    async def send(self, topic: Topic, records: Sequence[Outgoing]) -> dict[tuple[str, int], int]:
        """Publish records; return the last offset of each partition that holds some.

        One that is too large becomes a dead letter.
        """
        return (await self._send(topic, records))[0]

    async def _send(self, topic: Topic, records: Sequence[Outgoing]) -> tuple[dict[tuple[str, int], int], int]:
        """Return the last offsets, and how many records were too large."""
        offsets: dict[tuple[str, int], int] = {}
        positions, too_large = await self._publish(topic, records)
        for position in positions:
            where = (position.topic, position.partition)
            offsets[where] = max(offsets.get(where, -1), position.offset)
        return offsets, too_large

    async def _publish(self, topic: Topic, records: Sequence[Outgoing]) -> tuple[Sequence[RecordMetadata], int]:
        try:
            return await self._producer.publish_all(topic, records), 0
        except OversizeError as error:
            placed = error.placed
        # The others are there, and are not sent again: the writer counts each record of a slice by where it lies.
        too_large = [record for record, position in zip(records, placed, strict=True) if position is None]
        for record in too_large:
            size = f"It has {len(record.value):,} bytes, and Kafka takes {MAX_RECORD_BYTES:,}."
            await self._bury(record, RecordTooLargeError(f"Stripe's object is larger than Kafka takes. {size}"))
        return [position for position in placed if position], len(too_large)

    async def _bury(self, record: Outgoing, error: AppError) -> None:
        """Make a dead letter; of what is too large, its beginning."""
        code, reason = describe(error)
        headers = tuple((name, value) for name, value in record.headers if name != "slice")  # it has counted it
        connection_id = dict(headers)["connection"].decode()
        letter = DeadLetter(
            STAGE, code, reason, record.value[:KEPT_OF_LARGE], connection_id, key=record.key, headers=headers
        )
        await publish_dead_letter(self._producer, letter, cause=error)


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
        account_id=connection.account_id,
        livemode=connection.livemode,
    )
    key = record_key(connection.id, object_id(connection, snapshot.resource, parse_item(snapshot.body)))
    return Outgoing(key, snapshot.body, headers.encode())
