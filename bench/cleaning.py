"""How long a writer takes to clear a destination of 100,000 rows, beside as many of another account.

Run it as `python -m bench.cleaning --database postgresql://…` with an empty database: first a field is taken out of
every row, then all go. The limit is 60 s. It also prints what reading the routes costs each batch.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import statistics
import time
from datetime import timedelta
from typing import Any

from services.destination_writer.delivery import Winner
from services.destination_writer.destinations import Account
from shared.cleanups import Kind, request_cleanup
from shared.db import migrate, transaction
from tests.factories import CONNECTION, lines, make_winner
from tests.integration.destination_writer.office import Office
from tests.integration.destination_writer.postgres_rows import InspectedPostgres
from tests.integration.destination_writer.state import make_settings, open_state

LIMIT = 60.0  # seconds
ACCOUNTS = (Account("acct_1", livemode=True), Account("acct_2", livemode=True))
BODY_BYTES = 3000  # an ordinary charge
BATCH = 500
FIELDS = {"charge": ["billing_details.email"], "invoice": ["lines.data.amount"]}


def rows(number: int) -> list[Winner]:
    """Return three charges and an invoice with its line: five rows."""
    made: dict[str, Any] = {"created": number, "text": secrets.token_hex(BODY_BYTES // 2)}
    details = {"email": "ada@example.com", "name": "Ada"}
    charges = [make_winner(f"ch_{number:06}_{n}", resource="charge", billing_details=details, **made) for n in range(3)]
    return [*charges, make_winner(f"in_{number:06}", resource="invoice", lines=lines(f"il_{number}"), **made)]


async def measure(url: str, count: int) -> None:
    """Fill, clean twice, and print."""
    await migrate(url)
    async with open_state(make_settings(url)) as state:
        office = Office(state, await state.add_destination("copy"), await state.add_destination("other"))
        destination = office.destinations[office.bad_id] = InspectedPostgres(url, "copy")
        await state.add_connection(CONNECTION, office.bad_id)
        for start in range(0, count // 5, BATCH):
            batch = [winner for number in range(start, min(start + BATCH, count // 5)) for winner in rows(number)]
            for account in ACCOUNTS:
                await destination.write(account, batch)
        await state.pool.execute("UPDATE connections SET omitted_fields = $1", FIELDS)
        await clean(office, Kind.FIELDS)
        await state.pool.execute("UPDATE connections SET state = 'removing'")
        await clean(office, Kind.ROWS)
        left = await destination.query("SELECT _account, count(*) FROM copy.charges GROUP BY 1")
        assert [tuple(row) for row in left] == [("acct_2", count // 5 * 3)]
        times = [await time_routes(office) for _ in range(500)]
        print(f"routes of a batch: {statistics.median(times) * 1000:.2f} ms median")
        await destination.close()


async def clean(office: Office, kind: Kind) -> None:
    """Let a writer carry out a cleanup, and print how long it took."""
    account = (ACCOUNTS[0].id, ACCOUNTS[0].livemode)
    wanted: dict[str, Any] = {"kind": kind, "resources": list(FIELDS), "fields": FIELDS}
    async with transaction(office.state.pool) as db:
        await request_cleanup(db, CONNECTION, office.bad_id, account, after=timedelta(0), **wanted)
    begun = time.perf_counter()
    await office.cleaning.clean_next()
    took = time.perf_counter() - begun
    cleanup = (await office.cleanups.of_connection(CONNECTION))[-1]
    assert cleanup.is_done, cleanup.cause
    total = sum(cleanup.affected.values())
    print(f"{kind}: {total:,} rows in {took:.1f} s, {total / took:,.0f} rows/s   (limit {LIMIT:g} s for 100,000)")


async def time_routes(office: Office) -> float:
    """Return the seconds that one look takes."""
    begun = time.perf_counter()
    await office.routes.read([CONNECTION])
    return time.perf_counter() - begun


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="an empty Postgres database")
    parser.add_argument("--rows", type=int, default=100_000)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.database, arguments.rows))


if __name__ == "__main__":
    main()
