"""How long one question of a connection waits beside 1,500 of another, and what a claim costs beside 100,000 rows.

Run it as `python -m bench.turns --database postgresql://…` with an empty database. Questions are answered within half
of Stripe's limits, and each call takes 200 ms. The limit for the one question is 5 s.
"""

from __future__ import annotations

import argparse
import asyncio
import time

from services.sync_worker.refetch import BATCH, CLAIM, LEASE, MOST_OF_ONE
from services.sync_worker.slices import CLAIM as CLAIM_SLICE
from services.sync_worker.slices import LEASE as SLICE_LEASE
from shared.db import migrate, transaction
from tests.integration.sync_worker.worlds import CLUSTER, CONNECTION, World, world

LIMIT = 5.0  # seconds
OTHER = "con_2"
CROWD = 1_500  # questions
MANY = 100_000  # rows
CLAIMS = 100
ASK = """
INSERT INTO refetches (connection_id, resource, object_id, reason, due_at)
SELECT $1, 'customer', id, 'bench', now() - interval '1 hour' FROM unnest($2::text[]) AS id
"""
PLANNED = """
INSERT INTO slices (sync_id, connection_id, resource)
SELECT $1, $2, (ARRAY['charge', 'customer', 'invoice'])[1 + n % 3] FROM generate_series(1, $3) n
"""


async def measure(url: str, arguments: argparse.Namespace) -> None:
    """Measure both, and print."""
    await migrate(url)
    async with world(url, objects=20_000, share=0.5) as here:
        await here.add_connection(OTHER)
        await here.control("POST", "faults", {"latency_before_ms": arguments.latency})
        customers = sorted(here.truth("customer"))
        answering = asyncio.create_task(here.refetch().run())
        alone = await wait_for_one(here, customers[0])
        await here.pool.execute(ASK, CONNECTION, customers[:CROWD])
        await here.pool.execute(ASK, CONNECTION, [f"cus_gone{n}" for n in range(max(CROWD - len(customers), 0))])
        await asyncio.sleep(2)  # until the crowd is being answered
        beside = await wait_for_one(here, customers[0])
        left = await here.pool.fetchval("SELECT count(*) FROM refetches")
        answering.cancel()
        print(f"One question: {alone:.2f} s alone, {beside:.2f} s beside {left:,} of another   (limit {LIMIT:g} s)")
        await cost_of_claims(here)


async def wait_for_one(here: World, customer: str) -> float:
    """Ask one question of the other connection; return the seconds until it is answered."""
    began = time.perf_counter()
    await here.pool.execute(ASK, OTHER, [customer])
    is_open = "SELECT EXISTS (SELECT FROM refetches WHERE connection_id = $1)"
    while await here.pool.fetchval(is_open, OTHER):  # noqa: ASYNC110  the row goes in another task
        await asyncio.sleep(0.02)
    return time.perf_counter() - began


async def cost_of_claims(here: World) -> None:
    """Print what a claim takes while very much waits."""
    sync_id = await here.start("customer")
    await here.pool.execute("DELETE FROM refetches")
    await here.pool.execute(PLANNED, sync_id, CONNECTION, MANY)
    await here.pool.execute(ASK, CONNECTION, [f"cus_{n}" for n in range(MANY)])
    await here.pool.execute("ANALYZE slices, refetches")
    nothing: list[str] = []
    questions = (CLAIM, BATCH, LEASE, MOST_OF_ONE, nothing, {})
    slices = (CLAIM_SLICE, "bench", SLICE_LEASE, CLUSTER, None, nothing)
    for name, statement, *values in (("questions", *questions), ("a slice", *slices)):
        async with transaction(here.pool) as db:
            began = time.perf_counter()
            for _ in range(CLAIMS):
                await db.fetch(statement, *values)
        print(f"A claim of {name} beside {MANY:,}: {(time.perf_counter() - began) / CLAIMS * 1000:.1f} ms")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="an empty Postgres database")
    parser.add_argument("--latency", type=int, default=200, help="of each call, in milliseconds")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.database, arguments))


if __name__ == "__main__":
    main()
