"""How long a gap of 30,000 events takes: ten minutes without Kafka at 50 events a second.

Run it as `python -m bench.gap_fill --database postgresql://…` with an empty database. Half of Stripe's limit for an
endpoint is 12.5 calls a second, so 300 pages take 24 s at least; the limit is 60 s. With `--older-version` the events
come in another API version than ours: each object is then asked for, which takes as long as the budget says.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

from shared.db import migrate
from shared.stripe_api import API_VERSION
from shared.syncs import EVENT_FEED, Kind
from tests.integration.sync_worker.worlds import CONNECTION, World, world

LIMIT = 60.0  # seconds
FETCHERS = 8
DAY = 86_400


async def measure(url: str, arguments: argparse.Namespace) -> None:
    """Fill the gap of a day in which everything was missed, and print."""
    await migrate(url)
    version: dict[str, Any] = {} if arguments.older_version else {"account_version": API_VERSION}
    async with world(url, objects=arguments.objects, history_days=1, share=0.5, **version) as here:
        await here.connections.advance_events(CONNECTION, int(here.simulation.now()) - DAY)
        await here.control("POST", "faults", {"latency_before_ms": arguments.latency})
        began = time.perf_counter()
        await here.syncs.create(CONNECTION, Kind.GAP_FILL, trigger="bench", resources=[EVENT_FEED])
        await here.completion().start_queued()
        await asyncio.gather(*(fetch(here, number) for number in range(FETCHERS)))
        took = time.perf_counter() - began
        await report(here, took)


async def fetch(here: World, number: int) -> None:
    """Fetch windows as one fetcher of a worker does, until none is left."""
    backfill = here.backfill(f"fetcher-{number}")
    while await here.pool.fetchval("SELECT EXISTS (SELECT FROM slices WHERE status = 'planned')"):
        if not await backfill.fetch_one():
            await asyncio.sleep(0.1)


async def report(here: World, took: float) -> None:
    """Print what it took."""
    calls = await here.calls()
    pages = len([call for call in calls if call["path"] == "/v1/events"])
    windows = await here.pool.fetchval("SELECT count(*) FROM slices")
    sent = len(here.producer.published)
    print(f"{len(here.simulation.platform.journal.events):,} events: {took:.1f} s   (limit {LIMIT:g} s for 30,000)")
    print(f"{pages} pages in {windows} windows, {len(calls) - pages} calls for objects, {sent:,} records published")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="an empty Postgres database")
    parser.add_argument("--objects", type=int, default=13_500, help="that the account makes within the day")
    parser.add_argument("--latency", type=int, default=200, help="of each call, in milliseconds")
    parser.add_argument("--older-version", action="store_true", help="whether the feed has another version's bodies")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.database, arguments))


if __name__ == "__main__":
    main()
