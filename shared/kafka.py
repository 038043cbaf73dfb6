"""Kafka's writing side: the topics, and a producer that heals itself. `shared.consumers` reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    TopicAlreadyExistsError,
    for_code,
)
from aiokafka.structs import RecordMetadata

from shared.errors import KafkaUnavailableError, MessageError
from shared.messages import Headers
from shared.metrics import PRODUCER_RECREATED
from shared.settings import Settings
from shared.topics import DEAD_LETTERS, SEGMENT_MS, TOPICS, Topic

MAX_RECORD_BYTES = 4 * 1024 * 1024  # a webhook is at most 1 MiB; an invoice with its lines may be larger
ROOM_FOR_A_REASON = 64 * 1024  # bytes by which a dead letter may be larger than its record
ANSWER_TIMEOUT_MS = 5_000  # of a broker that is asked about itself
ASKED = 3  # brokers that are asked before the cluster counts as away
CLOSE_TIMEOUT = 2.0  # seconds
HEAL_AFTER = 2.0  # seconds without one success before the producer is built anew
HEAL_TIMEOUT = 2.0  # seconds for one try to build it
HEAL_INTERVAL = 0.25  # seconds between two tries
UNREACHABLE = (KafkaError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record that is to be published."""

    key: bytes
    value: bytes
    headers: Headers


class OversizeError(MessageError):
    """Some records are larger than Kafka takes. The others are published."""

    def __init__(self, placed: Sequence[RecordMetadata | None]) -> None:
        """`placed` says for each record, in order, where Kafka put it; `None` for one that is too large."""
        super().__init__("The record is larger than Kafka takes.")
        self.placed = placed


class Producer:
    """Publishes with acks=all; a call returns only when Kafka has the record.

    Not idempotent by choice: a duplicate changes no row, and aiokafka's idempotent producer sticks for ever once
    a broker has lost its producer state (https://github.com/aio-libs/aiokafka/issues/1017).
    """

    def __init__(self, settings: Settings, *, timeout_seconds: float = 10.0) -> None:
        """`timeout_seconds` bounds how long one publication may take before it counts as failed."""
        self._settings = settings
        self._timeout = timeout_seconds
        self._client: AIOKafkaProducer | None = None
        self._last_success = time.monotonic()
        self._healing: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def publish(self, topic: Topic, record: Outgoing) -> RecordMetadata:
        """Return where Kafka put the record.

        Raises `KafkaUnavailableError`, after which it may be there or not, and `MessageError` if it is too large.
        """
        async with self._acknowledging() as client:
            name = topic.name(self._settings.topic_prefix)
            sent = await client.send_and_wait(name, record.value, key=record.key, headers=record.headers)
        return sent

    async def publish_all(self, topic: Topic, records: Sequence[Outgoing]) -> list[RecordMetadata]:
        """Return where Kafka put each record; raise as `publish` does if one was not acknowledged in time.

        Raises `OversizeError` if some are too large; all others are published then, each once.
        """
        async with self._acknowledging() as client:
            name = topic.name(self._settings.topic_prefix)
            placed = [_unless_too_large(future) for future in [await _send(client, name, one) for one in records]]
            positions = await asyncio.gather(*placed)
        if None in positions:
            raise OversizeError(positions)
        return [position for position in positions if position]

    @asynccontextmanager
    async def _acknowledging(self) -> AsyncIterator[AIOKafkaProducer]:
        try:
            async with asyncio.timeout(self._timeout):
                yield await self._started()
        except MessageSizeTooLargeError as error:
            raise MessageError("The record is larger than Kafka takes.") from error
        except UNREACHABLE as error:
            self._heal_in_background()
            raise KafkaUnavailableError(f"Kafka did not acknowledge ({type(error).__name__}).") from error
        self._last_success = time.monotonic()

    async def stop(self) -> None:
        """Flush what was accepted and close."""
        if self._healing:
            self._healing.cancel()
            await asyncio.gather(self._healing, return_exceptions=True)
        await self._close()

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._client is None:
                self._client = await self._start()
            return self._client

    async def _start(self) -> AIOKafkaProducer:
        client = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka_servers,
            acks="all",
            linger_ms=0,
            max_request_size=MAX_RECORD_BYTES + ROOM_FOR_A_REASON,
            request_timeout_ms=int(max(self._timeout, 1.0) * 1000),
            retry_backoff_ms=100,
            client_id="tillstream",
        )
        try:
            await client.start()
        except BaseException:
            await client.stop()
            raise
        return client

    def _heal_in_background(self) -> None:
        stuck = time.monotonic() - self._last_success > HEAL_AFTER
        if stuck and (self._healing is None or self._healing.done()):
            self._healing = asyncio.create_task(self._heal())

    async def _heal(self) -> None:
        """Build the client anew, as soon as the broker answers: nobody who publishes has to find that out first."""
        PRODUCER_RECREATED.inc()
        await self._close()
        while True:
            with suppress(*UNREACHABLE, KafkaUnavailableError):
                async with asyncio.timeout(HEAL_TIMEOUT):
                    await ensure_topics(self._settings)
                    await self._started()
                    return
            await asyncio.sleep(HEAL_INTERVAL)

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(*UNREACHABLE):
                await asyncio.wait_for(client.stop(), CLOSE_TIMEOUT)


