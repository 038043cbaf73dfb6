"""From Kafka's batches to deliveries: what can't be parsed ends as a dead letter, the rest goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
import structlog

from services.destination_writer.dispatch import Dispatch, Result
from services.destination_writer.graveyard import Graveyard
from services.destination_writer.handlers import SNAPSHOT_DEADLINE, Handlers
from services.destination_writer.ledger import Ledger
from services.destination_writer.records import Parsed, positions
from shared.consumers import Rejection
from shared.crypto import make_encryption_key, parse_key_ring
from shared.dead_letters import DeadLetter, parse_dead_letter
from shared.errors import DatabaseUnavailableError, KafkaUnavailableError
from shared.kafka import Producer
from shared.messages import Origin, RecordHeaders
from shared.topics import DEAD_LETTERS, EVENTS, SNAPSHOTS
from tests.factories import make_message
from tests.fakes import FakeProducer


class Parts:
    """Dispatch, ledger and graveyard in one: remembers what it is given."""

    def __init__(self) -> None:
        self.delivered: list[tuple[Sequence[Parsed], float]] = []
        self.recorded: list[Sequence[Parsed]] = []
        self.kept: list[DeadLetter] = []
        self.error: Exception | None = None

    async def deliver(self, batch: Sequence[Parsed], *, deadline_seconds: float) -> Result:
        if self.error:
            raise self.error
        self.delivered.append((batch, deadline_seconds))
        return Result()

    async def record(self, batch: Sequence[Parsed], *_told: Any) -> None:
        self.recorded.append(batch)

    async def keep(self, letters: Sequence[DeadLetter]) -> None:
        self.kept += letters


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as found:
        yield found


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def producer() -> FakeProducer:
    return FakeProducer()


@pytest.fixture
def handlers(parts: Parts, producer: FakeProducer) -> Handlers:
    return Handlers(
        cast(Dispatch, parts),
        cast(Ledger, parts),
        cast(Graveyard, parts),
        events=Rejection(cast(Producer, producer), EVENTS),
        snapshots=Rejection(cast(Producer, producer), SNAPSHOTS),
        event_deadline_seconds=0.5,
        keys=parse_key_ring(make_encryption_key("k1")),
    )


def snapshot(offset: int, value: bytes = b'{"id":"cus_1"}', resource: str = "customer") -> Any:
    headers = RecordHeaders("con_1", resource, 90, Origin.LISTED, slice_id=3).encode()
    return make_message(value, key=b"con_1:cus_1", headers=headers, topic="snapshots", offset=offset)


async def test_poison_becomes_a_dead_letter_and_the_rest_is_delivered(
    handlers: Handlers, parts: Parts, producer: FakeProducer
) -> None:
    await handlers.deliver_snapshots([snapshot(1), snapshot(2, resource="martian"), snapshot(3)])
    [(batch, deadline)] = parts.delivered
    assert ([item.position.offset for item in batch if item.record], deadline) == ([1, 3], SNAPSHOT_DEADLINE)
    [outgoing] = producer.records(DEAD_LETTERS)
    letter = parse_dead_letter(make_message(outgoing.value, key=outgoing.key, headers=outgoing.headers))
    assert (letter.stage, letter.code, letter.source_offset, letter.body) == (
        "parse",
        "message_invalid",
        2,
        b'{"id":"cus_1"}',
    )


async def test_poison_at_the_end_still_counts_as_progress(handlers: Handlers, parts: Parts) -> None:
    """A slice is confirmed once the writers are past its last record, be it poison."""
    await handlers.deliver_snapshots([snapshot(1), snapshot(2, b"\xff")])
    assert positions(parts.recorded[0]) == {("snapshots", 0): 3}


async def test_nothing_is_recorded_of_a_delivery_that_failed(handlers: Handlers, parts: Parts) -> None:
    parts.error = DatabaseUnavailableError()
    with pytest.raises(DatabaseUnavailableError):
        await handlers.deliver_events([])
    assert parts.recorded == []


async def test_poison_whose_dead_letter_can_not_be_published_brings_the_batch_again(
    handlers: Handlers, parts: Parts, producer: FakeProducer
) -> None:
    producer.error = KafkaUnavailableError()
    with pytest.raises(KafkaUnavailableError):
        await handlers.deliver_events([make_message(b"not json", headers=[("connection", b"con_1")])])
    assert parts.recorded == []


async def test_dead_letters_are_kept(handlers: Handlers, parts: Parts) -> None:
    letter = DeadLetter("parse", "message_invalid", "why", b"body", "con_1")
    await handlers.keep_dead_letters([make_message(letter.body, key=b"con_1", headers=letter.encode())])
    assert [(one.code, one.reason, one.body) for one in parts.kept] == [("message_invalid", "why", b"body")]
