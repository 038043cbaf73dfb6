"""The Postgres destination, held to the contract of destinations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.errors import DestinationUnavailableError
from tests.contracts import ACCOUNT, CleanupContract, DestinationContract
from tests.factories import make_winner
from tests.integration.destination_writer.postgres_rows import InspectedPostgres


@pytest.fixture
async def destination(database_url: str) -> AsyncIterator[InspectedPostgres]:
    destination = InspectedPostgres(database_url, "stripe_copy")
    yield destination
    await destination.close()


class TestPostgresDestination(DestinationContract, CleanupContract):
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
