"""The Postgres destination, held to the contract of destinations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from services.destination_writer.omission import Tree
from shared.errors import DestinationUnavailableError
from tests.contracts import ACCOUNT, CleanupContract, DestinationContract, invoice
from tests.eventually import eventually
from tests.factories import make_winner
from tests.future_contract import FutureContract
from tests.integration.destination_writer.postgres_rows import InspectedPostgres
from tests.lookup_contract import LookupContract


@pytest.fixture
async def destination(database_url: str) -> AsyncIterator[InspectedPostgres]:
    destination = InspectedPostgres(database_url, "stripe_copy")
    yield destination
    await destination.close()


class TestPostgresDestination(DestinationContract, CleanupContract, LookupContract, FutureContract):
    """The contract, and what only Postgres has."""

    async def test_typed_columns_follow_the_object(self, destination: InspectedPostgres) -> None:
        await self.write(
            destination, make_winner(created=1_700_000_000, balance=-250, email="a@b.example", delinquent=True)
        )
        [row] = await destination.query("SELECT created, balance, email, delinquent FROM stripe_copy.customers")
        assert (row["created"].timestamp(), row["balance"], row["email"], row["delinquent"]) == (
            1_700_000_000,
            -250,
            "a@b.example",
            True,
        )

    async def test_dropped_tables_are_made_again(self, destination: InspectedPostgres) -> None:
        await self.write(destination, make_winner())
        await destination.query("DROP SCHEMA stripe_copy CASCADE")
        with pytest.raises(DestinationUnavailableError):
            await self.write(destination, make_winner())
        await self.write(destination, make_winner())
        assert len(await destination.rows("customers")) == 1

    async def test_two_writers_of_the_same_objects_do_not_deadlock(self, destination: InspectedPostgres) -> None:
        other = InspectedPostgres(destination.url, destination.schema)
        batches = [[make_winner(f"cus_{i}", stamp=100 + turn, n=turn) for i in range(200)] for turn in range(6)]
        try:
            for batch in batches:
                shuffled = list(reversed(batch))
                await asyncio.gather(destination.write(ACCOUNT, batch), other.write(ACCOUNT, shuffled))
        finally:
            await other.close()
        assert {row["stamp"] for row in (await destination.rows("customers")).values()} == {105}

    async def test_large_tables_are_cleaned_span_by_span(self, destination: InspectedPostgres) -> None:
        invoices = [invoice(f"in_{n:04}", n, f"il_{n:04}") for n in range(2500)]
        for start in range(0, 2500, 500):
            await destination.write(ACCOUNT, invoices[start : start + 500])
        tree: Tree = {"lines": {"data": {"amount": None}}}
        assert await self.omit(destination, "invoices", tree) == {"invoices": 2500}
        assert await self.delete(destination, "invoice", 1800) == {"invoices": 1800, "invoice_line_items": 1800}
        assert await self.delete(destination, "invoice") == {"invoices": 700, "invoice_line_items": 700}

    async def test_cleaning_a_database_without_our_schema_makes_none(self, destination: InspectedPostgres) -> None:
        assert await self.delete(destination, "invoice") == {}
        assert await destination.query("SELECT FROM pg_namespace WHERE nspname = 'stripe_copy'") == []
        await destination.prepare()
        await destination.query("DROP TABLE stripe_copy.invoice_line_items")
        columns = "_account, _livemode, id, data, _stamp, _listed"
        values = "'acct_1', true, 'in_1', '{}', 1, true"
        await destination.query(f"INSERT INTO stripe_copy.invoices ({columns}) VALUES ({values})")
        assert await self.delete(destination, "invoice") == {"invoices": 1}

    async def test_row_that_changes_while_fields_are_taken_out_keeps_its_change(
        self, destination: InspectedPostgres
    ) -> None:
        await self.write(destination, make_winner(name="a", email="x@y.example"))
        async with locked(destination, 'UPDATE stripe_copy.customers SET data = data || \'{"name": "b"}\''):
            omitting = asyncio.create_task(self.omit(destination, "customers", {"email": None}))
            waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            await eventually(lambda: has_rows(destination, waiting))
        assert await omitting == {"customers": 1}
        data = (await self.row(destination, "cus_1"))["data"]
        assert (data["name"], "email" in data) == ("b", False)


@asynccontextmanager
async def locked(destination: InspectedPostgres, sql: str) -> AsyncIterator[None]:
    """Hold a change back until the block ends."""
    connection = await asyncpg.connect(destination.url)
    try:
        async with connection.transaction():
            await connection.execute(sql)
            yield
    finally:
        await connection.close()


async def has_rows(destination: InspectedPostgres, sql: str) -> bool:
    return bool(await destination.query(sql))
