"""Records that wait for a destination: the newest of each object, delivered when it is back; nobody else waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import pytest

from services.destination_writer.breaker import Breaker
from services.destination_writer.delivery import Outcome, Winner
from services.destination_writer.destinations import Account, Written
from services.destination_writer.destinations.postgres import PostgresDestination
from services.destination_writer.dispatch import Dispatch
from services.destination_writer.parking import Parked, Parking
from shared.destinations import parse_postgres_url
from shared.errors import DestinationUnavailableError
from shared.messages import Origin
from tests.contracts import ACCOUNT
from tests.eventually import eventually
from tests.factories import CONNECTION, make_record, make_winner
from tests.fakes import MemoryDestination
from tests.integration.destination_writer.office import Office
from tests.integration.destination_writer.state import State
from tests.proxy import Proxy


class Held(MemoryDestination):
    """A destination that takes its time: it answers only while `may_answer` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()
        self.calls = 0

    async def write(self, account: Account, winners: Sequence[Winner]) -> list[Written]:
        self.calls += 1
        await self.may_answer.wait()
        return await super().write(account, winners)


@pytest.fixture
async def office(state: State) -> Office:
    bad, good = await state.add_destination("bad"), await state.add_destination("good")
    await state.add_connection(CONNECTION, bad, good)
    return Office(state, bad, good)


async def test_newest_of_each_object_waits_whatever_the_order(office: Office) -> None:
    records = [make_record(stamp=stamp, name=f"v{stamp}") for stamp in (101, 103, 102)]
    for record in records:
        await office.parking.park(office.bad_id, [record], reason="away")
    assert await office.parked() == [("cus_1", 103)]


async def test_versions_of_one_second_are_a_question_for_stripe(office: Office) -> None:
    first, second, other = make_record(name="a"), make_record(name="b"), make_record("cus_2")
    assert await office.parking.park(office.bad_id, [first, other], reason="away") == Parked(frozenset())
    parked = await office.parking.park(office.bad_id, [second, other], reason="away")
    assert parked.tied == {("customer", "cus_1")}


async def test_deletion_wins_its_second_while_it_waits(office: Office) -> None:
    for record in (make_record(is_deleted=True), make_record(name="zombie")):
        assert await office.parking.park(office.bad_id, [record], reason="away") == Parked(frozenset())
    assert await office.state.rows("SELECT is_deleted FROM parked_records") == [(True,)]


async def test_slice_of_an_overtaken_record_still_waits(office: Office) -> None:
    slice_id = await office.state.add_slice(CONNECTION)
    await office.parking.park(
        office.bad_id, [make_record(stamp=1, slice_id=slice_id, origin=Origin.LISTED)], reason="away"
    )
    await office.parking.park(office.bad_id, [make_record(stamp=2)], reason="away")
    assert await office.state.rows("SELECT stamp, slice_id FROM parked_records") == [(2, slice_id)]


async def test_parked_records_are_delivered_once_the_destination_is_back(office: Office) -> None:
    bad = MemoryDestination()
    bad.is_down = True
    office.destinations[office.bad_id] = bad
    await office.deliver(make_record("cus_1", 100, name="old"), make_record("cus_2", 100, is_deleted=True))
    await office.deliver(make_record("cus_1", 101, name="new"))
    bad.is_down = False
    await office.rested()
    assert await office.retry.retry_due() == 2
    rows = {key[2]: (row["stamp"], row["deleted"]) for key, row in (await bad.rows("customers")).items()}
    assert rows == {"cus_1": (101, False), "cus_2": (100, True)}
    assert await office.parked() == []


async def test_parked_record_does_not_overwrite_a_newer_row(office: Office) -> None:
    await office.parking.park(office.bad_id, [make_record(stamp=100, name="old")], reason="away")
    await office.deliver(make_record(stamp=105, name="new"))
    await office.make_due()
    await office.retry.retry_due()
    [row] = (await office.destinations[office.bad_id].rows("customers")).values()  # type: ignore[attr-defined]
    assert row["data"]["name"] == "new"


async def test_failed_try_waits_longer_and_keeps_the_record(office: Office) -> None:
    office.destinations[office.bad_id].is_down = True  # type: ignore[attr-defined]
    await office.deliver(make_record())
    await office.make_due()
    due_at = await office.state.value("SELECT next_try_at FROM parked_records")
    assert await office.retry.retry_due() == 0
    assert await office.state.rows("SELECT attempts, next_try_at > $1 FROM parked_records", due_at) == [(1, True)]


async def test_parked_records_of_a_removed_connection_are_forgotten(office: Office) -> None:
    await office.parking.park(office.bad_id, [make_record()], reason="away")
    await office.state.pool.execute("UPDATE connections SET state = 'removing'")
    await office.make_due()
    await office.retry.retry_due()
    assert await office.parked() == []
    assert await office.destinations[office.bad_id].rows("customers") == {}  # type: ignore[attr-defined]


