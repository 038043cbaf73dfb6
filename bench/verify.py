"""How long a full comparison of an account takes, what it costs at Stripe, and whether live changes go on meanwhile.

Run it as `python -m bench.verify --database postgresql://… --kafka host:port` with an empty database. Stripe's limits
are those of live mode, of which a half is used; five changes a second go on all the time. Calls should be at most 2 %
more than there are pages.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import secrets
import statistics
import time

import structlog

from shared.catalogue import BY_NAME
from shared.comparisons import ComparisonStore, is_comparable
from shared.db import Pool, migrate, transaction
from shared.syncs import Sync
from tests.integration.drift.pipeline import EVERYTHING, Pipeline, pipeline

PAGE = 100  # objects
QUIET = 20.0  # seconds of live changes that the comparison is held against
DELAYS = """
SELECT extract(epoch FROM written_at) - created - 0.5 AS seconds FROM event_log
WHERE written_at > now() - $1 * interval '1 second' AND outcome IN ('inserted', 'updated', 'deleted', 'unchanged')
"""
PAGES = "SELECT sum(pages)::int FROM slices WHERE sync_id = $1"


def ideal(here: Pipeline, names: tuple[str, ...]) -> int:
    """Return the fewest calls that read the lists: one for every hundred objects, and one for a list without any."""
    calls = 0
    for row in (BY_NAME[name] for name in names):
        if row.is_singleton:
            calls += 1
            continue
        live = here.simulation.platform.store.tables[row.object].live
        calls += max(len(row.walks), math.ceil(live / PAGE))
    return calls


async def compare(here: Pipeline) -> tuple[Sync, float]:
    """Compare everything; return the sync and its seconds."""
    begun, connection = time.monotonic(), await here.connection()
    async with transaction(here.pool) as db:
        sync_id = await ComparisonStore(here.pool).create(
            connection, is_full=True, resources=None, trigger="requested", db=db
        )
    return await here.ended(sync_id), time.monotonic() - begun


async def delay(pool: Pool, seconds: float) -> str:
    """Return how late the rows of the last seconds' events were; Stripe tells whole seconds."""
    rows = [row["seconds"] for row in await pool.fetch(DELAYS, seconds)]
    p50, p99 = statistics.median(rows), statistics.quantiles(rows, n=100)[98]
    return f"{len(rows):,} events, p50 {p50:.2f} s, p99 {p99:.2f} s from Stripe's second to the row"


async def main(url: str, kafka: str, objects: int) -> None:
    """Measure and print."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    await migrate(url)
    prefix = f"bench-{secrets.token_hex(4)}."
    simulated = {"objects": objects, "rate_limits": True, "changes_per_second": 5.0}
    names = tuple(name for name in EVERYTHING if is_comparable(name))
    async with pipeline(url, kafka, prefix, resources=EVERYTHING, share=0.5, patience=600.0, **simulated) as here:
        await here.searched()
        await asyncio.sleep(QUIET)
        print(f"alone:      {await delay(here.pool, QUIET)}")
        fewest = ideal(here, names)
        sync, seconds = await compare(here)
        during = await delay(here.pool, seconds)
        counts = await ComparisonStore(here.pool).counts(sync.id)
        pages = await here.pool.fetchval(PAGES, sync.id)
        total = {
            name: sum(getattr(row, name) for row in counts) for name in ("compared", "different", "missing", "extra")
        }
    print(f"comparing:  {during}")
    print(f"compared:   {total['compared']:,} objects in {seconds:.1f} s")
    print(f"calls:      {sync.stripe_calls} for {pages} pages, {fewest} at least: {sync.stripe_calls / fewest:.3f}")
    print(f"differ:     {total['different']} different, {total['missing']} missing, {total['extra']} extra")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True)
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--objects", type=int, default=20_000)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.database, arguments.kafka, arguments.objects))
