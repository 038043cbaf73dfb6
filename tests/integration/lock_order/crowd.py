"""Everything that locks rows of several tables of the state database, as parts of all services do it, at random."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

from services.connection_api.letters.letters import Letters
from services.connection_api.letters.replays import Replays
from services.connection_api.life.choices import Choices
from services.connection_api.life.deliveries import Deliveries
from services.connection_api.rest.models import LetterChoice
from services.connection_api.settings import ApiSettings
from services.destination_writer.breaker import stop
from services.destination_writer.comparison import Compared, Finding
from services.destination_writer.delivery import Outcome, Report
from services.destination_writer.findings import ComparisonReport
from services.destination_writer.graveyard import Graveyard
from services.destination_writer.ledger import Ledger
from services.destination_writer.lifeline import EndedMeanwhileError
from services.destination_writer.outlets import Outlets
from services.destination_writer.parking import Parking
from services.destination_writer.records import EventEntry, Parsed, Position, Record, Refetch
from services.destination_writer.replaying import Replaying
from services.destination_writer.routing import Routes
from services.destination_writer.second_look import CLAIM, PAUSE, SecondLook
from services.sync_worker.answers import Answers
from services.sync_worker.broker import Seen
from services.sync_worker.broker_watch import BrokerWatch
from services.sync_worker.completion import Completion
from services.sync_worker.delivery_gaps import DeliveryGaps
from services.sync_worker.faults import NOTE, UNLISTED
from services.sync_worker.hint_spans import Shown
from services.sync_worker.history import LARGE, NotYetError, delete_some
from services.sync_worker.outages import Outages
from services.sync_worker.refetch_pages import RefetchPages
from services.sync_worker.slices import Checkpoint, LeaseLostError, Slices
from shared.audit import Actor
from shared.broker_log import CurrentLog
from shared.catalogue import BY_NAME
from shared.db import in_transaction
from shared.dead_letters import DeadLetter, Replay
from shared.errors import KafkaUnavailableError, NotFoundError
from shared.messages import Origin
from shared.syncs import SyncStore
from tests.fakes import FakeProducer
from tests.integration.destination_writer.state import State

BY = Actor("test")
CUSTOMERS = [f"cus_{n}" for n in range(12)]
CAUSES = ("terminal", "message_invalid", "destination_rejected")
GAP = """
INSERT INTO delivery_gaps (destination_id, connection_id, resource, slice_id, records)
SELECT $1, $2, 'customer', s, 1 FROM unnest($3::bigint[]) AS s ORDER BY s
ON CONFLICT DO NOTHING
"""
WAIT = """
INSERT INTO refetches (connection_id, resource, object_id, reason, due_at, attempts)
SELECT $1, 'customer', c, 'test', 'infinity', 1 FROM unnest($2::text[]) AS c ORDER BY c
ON CONFLICT (connection_id, resource, object_id) DO UPDATE SET due_at = now() + interval '1 hour', attempts = 1
"""


class _Broker:
    """A broker that has let some records go each time that it is looked at."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._mark: str | None = None

    async def look(self) -> Seen:
        start = self._dice.randrange(100_000)
        places = {("events", n): start for n in range(2)} | {("snapshots", n): start for n in range(2)}
        return Seen("cluster-1", self._mark, places, dict.fromkeys(places, 10000000))

    async def leave_mark(self, mark: str) -> None:
        self._mark = mark


