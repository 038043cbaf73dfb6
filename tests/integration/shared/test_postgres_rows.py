"""Counting a connection's rows at its destination, as a person sees it before they decide."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from services.destination_writer.destinations import Account
from shared.destinations import parse_postgres_url
from shared.errors import DestinationUnavailableError
from shared.postgres_rows import TIME_LIMIT, count_rows
from tests.contracts import ACCOUNT
from tests.factories import lines, make_winner
from tests.integration.destination_writer.postgres_rows import InspectedPostgres
from tests.proxy import Proxy

DATE = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = int(DATE.timestamp())


@pytest.fixture
async def destination(database_url: str) -> AsyncIterator[InspectedPostgres]:
    destination = InspectedPostgres(database_url, "Select")
    yield destination
    await destination.close()


async def count(
    destination: InspectedPostgres, *tables: str, account: Account = ACCOUNT, before: datetime | None = None
) -> dict[str, int]:
    address, password = parse_postgres_url(destination.url, schema=destination.schema)
    return await count_rows(address, password, account.id, account.livemode, tables, created_before=before)


async def test_rows_of_the_account_and_mode_are_counted(destination: InspectedPostgres) -> None:
    await destination.write(ACCOUNT, [make_winner("cus_1"), make_winner("cus_2", is_deleted=True)])
    other = Account(ACCOUNT.id, livemode=False)
    await destination.write(other, [make_winner("cus_1")])
    assert await count(destination, "customers", "charges") == {"customers": 2, "charges": 0}
    assert await count(destination, "customers", account=other) == {"customers": 1}


async def test_only_what_was_made_before_a_moment_is_counted_and_its_children(destination: InspectedPostgres) -> None:
    await destination.write(
        ACCOUNT,
        [
            make_winner("in_old", resource="invoice", created=SECOND - 1, lines=lines("il_1", "il_2")),
            make_winner("in_new", resource="invoice", created=SECOND, lines=lines("il_3")),
            make_winner("in_odd", resource="invoice", created="long ago", lines=lines("il_4")),
            make_winner("ii_old", resource="invoiceitem", date=SECOND - 1),
            make_winner("ii_new", resource="invoiceitem", date=SECOND),
            make_winner("ii_odd", resource="invoiceitem"),
        ],
    )
    tables = ("invoices", "invoice_line_items", "invoiceitems")
    assert await count(destination, *tables, before=DATE) == dict(zip(tables, (1, 2, 1), strict=True))


async def test_what_is_missing_has_no_rows(destination: InspectedPostgres) -> None:
    assert await count(destination, "customers", before=DATE) == {"customers": 0}
    await destination.prepare()
    await destination.query('DROP TABLE "Select".customers')
    assert await count(destination, "customers", "charges") == {"customers": 0, "charges": 0}


async def test_destination_that_is_away_or_silent_is_unavailable(destination: InspectedPostgres) -> None:
    nowhere, password = parse_postgres_url("postgresql://nobody:secret@127.0.0.1:1/none", schema="stripe")
    with pytest.raises(DestinationUnavailableError):
        await count_rows(nowhere, password, "acct_1", True, ["customers"])
    parts = urlsplit(destination.url)
    async with Proxy(parts.hostname or "", parts.port or 5432) as proxy:
        proxy.is_silent = True
        silent = parse_postgres_url(f"postgresql://a:b@127.0.0.1:{proxy.port}/none?sslmode=disable", schema="stripe")
        begun = time.monotonic()
        with pytest.raises(DestinationUnavailableError):
            await asyncio.wait_for(count_rows(*silent, "acct_1", True, ["customers"]), TIME_LIMIT + 5)
        assert time.monotonic() - begun < TIME_LIMIT + 1
