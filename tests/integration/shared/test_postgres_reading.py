"""Reading a destination for a person: nothing is written, nothing takes long, and each refusal says what to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from shared.destinations import parse_postgres_url
from shared.errors import DestinationRejectedError, DestinationUnavailableError
from shared.networks import parse_networks
from shared.postgres_reading import (
    MOST_ROWS,
    NoTableError,
    NotReadableError,
    Reader,
    ReadTooSlowError,
)
from tests.contracts import ACCOUNT
from tests.factories import make_winner
from tests.integration.destination_writer.postgres_rows import InspectedPostgres
from tests.proxy import Proxy

COUNT = 'SELECT count(*) AS n FROM "customers"'


@pytest.fixture
async def destination(database_url: str) -> AsyncIterator[InspectedPostgres]:
    destination = InspectedPostgres(database_url, "Select")
    await destination.write(ACCOUNT, [make_winner("cus_1"), make_winner("cus_2")])
    yield destination
    await destination.close()


async def test_a_name_without_a_schema_is_the_destinations(destination: InspectedPostgres) -> None:
    async with Reader().open(*parse_postgres_url(destination.url, schema="Select")) as read:
        assert await read(COUNT) == [{"n": 2}]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM customers RETURNING id",
        "WITH gone AS (DELETE FROM customers RETURNING id) SELECT * FROM gone",
        "SELECT nextval('s')",
    ],
)
async def test_nothing_can_be_written(destination: InspectedPostgres, sql: str) -> None:
    await destination.query('CREATE SEQUENCE "Select".s')
    with pytest.raises((DestinationRejectedError, DestinationUnavailableError)):
        async with Reader().open(*parse_postgres_url(destination.url, schema="Select")) as read:
            await read(sql)
    async with Reader().open(*parse_postgres_url(destination.url, schema="Select")) as read:
        assert await read(COUNT) == [{"n": 2}]


async def test_a_statement_has_two_seconds(destination: InspectedPostgres) -> None:
    with pytest.raises(ReadTooSlowError):
        async with Reader().open(*parse_postgres_url(destination.url, schema="Select")) as read:
            await read("SELECT pg_sleep(60)")


async def test_rows_are_bounded_and_that_there_are_more_is_seen(destination: InspectedPostgres) -> None:
    async with Reader().open(*parse_postgres_url(destination.url, schema="Select")) as read:
        rows = await read("SELECT n FROM generate_series(1, 1000000) AS n")
    assert [row["n"] for row in rows] == list(range(1, MOST_ROWS + 2))


async def test_a_table_that_is_missing_is_named_as_such(destination: InspectedPostgres) -> None:
    with pytest.raises(NoTableError):
        async with Reader().open(*parse_postgres_url(destination.url, schema="Select")) as read:
            await read("SELECT * FROM nothing_here")


async def test_a_table_that_may_not_be_read_is_named_as_such(destination: InspectedPostgres) -> None:
    await destination.query("DROP ROLE IF EXISTS blind")
    await destination.query("CREATE ROLE blind LOGIN PASSWORD 'blind'")
    parts = urlsplit(destination.url)
    url = f"postgresql://blind:blind@{parts.hostname}:{parts.port}{parts.path}"
    await destination.query('GRANT USAGE ON SCHEMA "Select" TO blind')
    try:
        with pytest.raises(NotReadableError):
            async with Reader().open(*parse_postgres_url(url, schema="Select")) as read:
                await read(COUNT)
    finally:
        await destination.query('REVOKE USAGE ON SCHEMA "Select" FROM blind')
        await destination.query("DROP ROLE blind")


async def test_what_is_away_silent_or_in_a_refused_network_is_unavailable(destination: InspectedPostgres) -> None:
    nowhere = parse_postgres_url("postgresql://nobody:secret@127.0.0.1:1/none", schema="stripe")
    with pytest.raises(DestinationUnavailableError):
        async with Reader().open(*nowhere):
            pass
    with pytest.raises(DestinationUnavailableError):
        async with Reader(parse_networks("10.0.0.0/8")).open(*parse_postgres_url(destination.url, schema="Select")):
            pass
    parts = urlsplit(destination.url)
    async with Proxy(parts.hostname or "", parts.port or 5432) as proxy:
        proxy.is_silent = True
        silent = parse_postgres_url(f"postgresql://a:b@127.0.0.1:{proxy.port}/none?sslmode=disable", schema="stripe")
        with pytest.raises((ReadTooSlowError, DestinationUnavailableError)):
            async with Reader().open(*silent):
                pass


async def test_only_a_few_read_at_the_same_time(destination: InspectedPostgres) -> None:
    reader, most, inside = Reader(at_once=2), 0, 0

    async def look() -> None:
        nonlocal most, inside
        async with reader.open(*parse_postgres_url(destination.url, schema="Select")) as read:
            inside += 1
            most = max(most, inside)
            await read("SELECT pg_sleep(0.05)")
            inside -= 1

    await asyncio.gather(*(look() for _ in range(6)))
    assert most == 2