class Crowd:
    """Two accounts that share nothing but the tables; the first delivers to two destinations."""

    def __init__(self, state: State, dice: random.Random) -> None:
        self.state, self.dice, self._pool = state, dice, state.pool
        self._offsets = itertools.count(1)
        self._places: dict[str, list[str]] = {}
        self._slices: dict[str, list[int]] = {}
        self._log = CurrentLog("cluster-1")
        self._ledger, self._parking = Ledger(self._pool, "cluster-1"), Parking(self._pool, cap=20)
        self._syncs = SyncStore(self._pool)
        self._held = Slices(self._pool, owner="test", log=self._log)
        unused: Any = None
        self._watch = BrokerWatch(self._pool, state.connections, self._syncs, _Broker(dice), self._log)
        self._gaps = DeliveryGaps(self._pool, state.connections, unused, unused, self._syncs)
        self._looks = SecondLook(self._pool, Routes(self._pool), Outlets(state.destinations, unused))
        at_stripe = cast("Any", SimpleNamespace(has_endpoint=lambda connection: False))
        settings = cast(
            "ApiSettings", SimpleNamespace(key_ring=state.settings.key_ring, networks=state.settings.networks)
        )
        self._choices = Choices(self._pool, settings, at_stripe)

    async def move_in(self) -> None:
        """Add the accounts, with a backfill each that has many slices."""
        for number, names in enumerate((("a", "b"), ("c",))):
            connection_id = f"con_{number}"
            places = [await self.state.add_destination(name) for name in names]
            await self.state.add_connection(connection_id, *places)
            await self._pool.execute("UPDATE connections SET state = 'active', events_complete_to = 1")
            self._places[connection_id] = places
            await self._begin(connection_id)
        await self._watch.look()

    async def _begin(self, connection_id: str) -> None:
        """Begin backfills with a slice each."""
        self._slices[connection_id] = [await self.state.add_slice(connection_id) for _ in range(8)]
        await self._pool.execute("UPDATE syncs SET started_at = now() WHERE started_at IS NULL")

    @property
    def habits(self) -> Sequence[Callable[[], Awaitable[object]]]:
        """What each of them does, again and again."""
        return (
            self.ledger_of_events,
            self.ledger_of_snapshots,
            self.ledger_of_what_waited,
            self.parking_of_records,
            self.retry_of_records,
            self.graveyard,
            self.sweep_of_letters,
            self.replay,
            self.discard,
            self.checkpoint,
            self.completion,
            self.gaps_of_destinations,
            self.broker_watch,
            self.answers,
            self.outage,
            self.pages_of_questions,
            self.second_look,
            self.faults,
            self.stop_and_go,
            self.choice,
            self.removal,
        )

    async def ledger_of_events(self) -> None:
        items = [self._event() for _ in range(8)]
        reports = [r for item in items for r in self._reports(item, Origin.EVENT)]
        with suppress(EndedMeanwhileError):  # the batch would come again
            await self._ledger.record(items, reports, self._questions())

    async def ledger_of_snapshots(self) -> None:
        items, compared = [], []
        for _ in range(8):
            connection_id, position = self._connection(), self._position("snapshots")
            items.append(Parsed(connection_id, position, replay=Replay(self.dice.randrange(1, 60), "")))
            record = self._record(connection_id, position)
            finding = Compared(self.dice.choice((Finding.DIFFERENT, Finding.EQUAL)))
            compared.append(ComparisonReport(self.dice.choice(self._places[connection_id]), record, finding))
        reports = [r for item in items for r in self._reports(item, Origin.REFETCHED)]
        await self._ledger.record(items, reports, self._questions(), compared)

    async def ledger_of_what_waited(self) -> None:
        items = [Parsed(self._connection(), self._position("events")) for _ in range(6)]
        origins = (Origin.EVENT, Origin.REFETCHED)
        reports = [r for item in items for r in self._reports(item, self.dice.choice(origins))]
        await self._ledger.record_late(reports, self._questions())

    async def parking_of_records(self) -> None:
        connection_id = self._connection()
        records = [self._record(connection_id, self._position("events")) for _ in range(10)]
        known = {record.object_id: record for record in records}
        await self._parking.park(self.dice.choice(self._places[connection_id]), list(known.values()), reason="away")

    async def retry_of_records(self) -> None:
        for queue in await self._parking.due():
            rows = await self._parking.claim(queue, 7)
            self.dice.shuffle(rows)
            if self.dice.random() < 0.5:
                await self._parking.remove(queue, rows)
            else:
                await self._parking.postpone(queue, attempts=0, reason="away")

    async def graveyard(self) -> None:
        letters = [
            DeadLetter(
                "write",
                self.dice.choice(CAUSES),
                "It can't be written.",
                b"{}",
                self._connection(),
                source_topic="events",
                source_offset=next(self._offsets),
                headers=((("replay", f"{self.dice.randrange(1, 60)}.".encode()),) if self.dice.random() < 0.5 else ()),
            )
            for _ in range(6)
        ]
        await Graveyard(self._pool).keep(letters)

    async def sweep_of_letters(self) -> None:
        await Graveyard(self._pool).sweep(most=40)

    async def replay(self) -> None:
        await Replays(self._pool, topic_prefix="test").request(LetterChoice(all=True), by=BY)
        await Replaying(self._pool, cast("Any", FakeProducer()), "test").step()

    async def discard(self) -> None:
        ids = tuple(f"dlt_{self.dice.randrange(1, 60)}" for _ in range(3))
        try:
            await Letters(self._pool).discard(LetterChoice(ids=ids), by=BY)
        except NotFoundError:
            return

    async def checkpoint(self) -> None:
        held = await self._held.claim()
        if held is None:
            return
        offsets = {("snapshots", n): next(self._offsets) for n in range(2)}
        is_last = self.dice.random() < 0.5
        try:
            async with self._held.held(held):
                await self._held.checkpoint(held, Checkpoint("x", 5, 1, offsets, is_last, split=3, read_at=7))
        except LeaseLostError:
            return

    async def completion(self) -> None:
        completion = Completion(self._pool, self._syncs, self._held, log=self._log)
        await completion.start_queued()
        await completion.finish_confirmed()

    async def gaps_of_destinations(self) -> None:
        connection_id = self._connection()
        for place in self._places[connection_id]:
            await self._pool.execute(GAP, place, connection_id, self.dice.sample(self._slices[connection_id], 3))
        await self._pool.execute(WAIT, connection_id, self._shuffled()[:6])
        await self._gaps.fill_ready()

    async def broker_watch(self) -> None:
        await self._watch.look()

    async def answers(self) -> None:
        offsets = {("snapshots", n): next(self._offsets) for n in range(2)}
        question = (self._connection(), "customer", self.dice.choice(CUSTOMERS))
        log_id = self.dice.choice(("cluster-1", ""))
        await Answers(self._pool).note(question, offsets, log_id=log_id, listed_from=1)

    async def outage(self) -> None:
        is_away = [True, False]

        async def look() -> None:
            if is_away.pop(0):
                raise KafkaUnavailableError

        outages = Outages(self._pool, self.state.connections, self._syncs, look=look)
        await outages.queue_after_outage()
        await outages.queue_after_outage()

    async def pages_of_questions(self) -> None:
        unused: Any = None
        pages = RefetchPages(self._pool, self.state.connections, unused, unused)
        key = (self._connection(), "customer")
        rows: Any = [{"object_id": one, "generation": 1, "created": n} for n, one in enumerate(self._shuffled())]
        await pages._settle(key, rows, Shown(frozenset(CUSTOMERS[::2]), 5))

    async def second_look(self) -> None:
        await self._pool.execute("UPDATE differences SET due_at = now() WHERE id % 2 = 0")
        rows = await self._pool.fetch(CLAIM, 20, PAUSE)
        findings = (Compared(Finding.DIFFERENT), Compared(Finding.EQUAL), None)
        await self._looks._settle([(row, self.dice.choice(findings)) for row in rows])

    async def faults(self) -> None:
        values = ("missing_permissions", "It may not.", None, datetime.resolution, UNLISTED)
        await self._pool.execute(NOTE, self._connection(), 1, self.dice.choice(("customer", "charge")), *values)

    async def stop_and_go(self) -> None:
        connection_id = self._connection()
        await stop(self._pool, (self.dice.choice(self._places[connection_id]), connection_id), 1, 1, "no")
        await Deliveries(self._pool).resume(connection_id, by=BY)

    async def choice(self) -> None:
        """Deliver to the second destination, too, or no more."""
        places = self._places["con_0"]
        wanted = self.dice.choice((places, places[:1]))
        await self._choices.choose("con_0", resources=["customer", "charge"], destination_ids=wanted, by=BY)

    async def removal(self) -> None:
        """Delete history as a removal does; the connection itself stays for the others."""
        name = self.dice.choice((*LARGE, "syncs"))
        while True:
            with suppress(NotYetError):
                await in_transaction(self._pool, lambda db: delete_some(db, name, "con_1"))
                break
            await asyncio.sleep(0.02)
        if name == "syncs":
            await self._begin("con_1")

    def _connection(self) -> str:
        return self.dice.choice(list(self._places))

    def _position(self, topic: str) -> Position:
        return Position(topic, self.dice.randrange(2), next(self._offsets))

    def _shuffled(self) -> list[str]:
        return self.dice.sample(CUSTOMERS, len(CUSTOMERS))

    def _record(self, connection_id: str, position: Position) -> Record:
        slice_id = self.dice.choice(self._slices[connection_id])
        customer, stamp = self.dice.choice(CUSTOMERS), self.dice.randrange(1000)
        return Record(
            connection_id, BY_NAME["customer"], customer, stamp, b"{}", Origin.LISTED, position, slice_id=slice_id
        )

    def _event(self) -> Parsed:
        connection_id, position = self._connection(), self._position("events")
        customer = self.dice.choice(CUSTOMERS)
        event_id = f"evt_{self.dice.randrange(30)}"
        entry = EventEntry(connection_id, event_id, "invoice.paid", 5, "customer", customer, 1, position)
        replay = Replay(self.dice.randrange(1, 60), "") if self.dice.random() < 0.5 else None
        return Parsed(connection_id, position, event=entry, replay=replay)

    def _reports(self, item: Parsed, origin: Origin) -> list[Report]:
        outcomes = (Outcome.INSERTED, Outcome.PARKED, Outcome.FAILED, Outcome.UNCHANGED)
        customer = item.event.object_id if item.event else self.dice.choice(CUSTOMERS)
        slice_id = None if origin is Origin.EVENT else self.dice.choice(self._slices[item.connection_id])
        return [
            Report(
                item.connection_id, place, "customer", self.dice.choice(outcomes), item.position, slice_id, origin,
                customer or "", 9,
            )
            for place in self._places[item.connection_id]
        ]  # fmt: skip

    def _questions(self) -> list[Refetch]:
        told = [None, "invoice.paid"]
        asked = [(self._connection(), one) for one in self._shuffled()[:6]]
        return [Refetch(where, "customer", one, "tie", 0, told_by=self.dice.choice(told)) for where, one in asked]
