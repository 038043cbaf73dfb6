"""One classifier decides the outcome of every batch: commit after the effect, wait, or hand back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
import structlog
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError
from faststream.kafka.message import KafkaMessage

from shared.consumers import HAND_BACK_AFTER, LEAST, TRICKLE, HeldError, Rejection, settle, settle_message
from shared.errors import DatabaseUnavailableError, KafkaUnavailableError, MessageError, StripeRateLimitedError
from shared.kafka import Producer
from shared.topics import DEAD_LETTERS, EVENTS
from tests.factories import make_message
from tests.fakes import FakeProducer


class FakeMessage:
    """A batch whose consumer remembers commits and seeks, in the order in which they happen."""

    def __init__(self, records: Sequence[ConsumerRecord], log: list[str]) -> None:
        self.raw_message = tuple(records)
        self.consumer = self
        self.log = log
        self.moved: set[TopicPartition] = set()
        self.positions: dict[TopicPartition, int] = {}
        self.commit_error: Exception | None = None

    async def ack(self) -> None:
        if self.commit_error:
            raise self.commit_error
        self.log.append("commit")

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition in self.moved:
            raise IllegalStateError(f"No current assignment for partition {partition}")
        self.positions[partition] = offset


class Time:
    """A clock that only pauses move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