async def _send(client: AIOKafkaProducer, name: str, record: Outgoing) -> asyncio.Future[RecordMetadata] | None:
    try:
        future: asyncio.Future[RecordMetadata] = await client.send(
            name, record.value, key=record.key, headers=record.headers
        )
    except MessageSizeTooLargeError:
        return None  # the client itself sees what is far too large, the broker the rest
    return future


async def _unless_too_large(future: asyncio.Future[RecordMetadata] | None) -> RecordMetadata | None:
    try:
        return await future if future else None
    except MessageSizeTooLargeError:
        return None


async def ensure_topics(settings: Settings) -> None:
    """Make the topics that are missing; raise `KafkaUnavailableError`."""
    admin = make_admin(settings)
    wanted = [
        NewTopic(
            topic.name(settings.topic_prefix),
            settings.topic_partitions if topic.is_partitioned else 1,
            settings.topic_replication,
            topic_configs={
                "retention.ms": str(topic.retention_ms),
                "segment.ms": str(SEGMENT_MS),
                "max.message.bytes": str(MAX_RECORD_BYTES + (ROOM_FOR_A_REASON if topic is DEAD_LETTERS else 0)),
            },
        )
        for topic in TOPICS
    ]
    try:
        await admin.start()
        response = await admin.create_topics(wanted)
    except UNREACHABLE as error:
        raise KafkaUnavailableError from error
    finally:
        await admin.close()
    failed = {t[0]: for_code(t[1]) for t in response.topic_errors if t[1] not in (0, TopicAlreadyExistsError.errno)}
    if failed:
        names = ", ".join(f"{name} ({error.__name__})" for name, error in failed.items())
        raise KafkaUnavailableError(f"These topics could not be made: {names}.")


class Cluster:
    """Asks the brokers over one client, which stays open and is made anew after a failure."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin: AIOKafkaAdminClient | None = None
        self._asking: asyncio.Task[str] | None = None

    async def id(self) -> str:
        """Return the cluster's id: another one means that everything on it is new. Raises `KafkaUnavailableError`."""
        # All that ask share one question. It goes to its end also when they are cancelled: aiokafka leaves a socket
        # open where it is cut off as it connects.
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(self._asking)

    async def answers(self) -> bool:
        """Tell whether a broker answers; raise `KafkaUnavailableError`."""
        return bool(await self.id())

    async def aclose(self) -> None:
        """Close the client; a question that is under way gets two seconds to end."""
        if self._asking is not None:
            await asyncio.wait({self._asking}, timeout=CLOSE_TIMEOUT)
            self._asking.cancel()
        await self._close()

    async def _ask(self) -> str:
        """Ask any broker; where it is away, another one: aiokafka itself asks one and gives up."""
        reason: BaseException | None = None
        for _ in range(ASKED):
            try:
                if self._admin is None:
                    self._admin = make_admin(self._settings)
                    await self._admin.start()
                return str((await self._admin.describe_cluster())["cluster_id"])
            except UNREACHABLE as error:
                reason = error
                await self._close()
        raise KafkaUnavailableError from reason

    async def _close(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            with suppress(*UNREACHABLE):
                await asyncio.wait_for(admin.close(), CLOSE_TIMEOUT)


def make_admin(settings: Settings) -> AIOKafkaAdminClient:
    """Return a client that asks about topics and the cluster; a broker that is silent costs it five seconds."""
    return AIOKafkaAdminClient(bootstrap_servers=settings.kafka_servers, request_timeout_ms=ANSWER_TIMEOUT_MS)
