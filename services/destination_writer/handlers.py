"""From Kafka's batches to deliveries: parse, deliver, report. The consumer commits when a handler returns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from aiokafka import ConsumerRecord

from services.destination_writer.dispatch import Dispatch
from services.destination_writer.graveyard import Graveyard
from services.destination_writer.ledger import Ledger
from services.destination_writer.records import Parsed, Position, parse_live, parse_snapshot
from shared.consumers import publish_dead_letter
from shared.dead_letters import DeadLetter, dead_letter_of, parse_dead_letter
from shared.errors import MessageError
from shared.kafka import Producer
from shared.metrics import EVENT_TO_ROW_SECONDS

SNAPSHOT_DEADLINE = 10.0  # seconds: a backfill's batch is large, and no live event waits behind it


class Handlers:
    """One method per topic."""

    def __init__(
        self,
        dispatch: Dispatch,
        ledger: Ledger,
        graveyard: Graveyard,
        producer: Producer,
        *,
        event_deadline_seconds: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._dispatch = dispatch
        self._ledger = ledger
        self._graveyard = graveyard
        self._producer = producer
        self._event_deadline = event_deadline_seconds
        self._now = now

    async def deliver_events(self, messages: Sequence[ConsumerRecord]) -> None:
        """Deliver live events."""
        batch = await self._parse(messages, parse_live)
        await self._deliver(batch, self._event_deadline)
        now_ms = self._now() * 1000
        for item in batch:
            if item.event and item.event.received_at_ms and not item.replay:
                EVENT_TO_ROW_SECONDS.observe(max(0.0, now_ms - item.event.received_at_ms) / 1000)

    async def deliver_snapshots(self, messages: Sequence[ConsumerRecord]) -> None:
        """Deliver listed and refetched objects."""
        await self._deliver(await self._parse(messages, parse_snapshot), SNAPSHOT_DEADLINE)

    async def keep_dead_letters(self, messages: Sequence[ConsumerRecord]) -> None:
        """Keep dead letters where people see them."""
        await self._graveyard.keep([parse_dead_letter(message) for message in messages])

    async def _deliver(self, batch: Sequence[Parsed], deadline_seconds: float) -> None:
        result = await self._dispatch.deliver(batch, deadline_seconds=deadline_seconds)
        await self._ledger.record(batch, result.reports, result.refetches, result.comparisons)

    async def _parse(
        self, messages: Sequence[ConsumerRecord], parse: Callable[[ConsumerRecord], Parsed]
    ) -> list[Parsed]:
        batch: list[Parsed] = []
        ended: list[tuple[DeadLetter, MessageError]] = []
        for message in messages:
            try:
                batch.append(parse(message))
            except MessageError as error:
                letter = dead_letter_of(message, error, stage="parse")
                ended.append((letter, error))
                # It asks for nothing, but its offset counts: a slice is confirmed once all of its records are done.
                batch.append(Parsed(letter.connection_id, Position(message.topic, message.partition, message.offset)))
        await asyncio.gather(*(publish_dead_letter(self._producer, one, cause=error) for one, error in ended))
        return batch
