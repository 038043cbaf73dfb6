"""The Postgres destination behind a real PgBouncer that lends a session for each transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.destination_writer.delivery import Outcome
from shared.destinations import parse_postgres_url
from shared.postgres_probe import probe
from shared.postgres_rows import count_rows
from tests.contracts import ACCOUNT, CleanupContract, DestinationContract
from tests.factories import lines, make_winner
from tests.future_contract import FutureContract
from tests.integration.destination_writer.postgres_rows import InspectedPostgres
from tests.lookup_contract import LookupContract
from tests.pooler import pooled

PREPARED = "SELECT name FROM pg_prepared_statements WHERE statement !~ 'pg_prepared_statements'"  # its own left out


class DirectRows(InspectedPostgres):
    """Written through the pooler, read at the server."""

    def __init__(self, pooler_url: str, url: str) -> None:
        super().__init__(pooler_url, "stripe_copy")
        self.url = url


@pytest.fixture
async def pooler_url(database_url: str) -> AsyncIterator[str]:
    async with pooled(database_url) as url:
        yield url


@pytest.fixture
async def destination(database_url: str, pooler_url: str) -> AsyncIterator[InspectedPostgres]:
    destination = DirectRows(pooler_url, database_url)
    yield destination
    await destination.close()


class TestPooledDestination(DestinationContract, CleanupContract, LookupContract, FutureContract):
    """The contract, and what only a pooler can spoil."""

    async def test_no_change_fails_and_none_is_stale(self, destination: InspectedPostgres, pooler_url: str) -> None:
        other = InspectedPostgres(pooler_url, "stripe_copy")
        for number in range(400):
            writer = (destination, other)[number % 2]
            name = f"cus_{number % 50}"
            invoice = f"in_{number % 50}"
            async with asyncio.TaskGroup() as tasks:
                customer = tasks.create_task(writer.write(ACCOUNT, [make_winner(name, stamp=100 + number, n=number)]))
                tasks.create_task(
                    writer.write(
                        ACCOUNT,
                        [make_winner(invoice, resource="invoice", stamp=100 + number, lines=lines(f"il_{number}"))],
                    )
                )
            assert customer.result()[0].outcome in (Outcome.INSERTED, Outcome.UPDATED)
        await other.close()
        rows = await destination.rows("customers")
        assert {key[2]: row["data"]["n"] for key, row in rows.items()} == {f"cus_{n % 50}": n for n in range(350, 400)}
        children = await destination.rows("invoice_line_items")
        assert {key[2] for key, row in children.items() if not row["deleted"]} == {f"il_{n}" for n in range(350, 400)}

    async def test_probe_and_count_pass_and_leave_nothing(
        self, destination: InspectedPostgres, pooler_url: str
    ) -> None:
        await self.write(destination, make_winner("cus_1"))
        place = parse_postgres_url(pooler_url, schema="stripe_copy")
        for _ in range(2):
            steps = await probe(*place)
            assert steps[-1].passed, steps
            assert await count_rows(*place, ACCOUNT.id, ACCOUNT.livemode, ["customers"]) == {"customers": 1}
        through = InspectedPostgres(pooler_url, "stripe_copy")
        left = [await through.query(PREPARED) for _ in range(3)]
        assert left == [[], [], []]


async def test_pooler_that_allows_no_transactions_is_named_by_the_probe(database_url: str) -> None:
    async with pooled(database_url, mode="statement") as url:
        step = (await probe(*parse_postgres_url(url, schema="stripe_copy")))[-1]
        assert (step.name, step.code) == ("settings", "destination_pooler")