async def test_parked_record_is_judged_by_what_is_wanted_by_now(office: Office) -> None:
    """The start date, the choice of resources and the omitted fields may have changed while it waited."""
    records = [
        make_record("cus_old", created=99),
        make_record("cus_new", created=100, email="x@y.example"),
        make_record("ch_1", resource="charge", created=100),
    ]
    await office.parking.park(office.bad_id, records, reason="away")
    sql = "UPDATE connections SET start_date = to_timestamp(100), resources = '{customer}', omitted_fields = $1"
    await office.state.pool.execute(sql, {"customer": ["email"]})
    await office.make_due()
    await office.retry.retry_due()
    assert await office.parked() == []
    tables = office.destinations[office.bad_id].tables  # type: ignore[attr-defined]
    assert [(name, key[2], row["data"]) for name, rows in tables.items() for key, row in rows.items()] == [
        ("customers", "cus_new", {"id": "cus_new", "object": "customer", "created": 100})
    ]


async def test_parked_records_of_a_destination_that_is_not_delivered_to_any_more_are_forgotten(office: Office) -> None:
    await office.parking.park(office.bad_id, [make_record()], reason="away")
    await office.state.pool.execute("DELETE FROM connection_destinations WHERE destination_id = $1", office.bad_id)
    await office.make_due()
    await office.retry.retry_due()
    assert await office.parked() == []
    assert await office.destinations[office.bad_id].rows("customers") == {}  # type: ignore[attr-defined]


async def test_parked_record_that_nothing_can_be_left_out_of_ends_as_a_dead_letter(office: Office) -> None:
    broken, office.may_reject = replace(make_record("cus_1"), body=b"{"), True
    await office.parking.park(office.bad_id, [broken, make_record("cus_2")], reason="away")
    await office.state.pool.execute("UPDATE connections SET omitted_fields = $1", {"customer": ["email"]})
    await office.make_due()
    await office.retry.retry_due()
    assert (await office.parked(), office.rejected) == ([], [("cus_1", "MessageError")])
    assert len(await office.destinations[office.bad_id].rows("customers")) == 1  # type: ignore[attr-defined]


async def test_nothing_is_parked_of_a_removed_connection(office: Office) -> None:
    """Its removal may begin while a batch of it is under way."""
    await office.state.pool.execute("UPDATE connections SET state = 'removing'")
    await office.parking.park(office.bad_id, [make_record()], reason="away")
    assert await office.parked() == []


async def test_nobody_waits_to_park_while_a_try_is_under_way(office: Office) -> None:
    """The retry waits up to 10 s for a silent destination; a live batch must not."""
    held = Held()
    office.destinations[office.bad_id] = held
    await office.parking.park(office.bad_id, [make_record(stamp=100, name="old")], reason="away")
    await office.make_due()
    trying = asyncio.create_task(office.retry.retry_due())
    await eventually(lambda: held.calls == 1)
    newer = make_record(stamp=101, name="new")
    await asyncio.wait_for(office.parking.park(office.bad_id, [newer], reason="away"), 1)
    held.may_answer.set()
    await trying
    assert await office.parked() == [("cus_1", 101)]
    assert await office.retry.retry_due() == 1
    assert await office.parked() == []
    assert [row["data"]["name"] for row in (await held.rows("customers")).values()] == ["new"]


async def test_two_writers_do_not_try_the_same_records(office: Office) -> None:
    await office.parking.park(office.bad_id, [make_record(f"cus_{n}") for n in range(20)], reason="away")
    await office.make_due()
    queue = (office.bad_id, CONNECTION)
    assert await office.parking.due() == [queue]
    claims = await asyncio.gather(office.parking.claim(queue, 500), office.parking.claim(queue, 500))
    assert sum(map(len, claims)) == 20


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    parts = urlsplit(database_url)
    async with Proxy(parts.hostname or "", parts.port or 5432) as proxy:
        yield proxy


def behind(proxy: Proxy, url: str) -> PostgresDestination:
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    netloc = f"{login}@127.0.0.1:{proxy.port}" if login else f"127.0.0.1:{proxy.port}"
    return PostgresDestination(*parse_postgres_url(urlunsplit(parts._replace(netloc=netloc)), schema="behind"))


async def test_destination_that_falls_silent_costs_no_more_than_its_deadline(
    office: Office, proxy: Proxy, database_url: str
) -> None:
    silent = behind(proxy, database_url)
    office.destinations[office.bad_id] = silent
    await office.deliver(make_record("cus_1"), deadline_seconds=10)
    proxy.is_silent = True
    started = time.monotonic()
    await office.deliver(make_record("cus_2"), deadline_seconds=0.2)
    assert time.monotonic() - started < 1
    assert await office.parked() == [("cus_2", 100)]
    assert len(await office.destinations[office.good_id].rows("customers")) == 2  # type: ignore[attr-defined]
    proxy.is_silent = False
    await office.rested()
    assert await office.retry.retry_due() == 1
    await office.outlets.close()


