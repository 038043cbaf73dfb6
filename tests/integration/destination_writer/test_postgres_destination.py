"""The Postgres destination, held to the contract of destinations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from services.destination_writer.destinations.postgres import PostgresDestination
from shared.destinations import parse_postgres_url
from tests.contracts import ACCOUNT, DestinationContract
from tests.factories import make_winner


class InspectedPostgres(PostgresDestination):
    """The real destination, with its rows to be read."""

    def __init__(self, url: str, schema: str) -> None:
        super().__init__(*parse_postgres_url(url, schema=schema))
        self.url, self.schema = url, schema

    async def query(self, sql: str) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetch(sql)
        finally:
            await connection.close()

    async def rows(self, table: str) -> dict[tuple[str, bool, str], dict[str, Any]]:
        if not await self.query(f"SELECT WHERE to_regclass('{self.schema}.{table}') IS NOT NULL"):
            return {}
        parent = "_parent" if table.endswith("items") and table != "invoiceitems" else "NULL"
        sql = f"""SELECT _account, _livemode, id, _stamp AS stamp, _deleted AS deleted, data::text AS data, xmin::text,
                         {parent} AS parent FROM "{self.schema}"."{table}" """
        import json

        return {
            (row["_account"], row["_livemode"], row["id"]): {
                "stamp": row["stamp"],
                "deleted": row["deleted"],
                "data": json.loads(row["data"]),
                "parent": row["parent"],
                "xmin": row["xmin"],
            }
            for row in await self.query(sql)
        }


@pytest.fixture
async def destination(database_url: str) -> AsyncIterator[InspectedPostgres]:
    destination = InspectedPostgres(database_url, "stripe_copy")
    yield destination
    await destination.close()


class TestPostgresDestination(DestinationContract):
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
        from shared.errors import DestinationUnavailableError

        with pytest.raises(DestinationUnavailableError):
            await self.write(destination, make_winner())
        await self.write(destination, make_winner())
        assert len(await destination.rows("customers")) == 1

    async def test_two_writers_of_the_same_objects_do_not_deadlock(self, destination: InspectedPostgres) -> None:
        import asyncio

        other = InspectedPostgres(destination.url, destination.schema)
        batches = [[make_winner(f"cus_{i}", stamp=100 + turn, n=turn) for i in range(200)] for turn in range(6)]
        try:
            for batch in batches:
                shuffled = list(reversed(batch))
                await asyncio.gather(destination.write(ACCOUNT, batch), other.write(ACCOUNT, shuffled))
        finally:
            await other.close()
        assert {row["stamp"] for row in (await destination.rows("customers")).values()} == {105}
