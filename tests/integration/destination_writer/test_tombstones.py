"""A Postgres destination that removes the rows of deleted objects, held to the same contract as one that marks them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.destination_writer.delivery import Outcome
from shared.audit import Actor
from shared.catalogue import BY_NAME
from shared.cleanups import Kind
from shared.destinations import DeletedRows
from shared.messages import Origin
from tests.contracts import ACCOUNT, CleanupContract, DestinationContract, walk
from tests.factories import CONNECTION, lines, make_record, make_winner
from tests.fakes import MemoryDestination
from tests.future_contract import FutureContract
from tests.integration.destination_writer.office import Office
from tests.integration.destination_writer.postgres_rows import InspectedPostgres
from tests.integration.destination_writer.state import State


@pytest.fixture
async def destination(database_url: str) -> AsyncIterator[InspectedPostgres]:
    destination = InspectedPostgres(database_url, "stripe_copy", removes_deleted=True)
    yield destination
    await destination.close()


async def ids(destination: InspectedPostgres, table: str = "customers") -> list[str]:
    return [row["id"] for row in await destination.query(f"SELECT id FROM stripe_copy.{table} ORDER BY 1")]


class TestRemovingPostgres(DestinationContract, CleanupContract, FutureContract):
    """The contract, and what only removing has."""

    keeps_deleted = False
    rows_of_account = 6  # one of the seven was deleted

    async def test_no_row_is_left_of_what_was_deleted(self, destination: InspectedPostgres) -> None:
        await self.write(destination, make_winner("in_1", resource="invoice", lines=lines("il_1")), make_winner())
        gone = [make_winner("in_1", 101, resource="invoice", is_deleted=True), make_winner(stamp=101, is_deleted=True)]
        assert await self.write(destination, *gone) == [Outcome.DELETED] * 2
        for table in ("invoices", "invoice_line_items", "customers"):
            assert await ids(destination, table) == []
        assert len(await destination.query("SELECT FROM stripe_copy._tombstones")) == 3

    async def test_replay_of_a_deletion_writes_nothing(self, destination: InspectedPostgres) -> None:
        gone = make_winner(is_deleted=True)
        await self.write(destination, gone)
        before = await destination.rows("customers")
        for late in (gone, make_winner(name="zombie"), make_winner(stamp=99, origin=Origin.LISTED)):
            await self.write(destination, late)
            assert await destination.rows("customers") == before

    async def test_tombstones_go_after_35_days(self, destination: InspectedPostgres) -> None:
        await self.write(destination, *(make_winner(f"cus_{n}", is_deleted=True) for n in range(3)))
        sql = "UPDATE stripe_copy._tombstones SET _deleted_at = now() - interval '{} days' WHERE id = 'cus_{}'"
        await destination.query(sql.format(36, 0))
        await destination.query(sql.format(34, 1))
        await self.write(destination, make_winner("cus_9", is_deleted=True))
        assert {key[2] for key in await destination.tombstones("customers")} == {"cus_1", "cus_2", "cus_9"}

    async def test_tombstones_go_with_all_rows_of_an_account(self, destination: InspectedPostgres) -> None:
        await self.write(destination, make_winner("cus_1", is_deleted=True), make_winner("cus_2"))
        assert await self.delete(destination, "customer") == {"customers": 1}
        assert await destination.rows("customers") == {}

    async def test_two_writers_bring_nothing_back(self, destination: InspectedPostgres) -> None:
        """What is not there can not be locked, so an older version might slip in beside the deletion."""
        other = InspectedPostgres(destination.url, destination.schema, removes_deleted=True)
        await destination.prepare()
        try:
            for turn in range(20):
                gone = [make_winner(f"cus_{turn}_{n}", 110, is_deleted=True) for n in range(20)]
                late = [make_winner(f"cus_{turn}_{n}", 109, name="zombie") for n in reversed(range(20))]
                await asyncio.gather(destination.write(ACCOUNT, gone), other.write(ACCOUNT, late))
        finally:
            await other.close()
        assert await ids(destination) == []


async def test_choice_that_is_taken_back_still_brings_nothing_back(database_url: str) -> None:
    removing, marking = (InspectedPostgres(database_url, "copy", removes_deleted=choice) for choice in (True, False))
    await removing.write(ACCOUNT, [make_winner(stamp=110, is_deleted=True)])
    assert (await marking.write(ACCOUNT, [make_winner(stamp=109, name="zombie")]))[0].outcome is Outcome.IGNORED
    assert (await marking.write(ACCOUNT, [make_winner(stamp=111, name="again")]))[0].outcome is Outcome.INSERTED
    assert (await marking.write(ACCOUNT, [make_winner(stamp=112, is_deleted=True)]))[0].outcome is Outcome.DELETED
    assert [row["deleted"] for row in (await marking.rows("customers")).values()] == [True]
    assert await marking.tombstones("customers") == {}
    await removing.close()
    await marking.close()


async def test_marked_rows_go_when_that_is_chosen(state: State, database_url: str) -> None:
    """By a cleanup; what is older than its tombstone came back while a writer did not know of the choice, and goes."""
    copy, other = await state.add_destination("copy"), await state.add_destination("other")
    await state.add_connection(CONNECTION, copy, other)
    office = Office(state, copy, other)
    marking = InspectedPostgres(database_url, "copy")
    await marking.write(ACCOUNT, [make_winner(f"cus_{n}", is_deleted=n < 5) for n in range(9)])
    await marking.write(ACCOUNT, [make_winner("in_1", resource="invoice", lines=lines("il_1", "il_2"))])
    await marking.write(ACCOUNT, [make_winner("in_1", 101, resource="invoice", lines=lines("il_1"))])
    await state.destinations.change(copy, deleted_rows=DeletedRows.REMOVED, by=Actor("test"))
    assert (await state.destinations.get(copy)).version == 2
    removing = InspectedPostgres(database_url, "copy", removes_deleted=True)
    await removing.write(ACCOUNT, [make_winner("cus_8", 120, is_deleted=True)])
    await marking.write(ACCOUNT, [make_winner("cus_8", 110)])
    office.destinations = {copy: removing, other: MemoryDestination()}
    await office.make_due()
    assert await office.cleaning.clean_next()
    rows = await marking.query("SELECT id FROM copy.customers UNION ALL SELECT id FROM copy.invoice_line_items")
    assert {row["id"] for row in rows} == {"cus_5", "cus_6", "cus_7", "il_1"}
    assert len(await removing.tombstones("customers")) == 6
    sql = "SELECT kind, status, affected FROM cleanups"
    assert await state.rows(sql) == [(Kind.DELETED, "done", {"customers": 6, "invoice_line_items": 1})]
    late = make_winner("cus_0", 99, name="zombie")
    assert (await removing.write(ACCOUNT, [late]))[0].outcome is Outcome.IGNORED
    assert await walk(lambda id: removing.bury_deleted(ACCOUNT, BY_NAME["customer"], after=id)) == {}
    await office.outlets.close()
    await marking.close()


async def test_row_that_went_meanwhile_is_newer_than_what_is_compared(destination: InspectedPostgres) -> None:
    """A list may have shown an object a moment before it was deleted."""
    await destination.write(ACCOUNT, [make_winner(), make_winner("cus_2")])
    await destination.write(ACCOUNT, [make_winner(stamp=200, is_deleted=True)])
    records = [make_record(stamp=150), make_record(stamp=250), make_record("cus_2", 150)]
    found = [await destination.compare(ACCOUNT, [record]) for record in records]
    assert [one.finding for [one] in found] == ["newer", "missing", "equal"]