async def test_slow_destination_holds_up_nobody_and_gets_everything(
    office: Office, proxy: Proxy, database_url: str
) -> None:
    """It is tried with live events a few times; from then on only what waits for it is, until it is quick again."""
    slow = office.destinations[office.bad_id] = behind(proxy, database_url)
    await slow.prepare()
    outlet = await office.outlets.get(office.bad_id)
    proxy.delay_seconds = 0.2
    for number in range(3):
        await eventually(lambda: not outlet.is_resting)
        await office.deliver(make_record(f"cus_{number}"), deadline_seconds=0.3)
    for number in range(3, 6):
        started = time.monotonic()
        await office.deliver(make_record(f"cus_{number}"), deadline_seconds=0.3)
        assert time.monotonic() - started < 0.3
        await office.make_due()
        assert await office.retry.retry_due() > 0
    assert await office.parked() == []
    assert outlet.is_resting
    proxy.delay_seconds = 0.0
    await office.deliver(make_record("cus_6"), deadline_seconds=0.3)
    await office.make_due()
    await office.retry.retry_due()
    result = await office.deliver(make_record("cus_7"), deadline_seconds=5)
    assert {report.outcome for report in result.reports} == {Outcome.INSERTED}
    assert await office.state.value("SELECT count(*) FROM behind.customers") == 8
    assert len(await office.destinations[office.good_id].rows("customers")) == 8  # type: ignore[attr-defined]
    await office.outlets.close()


async def test_destination_that_does_not_answer_keeps_no_other_from_being_tried(office: Office) -> None:
    held = office.destinations[office.bad_id] = Held()
    retrying = asyncio.create_task(office.retry.run())
    try:
        for destination_id in (office.bad_id, office.good_id):
            await office.parking.park(destination_id, [make_record()], reason="away")
        await office.make_due()
        await eventually(lambda: held.calls == 1)
        sql = "SELECT count(*) FROM parked_records WHERE destination_id = $1"
        await eventually(office.has(sql, 0, office.good_id))
    finally:
        retrying.cancel()


async def test_destination_is_usable_after_every_connection_of_it_was_lost(proxy: Proxy, database_url: str) -> None:
    destination = behind(proxy, database_url)
    await destination.write(ACCOUNT, [make_winner()])
    proxy.is_silent = True
    for _ in range(6):
        with pytest.raises((TimeoutError, DestinationUnavailableError)):
            await asyncio.wait_for(destination.write(ACCOUNT, [make_winner()]), 0.1)
    proxy.is_silent = False
    await asyncio.wait_for(destination.write(ACCOUNT, [make_winner()]), 5)
    await destination.close()


async def test_more_than_the_cap_is_noted_as_a_gap_and_never_kept(office: Office) -> None:
    """An object that waits already takes no further room."""
    parking, slice_id = Parking(office.state.pool, cap=3), await office.state.add_slice(CONNECTION)
    first = [make_record(f"cus_{n}", 100 + n) for n in range(5)]
    assert (await parking.park(office.bad_id, first, reason="away")).left_out == tuple(first[3:])
    more = [
        make_record("cus_0", 110),
        make_record("cus_9", 90),
        make_record("ch_1", 95, resource="charge", origin=Origin.LISTED, slice_id=slice_id),
        make_record("cus_8", 1, origin=Origin.REFETCHED),
    ]
    assert (await parking.park(office.bad_id, more, reason="away")).left_out == tuple(more[1:])
    assert await office.parked() == [("cus_0", 110), ("cus_1", 101), ("cus_2", 102)]
    sql = "SELECT resource, slice_id, since, until, records, version FROM delivery_gaps ORDER BY 1"
    assert await office.state.rows(sql) == [("charge", slice_id, None, None, 1, 1), ("customer", 0, 90, 104, 4, 2)]
    assert (await parking.park(office.good_id, first, reason="away")).left_out == tuple(first[3:])


async def test_writers_that_park_at_the_same_time_keep_within_the_cap_together(office: Office) -> None:
    parking = Parking(office.state.pool, cap=30)
    batches = [[make_record(f"cus_{n}_{k}") for k in range(10)] for n in range(8)]
    await asyncio.gather(*(parking.park(office.bad_id, batch, reason="away") for batch in batches))
    assert await parking.count() == 30
    assert await office.state.value("SELECT sum(records) FROM delivery_gaps") == 50


async def test_answer_of_stripe_that_found_no_room_is_asked_for_again_when_there_is(office: Office) -> None:
    pool = office.state.pool
    parking, breaker = Parking(pool, cap=1), Breaker(pool)
    office.dispatch = Dispatch(office.routes, office.outlets, parking, office.reject, breaker=breaker)
    office.destinations[office.bad_id].is_down = True  # type: ignore[attr-defined]
    result = await office.deliver(make_record("cus_1"), make_record("cus_2", origin=Origin.REFETCHED))
    await office.ledger.record([], result.reports, result.refetches)
    sql = "SELECT object_id, due_at = 'infinity' FROM refetches"
    assert await office.state.rows(sql) == [("cus_2", True)]
    soon = replace(result.refetches[0], is_held=False)
    for _ in range(2):  # another destination's question does not wait for this one
        await office.ledger.record([], [], [soon])
        await office.ledger.record([], [], result.refetches)
    assert await office.state.rows(sql) == [("cus_2", False)]
