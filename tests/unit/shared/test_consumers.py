"""One classifier decides the outcome of every batch: commit after the effect, wait, or hand back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
import structlog
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError
from faststream.kafka.message import KafkaMessage

from shared.consumers import HAND_BACK_AFTER, settle, settle_message
from shared.errors import DatabaseUnavailableError, KafkaUnavailableError, MessageError, StripeRateLimitedError
from tests.factories import make_message


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
