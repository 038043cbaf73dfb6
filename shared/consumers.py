"""Kafka consumers: FastStream reads, one classifier decides the outcome of every batch, and commits come last.

Done → commit. Transient → wait, try again, then hand the batch back. Anything else → halve the batch down to the
culprit, which becomes a dead letter. One that may not become one is held: the others are done, and it alone is tried
again.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaMessage

from shared.dead_letters import DeadLetter, dead_letter_of, describe
from shared.errors import TransientError
from shared.heartbeat import beat, heart
from shared.kafka import MAX_RECORD_BYTES, UNREACHABLE, Outgoing, Producer
from shared.log import get_logger
from shared.metrics import BATCHES_RETRIED, RECORDS_HELD
from shared.metrics import DEAD_LETTERS as DEAD_LETTERS_TOTAL
from shared.retries import pause_seconds
from shared.settings import Settings
from shared.topics import DEAD_LETTERS, Topic, group

HAND_BACK_AFTER = 60.0  # seconds of transient failures; well below Kafka's max.poll.interval.ms of 5 minutes
BATCH_TIMEOUT_MS = 10  # FastStream's default of 200 costs 168 ms of p95 at 2 records/s
SESSION_TIMEOUT_MS = 6_000  # the least that Kafka allows: so long a killed member's partitions stand still
SHUTDOWN_GRACE = 5.0  # seconds for a batch that is under way; one that is not done by then comes again
STOP_TIMEOUT = SHUTDOWN_GRACE + 3.0  # seconds until a consumer that does not stop is left behind
LONGEST_PAUSE = 5.0  # seconds, the longest pause between two tries

LAST = 200  # records by which is judged whether the topic's dead letters are too many
LEAST = 100  # records without which is not judged
MOST_DEAD = 0.9  # share
MOST_NAMED = 20  # connections in a line of the log
TRICKLE = 60.0  # seconds between two dead letters while they are too many

R = TypeVar("R")
BatchHandler = Callable[[Sequence[ConsumerRecord]], Awaitable[None]]
Reject = Callable[[ConsumerRecord, Exception], Awaitable[None]]


class HeldError(TransientError):
    """These records can't be used, and may not become dead letters for now: they wait. All others are done."""

    code = "held"

    def __init__(self, message: str, records: Iterable[ConsumerRecord]) -> None:
        """Take why, and which."""
        super().__init__(message)
        self.records = tuple(records)


