"""A batch on its way to several destinations, of which some are bad."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from services.destination_writer.breaker import Breaker
from services.destination_writer.comparison import Compared
from services.destination_writer.delivery import Outcome, Reason
from services.destination_writer.destinations import Account
from services.destination_writer.dispatch import Dispatch, Result
from services.destination_writer.omission import make_omissions
from services.destination_writer.outlets import Outlet, Outlets
from services.destination_writer.parking import Parked, Parking
from services.destination_writer.records import Parsed, Record, Refetch
from services.destination_writer.routing import Route, Routes
from shared.db import Pool
from shared.errors import DatabaseUnavailableError, DestinationRejectedError, KafkaUnavailableError
from shared.messages import Origin
from tests.contracts import ACCOUNT
from tests.eventually import eventually
from tests.factories import CONNECTION, lines, make_part, make_record
from tests.fakes import MemoryDestination
from tests.unit.destination_writer.test_outlets import SilentDestination

DEADLINE = 0.05  # seconds
KEY = (ACCOUNT.id, ACCOUNT.livemode)


@dataclass
class FakeRoutes:
    routes: dict[str, Route]

    async def read(self, connection_ids: Collection[str]) -> dict[str, Route]:
        return {one: self.routes[one] for one in connection_ids if one in self.routes}


@dataclass
class FakeParking:
    """Keeps what is parked; says of the objects in `tied` that Stripe has to be asked; fails while `is_down`."""

    parked: list[tuple[str, Record]] = field(default_factory=list)
    tied: set[tuple[str, str]] = field(default_factory=set)
    is_down: bool = False

    async def park(self, destination_id: str, records: Sequence[Record], *, reason: str) -> Parked:
        if self.is_down:
            raise DatabaseUnavailableError
        self.parked += [(destination_id, record) for record in records]
        return Parked(self.tied)


class World:
    """A connection that delivers to the destinations `good` and `bad`."""

    def __init__(self) -> None:
        self.good, self.bad = MemoryDestination(), MemoryDestination()
        self.parking = FakeParking()
        self.rejected: list[tuple[str, str, str]] = []
        self.reject_error: Exception | None = None
        self.outlets = {"good": Outlet(self.good), "bad": Outlet(self.bad)}
        resources = frozenset({"customer", "invoice"})
        self.routes = FakeRoutes({CONNECTION: Route(CONNECTION, ACCOUNT, resources, ("bad", "good"))})

    async def get(self, destination_id: str) -> Outlet:
        return self.outlets[destination_id]

    async def reject(self, record: Record, destination_id: str, error: Exception) -> None:
        if self.reject_error:
            raise self.reject_error
        self.rejected.append((record.object_id, destination_id, type(error).__name__))

    async def deliver(self, *records: Record, **fields: Any) -> Result:
        batch = [Parsed(record.connection_id, record.position, record=record, **fields) for record in records]
        return await self.deliver_batch(batch)

    async def deliver_batch(self, batch: Sequence[Parsed]) -> Result:
        return await self.dispatch().deliver(batch, deadline_seconds=DEADLINE)

    def dispatch(self) -> Dispatch:
        return Dispatch(
            cast(Routes, self.routes),
            cast(Outlets, self),
            cast(Parking, self.parking),
            self.reject,
            breaker=Breaker(cast(Pool, None)),  # which is not asked for so few records
        )


@pytest.fixture
def world() -> World:
    return World()


def outcomes(result: Result, destination_id: str) -> list[Outcome]:
    return [report.outcome for report in result.reports if report.destination_id == destination_id]


async def test_bad_destination_is_parked_while_the_other_has_its_rows_at_once(world: World) -> None:
    world.outlets["bad"] = Outlet(SilentDestination())
    delivery = asyncio.create_task(world.deliver(make_record("cus_1"), make_record("cus_2")))
    await eventually(lambda: len(world.good.tables.get("customers", {})) == 2)
    assert not delivery.done()
    result = await asyncio.wait_for(delivery, 1)
    assert outcomes(result, "good") == [Outcome.INSERTED] * 2
    assert outcomes(result, "bad") == [Outcome.PARKED] * 2
    assert [(where, record.object_id) for where, record in world.parking.parked] == [("bad", "cus_1"), ("bad", "cus_2")]


async def test_newest_record_of_each_object_is_parked(world: World) -> None:
    world.bad.is_down = True
    await world.deliver(make_record(stamp=100), make_record(stamp=102), make_record(stamp=101))
    assert [record.stamp for _, record in world.parking.parked] == [102]


async def test_tie_in_a_batch_that_is_parked_is_asked_for(world: World) -> None:
    world.bad.is_down = True
    result = await world.deliver(make_record(name="a"), make_record(name="b"))
    assert Refetch(CONNECTION, "customer", "cus_1", "tie", 100) in result.refetches


async def test_tie_with_what_is_parked_already_is_asked_for(world: World) -> None:
    world.bad.is_down, world.parking.tied = True, {("customer", "cus_1")}
    result = await world.deliver(make_record("cus_1"), make_record("cus_2"))
    assert [refetch.object_id for refetch in result.refetches] == ["cus_1"]


async def test_refused_record_is_a_dead_letter_of_that_destination_alone(world: World) -> None:
    class Picky(MemoryDestination):
        async def write(self, account: Any, winners: Any) -> Any:
            if any(winner.record.object_id == "cus_3" for winner in winners):
                raise ValueError("a bug of ours")
            return await super().write(account, winners)

    picky = Picky()
    world.outlets["bad"] = Outlet(picky)
    result = await world.deliver(*(make_record(f"cus_{number}") for number in range(8)))
    assert world.rejected == [("cus_3", "bad", "ValueError")]
    assert len(await world.good.rows("customers")) == 8
    assert {key[2] for key in await picky.rows("customers")} == {f"cus_{n}" for n in range(8) if n != 3}
    assert sorted(outcomes(result, "bad")) == [Outcome.FAILED, *[Outcome.INSERTED] * 7]


async def test_records_that_look_odd_are_parted_from_the_others_at_once(world: World) -> None:
    """To halve a large batch down to a few culprits would write the others many times over."""
    names = {number: "a\0b" if number in (5, 40, 41) else "Ada" for number in range(64)}
    await world.deliver(*(make_record(f"cus_{number}", name=name) for number, name in names.items()))
    assert len(await world.bad.rows("customers")) == 61
    assert [object_id for object_id, place, _ in world.rejected if place == "bad"] == ["cus_5", "cus_40", "cus_41"]
    assert world.bad.writes <= 8


async def test_dead_letter_that_can_not_be_published_brings_the_batch_again(world: World) -> None:
    world.reject_error = KafkaUnavailableError()
    with pytest.raises(KafkaUnavailableError):
        await world.deliver(make_record(name="bad \u0000"))


async def test_failure_is_told_only_after_every_destination_has_come_to_its_end(world: World) -> None:
    """A batch comes again when it failed, and two of them may not overlap."""

    class Slow(MemoryDestination):
        async def write(self, account: Any, winners: Any) -> Any:
            for _ in range(5):
                await asyncio.sleep(0)
            return await super().write(account, winners)

    class Down(MemoryDestination):
        async def write(self, account: Any, winners: Any) -> Any:
            raise DatabaseUnavailableError

    slow = Slow()
    world.outlets |= {"bad": Outlet(Down()), "good": Outlet(slow)}
    with pytest.raises(DatabaseUnavailableError):
        await world.deliver(make_record())
    assert len(await slow.rows("customers")) == 1


async def test_records_of_a_removed_connection_are_refused(world: World) -> None:
    world.routes.routes.clear()
    result = await world.deliver(make_record(), refetches=(Refetch(CONNECTION, "customer", "cus_1", "x", 0),))
    assert (result.reports, result.refetches, world.good.tables) == ([], [], {})


async def test_resource_that_is_not_synced_is_not_written(world: World) -> None:
    await world.deliver(make_record("ch_1", resource="charge"), make_record("cus_1"))
    assert list(world.good.tables) == ["customers"]


async def test_every_record_is_reported_once_to_each_destination(world: World) -> None:
    records = [make_record(stamp=100), make_record(stamp=101), make_record("cus_2")]
    result = await world.deliver(*records)
    for destination_id in ("good", "bad"):
        reported = {r.position: r.outcome for r in result.reports if r.destination_id == destination_id}
        assert reported == dict(
            zip(
                [record.position for record in records],
                [Outcome.IGNORED, Outcome.INSERTED, Outcome.INSERTED],
                strict=True,
            )
        )


async def test_cut_list_is_fetched_unless_it_has_been(world: World) -> None:
    cut = make_record("in_1", resource="invoice", lines=lines("il_1", has_more=True))
    assert {refetch.reason for refetch in (await world.deliver(cut)).refetches} == {"cut list"}


async def test_part_of_a_child_set_that_can_not_be_written_is_asked_for_again(world: World) -> None:
    world.outlets["bad"] = Outlet(SilentDestination())
    part = make_part("in_1", ["il_1"], stamp=100, is_complete=True)
    record = make_record("in_1", resource="invoice")
    batch = [Parsed(CONNECTION, record.position, record=record), Parsed(CONNECTION, part.position, part=part)]
    result = await world.deliver_batch(batch)
    assert result.refetches == [Refetch(CONNECTION, "invoice", "in_1", "cut list", 100)]
    assert len(await world.good.rows("invoice_line_items")) == 1


def route_of(world: World, **changes: Any) -> None:
    world.routes.routes[CONNECTION] = replace(world.routes.routes[CONNECTION], **changes)


async def test_object_made_before_the_start_date_is_not_written_and_its_children_neither(world: World) -> None:
    route_of(world, start=100)
    old = make_record("in_1", resource="invoice", created=99, lines=lines("il_1", has_more=True))
    new = make_record("in_2", resource="invoice", created=100, lines=lines("il_3", has_more=True))
    parts = [
        make_part(parent, [line], stamp=100, is_complete=True) for parent, line in (("in_1", "il_2"), ("in_2", "il_4"))
    ]
    batch = [Parsed(CONNECTION, record.position, record=record) for record in (old, new)]
    result = await world.deliver_batch([*batch, *(Parsed(CONNECTION, part.position, part=part) for part in parts)])
    for destination in (world.good, world.bad):
        assert {key[2] for key in await destination.rows("invoices")} == {"in_2"}
        assert {key[2] for key in await destination.rows("invoice_line_items")} == {"il_3", "il_4"}
    told = {(report.position, report.outcome, report.reason) for report in result.reports}
    assert told == {
        (old.position, Outcome.NOT_SYNCED, Reason.START_DATE),
        (new.position, Outcome.INSERTED, None),
    }
    assert {refetch.object_id for refetch in result.refetches} == {"in_2"}


async def test_what_is_omitted_is_neither_written_nor_parked(world: World) -> None:
    route_of(world, omissions=make_omissions({"customer": ["email"], "invoice": ["lines.data.amount"]}))
    world.bad.is_down = True
    invoice = make_record("in_1", resource="invoice", lines=lines("il_1"))
    await world.deliver(make_record(email="x@y.example", name="Ada"), invoice)
    [row] = (await world.good.rows("customers")).values()
    assert row["data"]["name"] == "Ada"
    assert "email" not in row["data"]
    [line] = (await world.good.rows("invoice_line_items")).values()
    assert "amount" not in line["data"]
    assert [b"email" in record.body or b"amount" in record.body for _, record in world.parking.parked] == [False, False]


async def test_children_that_were_parked_with_their_parent_are_asked_for_once_it_is_written(world: World) -> None:
    """The rest of a cut list follows its parent at once, and finds none there while that is parked."""
    world.bad.is_down = True
    cut = make_record("in_1", resource="invoice", origin=Origin.REFETCHED, lines=lines("il_1", has_more=True))
    await world.deliver(cut)
    world.bad.is_down = False
    world.outlets["bad"] = Outlet(world.bad)
    part = make_part("in_1", ["il_2"], stamp=100, is_complete=True)
    result = await world.deliver_batch([Parsed(CONNECTION, part.position, part=part)])
    assert (result.refetches, await world.bad.rows("invoice_line_items")) == ([], {})
    late = Result(is_late=True)
    await world.dispatch().write("bad", world.routes.routes[CONNECTION], [cut], late, DEADLINE)
    assert late.refetches == [Refetch(CONNECTION, "invoice", "in_1", "cut list", 100)]


def compared(object_id: str = "cus_1", stamp: int = 200, **fields: Any) -> Record:
    return replace(make_record(object_id, stamp, origin=Origin.LISTED, **fields), is_compared=True)


def findings(result: Result, destination_id: str) -> dict[str, str | None]:
    reports = (report for report in result.comparisons if report.destination_id == destination_id)
    return {one.record.object_id: one.compared and str(one.compared.finding) for one in reports}


async def test_what_is_compared_is_neither_written_nor_parked(world: World) -> None:
    await world.deliver(make_record(name="Ada"))
    world.parking.parked.clear()
    before = await world.good.rows("customers")
    world.bad.is_down = True
    result = await world.deliver(compared(name="Eve"), compared("cus_2"))
    assert findings(result, "good") == {"cus_1": "different", "cus_2": "missing"}
    assert findings(result, "bad") == {"cus_1": None, "cus_2": None}
    assert await world.good.rows("customers") == before
    assert (result.reports, world.parking.parked) == ([], [])


async def test_what_the_same_batch_brings_is_there_when_it_is_compared(world: World) -> None:
    result = await world.deliver(compared(name="Ada"), make_record(name="Ada"))
    assert findings(result, "good") == {"cus_1": "equal"}


async def test_what_can_not_be_compared_is_skipped_alone(world: World) -> None:
    class Choosy(MemoryDestination):
        async def compare(self, account: Account, records: Sequence[Record]) -> list[Compared]:
            if any(record.object_id == "cus_2" for record in records):
                raise DestinationRejectedError
            return await super().compare(account, records)

    world.outlets["good"] = Outlet(Choosy())
    result = await world.deliver(*(compared(f"cus_{n}") for n in range(5)))
    assert [one for one, found in findings(result, "good").items() if found is None] == ["cus_2"]


async def test_what_is_not_synced_is_not_compared(world: World) -> None:
    world.routes.routes[CONNECTION] = replace(world.routes.routes[CONNECTION], start=100)
    result = await world.deliver(compared("ch_1", resource="charge"), compared("cus_1", created=99))
    assert result.comparisons == []
