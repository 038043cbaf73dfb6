"""From Kafka's batches to deliveries: parse, deliver, report. The consumer commits when a handler returns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from aiokafka import ConsumerRecord

from services.destination_writer.dispatch import Dispatch
from services.destination_writer.graveyard import Graveyard
from services.destination_writer.ledger import Ledger
from services.destination_writer.records import Parsed, Position, parse_live, parse_snapshot, require_timely
from shared.changes import Changes, seal
from shared.consumers import HeldError, Rejection
from shared.crypto import KeyRing
from shared.dead_letters import parse_dead_letter
from shared.errors import MessageError, TerminalError
from shared.metrics import EVENT_TO_ROW_SECONDS

SNAPSHOT_DEADLINE = 10.0  # seconds: a backfill's batch is large, and no live event waits behind it


class Handlers:
    """One method per topic."""

    def __init__(
        self,
        dispatch: Dispatch,
        ledger: Ledger,
        graveyard: Graveyard,
        *,
        events: Rejection,
        snapshots: Rejection,
        event_deadline_seconds: float,
        keys: KeyRing,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._dispatch = dispatch
        self._ledger = ledger
        self._graveyard = graveyard
        self._events = events
        self._snapshots = snapshots
        self._event_deadline = event_deadline_seconds
        self._keys = keys
        self._now = now

    async def deliver_events(self, messages: Sequence[ConsumerRecord]) -> None:
        """Deliver live events; raise `HeldError` with those that can't be used and wait, once the others are done."""
        batch = await self._deliver(messages, parse_live, self._events, self._event_deadline)
        now_ms = self._now() * 1000
        for item in batch:
            if item.event and item.event.received_at_ms and not item.replay:
                EVENT_TO_ROW_SECONDS.observe(max(0.0, now_ms - item.event.received_at_ms) / 1000)

    async def deliver_snapshots(self, messages: Sequence[ConsumerRecord]) -> None:
        """Deliver listed and refetched objects; raise as `deliver_events` does."""
        await self._deliver(messages, parse_snapshot, self._snapshots, SNAPSHOT_DEADLINE)

    async def keep_dead_letters(self, messages: Sequence[ConsumerRecord]) -> None:
        """Keep dead letters where people see them."""
        await self._graveyard.keep([parse_dead_letter(message) for message in messages])

    async def _deliver(
        self,
        messages: Sequence[ConsumerRecord],
        parse: Callable[[ConsumerRecord], Parsed],
        rejection: Rejection,
        deadline_seconds: float,
    ) -> list[Parsed]:
        batch: list[Parsed] = []
        failed: dict[Position, TerminalError] = {}
        for message in messages:
            try:
                batch.append(require_timely(parse(message), self._now()))
            except MessageError as error:
                # It asks for nothing, but its offset counts: a slice is confirmed once all of its records are done.
                batch.append(_nothing(message))
                failed[batch[-1].position] = error
        # Together, so that the good records don't wait for the others' letters; and both to their end, before a failure
        # lets the batch come again.
        held, result = await asyncio.gather(
            _reject(messages, failed, rejection, stage="parse"),
            self._dispatch.deliver(batch, deadline_seconds=deadline_seconds),
            return_exceptions=True,
        )
        if isinstance(held, BaseException):
            raise held
        if isinstance(result, BaseException):
            raise result
        held |= await _reject(messages, result.refused_parts, rejection, stage="write")
        batch = [item for item in batch if item.position not in held]
        sealed = self._seal(batch, result.changes)
        await self._ledger.record(batch, result.reports, result.refetches, result.comparisons, sealed)
        if held:
            raise HeldError(str(next(iter(held.values()))), [one for one in messages if _position(one) in held])
        return batch

    def _seal(self, batch: Sequence[Parsed], changes: Mapping[Position, Changes]) -> dict[Position, bytes]:
        """Return what events have changed, encrypted: the log holds values of the merchant's customers then."""
        return {
            item.position: seal(self._keys, told, connection_id=item.connection_id, event_id=item.event.event_id)
            for item in batch
            if item.event and (told := changes.get(item.position)) and told.changes
        }


async def _reject(
    messages: Sequence[ConsumerRecord], failed: Mapping[Position, TerminalError], rejection: Rejection, *, stage: str
) -> dict[Position, HeldError]:
    """Let the records at these positions end as dead letters; return those that may not for now, and why."""
    held: dict[Position, HeldError] = {}

    async def reject(message: ConsumerRecord, position: Position) -> None:
        try:
            await rejection.reject(message, failed[position], stage=stage)
        except HeldError as error:
            held[position] = error

    ended = (
        [(message, position) for message in messages if (position := _position(message)) in failed] if failed else ()
    )
    await asyncio.gather(*(reject(message, position) for message, position in ended))
    return held


def _position(message: ConsumerRecord) -> Position:
    return Position(message.topic, message.partition, message.offset)


def _nothing(message: ConsumerRecord) -> Parsed:
    return Parsed("", _position(message))  # whatever its headers say: nobody is to be looked for by that