class Run:
    """A batch of two partitions on its way through the classifier."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.time = Time()
        self.records = [make_message(partition=p, offset=o) for p in (0, 1) for o in (5, 6)]
        self.message = FakeMessage(self.records, self.log)
        self.failures: list[Exception] = []
        self.always: Exception | None = None
        self.rejected: list[tuple[int, int]] = []
        self.reject_error: Exception | None = None

    async def handle(self, records: Sequence[ConsumerRecord]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        if self.always:
            raise self.always
        self.log.append("handled")

    async def reject(self, record: ConsumerRecord, error: Exception) -> None:
        if self.reject_error:
            raise self.reject_error
        self.rejected.append((record.partition, record.offset))

    async def settle(self) -> None:
        await settle_message(
            cast(KafkaMessage, self.message), self.handle, self.reject, clock=self.time, sleep=self.time.sleep
        )


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as found:
        yield found


@pytest.fixture
def run() -> Run:
    return Run()


async def test_commit_comes_after_the_effect(run: Run) -> None:
    await run.settle()
    assert run.log == ["handled", "commit"]


async def test_transient_failure_waits_and_commits_once_it_is_over(run: Run) -> None:
    run.failures = [DatabaseUnavailableError(), KafkaUnavailableError()]
    await run.settle()
    assert (run.log, len(run.time.pauses), run.rejected) == (["handled", "commit"], 2, [])


async def test_pause_is_at_least_what_the_other_side_asks_for(run: Run) -> None:
    run.failures = [StripeRateLimitedError(retry_after_seconds=7)]
    await run.settle()
    assert run.time.pauses[0] >= 7


async def test_long_transient_failure_hands_every_partition_back_uncommitted(run: Run) -> None:
    run.always = DatabaseUnavailableError()
    await run.settle()
    assert run.log == []
    assert run.message.positions == {TopicPartition("events", 0): 5, TopicPartition("events", 1): 5}
    assert HAND_BACK_AFTER < run.time.now < HAND_BACK_AFTER + 6


async def test_partition_that_has_moved_away_does_not_keep_the_others_from_being_handed_back(run: Run) -> None:
    run.always = DatabaseUnavailableError()
    run.message.moved = {TopicPartition("events", 0), TopicPartition("events", 2)}
    await run.settle()
    assert run.message.positions == {TopicPartition("events", 1): 5}


async def test_commit_that_is_refused_is_no_failure(run: Run) -> None:
    """The partitions were given to another member, which reads the same records once more."""
    run.message.commit_error = CommitFailedError()
    await run.settle()
    assert run.log == ["handled"]


@pytest.mark.parametrize("error", [KafkaUnavailableError(), MessageError(), RuntimeError("bug")])
async def test_dead_letter_that_can_not_be_published_skips_no_record(run: Run, error: Exception) -> None:
    run.always, run.reject_error = MessageError(), error
    await run.settle()
    assert run.log == []
    assert len(run.message.positions) == 2


async def test_bug_is_logged_with_its_traceback_once(run: Run, logs: list[Any]) -> None:
    run.always, run.reject_error = MessageError(), RuntimeError("bug")
    await run.settle()
    assert [entry["exc_info"] for entry in logs] == [run.reject_error] + [None] * (len(logs) - 1)


async def test_culprits_are_rejected_and_the_rest_is_handled_in_order() -> None:
    handled: list[int] = []
    rejected: list[tuple[int, str]] = []

    async def handle(numbers: Sequence[int]) -> None:
        if culprits := {3, 4, 11} & set(numbers):
            raise ValueError(min(culprits))
        handled.extend(numbers)

    async def reject(number: int, error: Exception) -> None:
        rejected.append((number, str(error)))

    await settle(range(16), handle, reject)
    assert handled == [0, 1, 2, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15]
    assert rejected == [(3, "3"), (4, "4"), (11, "11")]


async def test_one_culprit_costs_a_few_tries() -> None:
    tries: list[int] = []

    async def handle(numbers: Sequence[int]) -> None:
        tries.append(len(numbers))
        if 700 in numbers:
            raise ValueError

    async def reject(number: int, error: Exception) -> None:
        assert number == 700

    await settle(range(1000), handle, reject)
    assert len(tries) <= 21


async def test_transient_failure_stops_everything_and_rejects_nothing() -> None:
    handled: list[int] = []

    async def handle(numbers: Sequence[int]) -> None:
        if len(numbers) > 1:
            raise ValueError
        if numbers[0] == 2:
            raise DatabaseUnavailableError
        handled.extend(numbers)

    async def reject(number: int, error: Exception) -> None:
        raise AssertionError(f"{number} was rejected")

    with pytest.raises(DatabaseUnavailableError):
        await settle([0, 1, 2, 3], handle, reject)
    assert handled == [0, 1]


async def test_nothing_is_handled_of_an_empty_batch() -> None:
    async def fail(*_: Any) -> None:
        raise AssertionError

    await settle([], fail, fail)


def sent_by(connection_id: str, offset: int) -> ConsumerRecord:
    return make_message(offset=offset, headers=[("connection", connection_id.encode())])


class Topic:
    """A topic whose records of the connections in `broken` can't be used."""

    def __init__(self, *broken: str) -> None:
        self.broken = set(broken)
        self.time = Time()
        self.producer = FakeProducer()
        self.rejection = Rejection(cast(Producer, self.producer), EVENTS, clock=self.time)
        self.handled: list[int] = []
        self.offset = 0

    async def handle(self, records: Sequence[ConsumerRecord]) -> None:
        if any(dict(record.headers)["connection"].decode() in self.broken for record in records):
            raise MessageError
        self.handled += [record.offset for record in records]

    async def watched(self, records: Sequence[ConsumerRecord]) -> None:
        await self.rejection.watch(self.handle, records)

    async def take(self, *connections: str) -> FakeMessage:
        """Settle a batch with a record of each of the connections."""
        records = [sent_by(one, self.offset + number) for number, one in enumerate(connections)]
        self.offset += len(records)
        message = FakeMessage(records, [])
        await settle_message(
            cast(KafkaMessage, message), self.watched, self.rejection.reject, clock=self.time, sleep=self.time.sleep
        )
        return message

    @property
    def letters(self) -> int:
        return len(self.producer.records(DEAD_LETTERS))


async def test_topic_whose_records_nearly_all_fail_waits_instead_of_becoming_dead_letters() -> None:
    topic = Topic("con_1", "con_2")
    for _ in range(LEAST):
        await topic.take("con_1", "con_2")
    assert topic.letters <= LEAST + topic.time.now / TRICKLE + 1  # and not one for each of the 200 records
    topic.time.now += TRICKLE
    message = await topic.take("con_1")
    assert message.log == ["commit"]  # one a minute still ends, so that nothing stands still for ever
    message = await topic.take("con_1")
    assert (message.log, message.positions) == ([], {TopicPartition("events", 0): topic.offset - 1})