class Rejection:
    """Turns records of a topic into dead letters, as long as not nearly all of them end so.

    When the records of every connection fail, it is hardly their fault: a release has a bug, or something of ours can't
    be read. Then they are held, but for one a minute, and are delivered once the fault is mended. What one connection's
    records suffer alone holds no other's up. No record of the topic of dead letters becomes a dead letter.
    """

    def __init__(self, producer: Producer, topic: Topic, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.topic = topic
        self._producer = producer
        self._clock = clock
        self._window: deque[tuple[str, bool]] = deque(maxlen=LAST)  # of each record its connection, and if it is dead
        self._known: set[str] = set()  # connections
        self._ended: set[tuple[int, int]] = set()  # partitions and offsets: what a handler has rejected of its batch
        self._next_at = float("-inf")

    async def reject(self, record: ConsumerRecord, error: Exception, *, stage: str | None = None) -> None:
        """Publish the record's dead letter; raise `HeldError` if it may not become one now.

        `stage` is where the record ended, by default the topic. Raises `KafkaUnavailableError`.
        """
        if self.topic is DEAD_LETTERS:
            raise HeldError(f"A dead letter can't be kept ({describe(error)[1]}).", [record])
        if self._are_too_many() and self._clock() < self._next_at:
            raise HeldError(f"Nearly all records of `{self.topic.noun}` fail ({describe(error)[1]}).", [record])
        letter = dead_letter_of(record, error, stage=stage or self.topic.noun)
        await publish_dead_letter(self._producer, letter, cause=error)
        self._note(letter.connection_id, is_dead=True)
        self._ended.add((record.partition, record.offset))
        self._next_at = self._clock() + TRICKLE

    async def watch(self, handle: BatchHandler, records: Sequence[ConsumerRecord]) -> None:
        """Let `handle` deal with records, and note what passed; raises what it raises."""
        try:
            await handle(records)
        except HeldError as error:
            self._pass(records, held=error.records)
            raise
        self._pass(records)

    def _pass(self, records: Sequence[ConsumerRecord], *, held: Sequence[ConsumerRecord] = ()) -> None:
        ended = self._ended | {(record.partition, record.offset) for record in held}
        for record in records:
            if (record.partition, record.offset) not in ended:
                self._note(_connection_of(record), is_dead=False)
        self._ended.clear()

    def _note(self, connection_id: str, *, is_dead: bool) -> None:
        self._window.append((connection_id, is_dead))
        self._known.add(connection_id)

    def _are_too_many(self) -> bool:
        failing = {connection_id for connection_id, is_dead in self._window if is_dead}
        dead = sum(is_dead for _, is_dead in self._window)
        if len(self._window) < LEAST or dead < MOST_DEAD * len(self._window):
            return False
        are_all = failing == {connection_id for connection_id, _ in self._window}
        return are_all and (len(failing) > 1 or failing == self._known)


def make_broker(settings: Settings) -> KafkaBroker:
    """Return a broker that only consumes, commits by hand, and hands the untouched message to its handlers."""
    return KafkaBroker(
        settings.kafka_servers,
        ack_policy=AckPolicy.MANUAL,
        consumer_only=True,
        apply_types=False,
        decoder=_undecoded,
        logger=None,
        graceful_timeout=SHUTDOWN_GRACE,
    )


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """Whether a consumer is a member of its group; it has partitions then, where there are enough of them."""

    def __init__(self) -> None:
        self.is_joined = False

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """The group shares out anew, or has let this member go."""
        self.is_joined = False

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """The group has shared out; a member beyond the number of partitions gets none, and is in reserve."""
        self.is_joined = True


def _connection_of(record: ConsumerRecord) -> str:
    """Return the id of the connection that a record's headers name; empty where they name none."""
    return str(dict(record.headers).get("connection", b""), "utf-8", "replace")


async def _undecoded(message: KafkaMessage) -> KafkaMessage:
    return message


def subscribe(
    broker: KafkaBroker,
    settings: Settings,
    handle: BatchHandler,
    *,
    rejection: Rejection,
    batch_size: int = 1000,
    life: int = 1,
) -> Membership:
    """Let `handle` see every batch of the topic of `rejection`, in order, one at a time; commit when it returns.

    `life` is that of the broker's log: each has a group of its own, which begins where the log begins. Returns what
    tells whether the consumer has joined it.
    """
    membership, topic = Membership(), rejection.topic

    async def watched(records: Sequence[ConsumerRecord]) -> None:
        await rejection.watch(handle, records)

    async def consume(message: KafkaMessage) -> None:
        with heart(f"consumer of {topic.noun}"):
            await settle_message(message, watched, rejection.reject)

    broker.subscriber(
        topic.name(settings.topic_prefix),
        group_id=group(settings.topic_prefix, topic, life),
        group_instance_id=settings.instance,
        batch=True,
        max_records=batch_size,
        batch_timeout_ms=BATCH_TIMEOUT_MS,
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=SESSION_TIMEOUT_MS // 4,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=MAX_RECORD_BYTES,
        no_reply=True,
        listener=membership,
    )(consume)
    return membership


async def publish_dead_letter(producer: Producer, letter: DeadLetter, *, cause: Exception) -> None:
    """Publish a dead letter; a bug's traceback goes to the log. Raises `KafkaUnavailableError`."""
    DEAD_LETTERS_TOTAL.labels(letter.code).inc()
    get_logger().warning(
        "dead_letter",
        code=letter.code,
        reason=letter.reason,
        stage=letter.stage,
        topic=letter.source_topic,
        partition=letter.source_partition,
        offset=letter.source_offset,
        exc_info=cause if letter.code == "bug" else None,
    )
    outgoing = Outgoing(key=letter.connection_id.encode(), value=letter.body, headers=letter.encode())
    await producer.publish(DEAD_LETTERS, outgoing)


async def settle_message(
    message: KafkaMessage,
    handle: BatchHandler,
    reject: Reject,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Commit, try again, or hand the batch back: the one classifier of outcomes."""
    records: Sequence[ConsumerRecord] = message.raw_message
    left, topic = records, records[0].topic
    deadline = clock() + HAND_BACK_AFTER
    for attempt in itertools.count():
        try:
            held = await _settle_all_but_held(left, handle, reject)
            RECORDS_HELD.labels(topic).set(len(held.records) if held else 0)
            if held is None:
                break
            left = held.records
            if attempt == 0:
                _log_held(topic, held)
            raise held
        except Exception as error:
            BATCHES_RETRIED.labels(topic).inc()
            _log_delay(topic, attempt, error)
            asked = error.retry_after_seconds if isinstance(error, TransientError) else None
            await sleep(pause_seconds(attempt, cap=LONGEST_PAUSE, at_least=asked))
        if clock() > deadline:
            RECORDS_HELD.labels(topic).set(0)  # another process may have them next
            _hand_back(message, records)
            return
    try:
        await message.ack()
    except (KafkaError, IllegalStateError) as error:
        # The partitions moved, or the broker is away: the records come again, which changes no row.
        get_logger().info("commit_refused", topic=topic, reason=type(error).__name__)


async def _settle_all_but_held(
    records: Sequence[ConsumerRecord], handle: BatchHandler, reject: Reject
) -> HeldError | None:
    """Settle `records`; return those that are held and why, if there are any. Raises what `settle` raises."""
    held: list[HeldError] = []

    async def attend(some: Sequence[ConsumerRecord]) -> None:
        try:
            await handle(some)
        except HeldError as error:
            held.append(error)

    async def end(record: ConsumerRecord, error: Exception) -> None:
        try:
            await reject(record, error)
        except HeldError as refused:
            held.append(refused)

    await settle(records, attend, end)
    return HeldError(held[0].message, [record for one in held for record in one.records]) if held else None


def _log_delay(topic: str, attempt: int, error: Exception) -> None:
    """Log why a batch waits. What is not transient here is a bug: even so, no record may be skipped."""
    _, reason = describe(error)
    cause = None if attempt or isinstance(error, TransientError) else error
    get_logger().warning("batch_delayed", topic=topic, attempt=attempt, reason=reason, exc_info=cause)


def _log_held(topic: str, held: HeldError) -> None:
    """Say about once a minute, until it is mended, whose records wait and what a person can do."""
    first, owners = held.records[0], {_connection_of(record) for record in held.records}
    get_logger().error(
        "records_held",
        topic=topic,
        records=len(held.records),
        partition=first.partition,
        offset=first.offset,
        connections=sorted(owners - {""})[:MOST_NAMED],
        reason=held.message,
        fix="Nothing is lost while Kafka keeps them. See docs/operations.md, When records are held.",
    )


def _hand_back(message: KafkaMessage, records: Sequence[ConsumerRecord]) -> None:
    """Let every partition begin again at its first record; `nack` would stop at one that has moved away."""
    for partition, offset in {TopicPartition(r.topic, r.partition): r.offset for r in reversed(records)}.items():
        with suppress(IllegalStateError):
            message.consumer.seek(partition, offset)


def halve(records: Sequence[R]) -> Sequence[Sequence[R]]:
    """Return the first and the second half."""
    middle = len(records) // 2
    return records[:middle], records[middle:]


async def settle(
    records: Sequence[R],
    handle: Callable[[Sequence[R]], Awaitable[None]],
    reject: Callable[[R, Exception], Awaitable[None]],
    *,
    split: Callable[[Sequence[R]], Sequence[Sequence[R]]] = halve,
) -> None:
    """Handle `records`; split a batch that fails down to the culprits and give those to `reject`.

    `split` parts several records, each part smaller than the whole. Raises what is transient: nothing of it may be
    skipped.
    """
    beat()
    try:
        if records:
            await handle(records)
    except TransientError:
        raise
    except Exception as error:
        if len(records) == 1:
            await reject(records[0], error)
            return
        for part in split(records):
            await settle(part, handle, reject, split=split)


async def consuming(broker: KafkaBroker) -> None:
    """Run the broker's consumers until cancelled, however long Kafka takes to answer."""
    try:
        for attempt in itertools.count():
            try:
                await broker.start()
                break
            except UNREACHABLE as error:
                get_logger().warning("kafka_unreachable", attempt=attempt, reason=type(error).__name__)
                await _stop(broker)
                await asyncio.sleep(pause_seconds(attempt, cap=LONGEST_PAUSE))
        await asyncio.get_running_loop().create_future()
    finally:
        await _stop(broker)


async def _stop(broker: KafkaBroker) -> None:
    """Stop, but don't wait for ever for a group that does not let its member go: the broker may just have lost it."""
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await broker.stop()
    except (TimeoutError, KafkaError) as error:
        get_logger().warning("consumer_left_behind", reason=type(error).__name__)