async def test_what_waited_is_delivered_once_the_fault_is_mended() -> None:
    topic = Topic("con_1", "con_2")
    for _ in range(LEAST):
        await topic.take("con_1", "con_2")
    letters = topic.letters
    topic.broken.clear()
    message = await topic.take("con_1", "con_2")
    assert (message.log, topic.letters) == (["commit"], letters)


@pytest.mark.parametrize("broken", [["con_1"], ["con_1", "con_2"]])
async def test_connections_whose_records_fail_hold_nobody_else_up(broken: list[str]) -> None:
    topic = Topic(*broken)
    for _ in range(3 * LEAST):
        message = await topic.take(*broken, *broken, "con_9", *broken)
        assert message.log == ["commit"]
    assert len(topic.handled) == 3 * LEAST


async def test_a_record_that_can_be_used_passes_while_others_are_held() -> None:
    topic = Topic("con_1", "con_2")
    for _ in range(LEAST):
        await topic.take("con_1", "con_2")
    message = await topic.take("con_1", "con_9", "con_2")
    assert message.log == ["commit"]  # con_9 shows that not every connection fails, so the others may end
    assert topic.handled == [topic.offset - 2]


async def test_only_connection_there_is_waits_too_until_another_one_comes() -> None:
    topic = Topic("con_1")
    for _ in range(LEAST + 20):
        await topic.take("con_1")
    assert topic.letters < LEAST + 20
    await topic.take("con_1", "con_2")
    assert (await topic.take("con_1")).log == ["commit"]


async def test_handler_that_holds_some_records_has_the_others_done_and_those_alone_tried_again(run: Run) -> None:
    tried: list[list[int]] = []

    async def handle(records: Sequence[ConsumerRecord]) -> None:
        tried.append([record.offset for record in records])
        if len(tried) < 3:
            raise HeldError("They wait.", records[1:2])

    run.message = FakeMessage([make_message(offset=offset) for offset in range(3)], run.log)
    await settle_message(cast(KafkaMessage, run.message), handle, run.reject, clock=run.time, sleep=run.time.sleep)
    assert (tried, run.log) == ([[0, 1, 2], [1]], ["commit"])


async def test_log_says_once_in_a_minute_whose_records_are_held_and_what_to_do() -> None:
    topic = Topic("con_1", "con_2")
    for _ in range(LEAST):
        await topic.take("con_1", "con_2")
    with structlog.testing.capture_logs() as logs:
        await topic.take("con_1", "con_1", "con_2")  # the first one ends, as one a minute does
    [line] = [one for one in logs if one["event"] == "records_held"]
    assert line["log_level"] == "error"
    assert (line["topic"], line["records"], line["connections"]) == ("events", 2, ["con_1", "con_2"])
    assert (line["partition"], line["offset"]) == (0, topic.offset - 2)
    assert "Nearly all records" in line["reason"]
    assert "docs/operations.md" in line["fix"]


async def test_dead_letter_that_can_not_be_kept_waits_and_becomes_no_other_one() -> None:
    producer, kept, log = FakeProducer(), list[int](), list[str]()
    rejection = Rejection(cast(Producer, producer), DEAD_LETTERS)

    async def keep(records: Sequence[ConsumerRecord]) -> None:
        if any(record.offset == 2 for record in records):
            raise ValueError("It can't be kept.")
        kept.extend(record.offset for record in records)

    time = Time()
    message = FakeMessage([make_message(offset=offset, topic="dead") for offset in range(5)], log)
    await settle_message(cast(KafkaMessage, message), keep, rejection.reject, clock=time, sleep=time.sleep)
    assert (kept, producer.published, log) == ([0, 1, 3, 4], [], [])
    assert message.positions == {TopicPartition("dead", 0): 0}
