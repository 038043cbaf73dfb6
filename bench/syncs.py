"""How long the first page of the list of syncs takes, of a million of them, for each set of filters.

Run it as `python bench/syncs.py DATABASE_URL [--syncs 1000000]`; it makes a database of its own there and drops it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

sys.path.insert(0, str(Path(__file__).parent.parent))

from shared.db import make_pool, migrate
from shared.syncs import Kind, Status, SyncStore

LIMIT_MS = 100.0
ROUNDS = 20
CONNECTIONS = 200
# One connection has half of all; a failure is rare; the newest hundred run, with slices of their own.
FILL = """
INSERT INTO connections (id, account_id, account_name, livemode, state, key_hint, resources, live_by)
SELECT 'con_' || n, 'acct_' || n, 'Shop ' || n, true, 'active', '', '{charge}', 'webhooks'
FROM generate_series(0, $1::int - 1) n
"""
SYNCS = """
INSERT INTO syncs (id, connection_id, kind, trigger, status, resources, created_at, started_at, finished_at, records)
SELECT 'syn_' || n, 'con_' || CASE WHEN n % 2 = 0 THEN 0 ELSE n % $2::int END,
       (ARRAY['reconcile', 'live', 'gap_fill', 'manual', 'backfill'])[1 + (n % 97) % 5],
       'schedule', CASE WHEN n >= $1::int - 100 THEN 'running' WHEN n % 10007 = 0 THEN 'failed' ELSE 'succeeded' END,
       '{charge}', t, t, CASE WHEN n < $1::int - 100 THEN t + interval '9 s' END, n
FROM (SELECT n, now() - ($1::int - n) * interval '30 s' AS t FROM generate_series(0, $1::int - 1) n) s
"""
SLICES = """
INSERT INTO slices (sync_id, connection_id, resource, range_end)
SELECT id, connection_id, r, 1 FROM syncs, unnest(ARRAY['charge', 'customer', 'invoice']) r WHERE status = 'running'
"""


def filters(syncs: int) -> Iterator[dict[str, Any]]:
    """Yield every set of filters, with a connection that has many syncs and one that has few."""
    middle = datetime.now(UTC) - timedelta(seconds=15 * syncs)
    spans: tuple[dict[str, Any], ...] = ({}, {"since": middle, "until": middle + timedelta(days=1)}, {"until": middle})
    connections = (None, "con_0", "con_1", "con_none")
    for connection, kind, status, span in itertools.product(
        connections, (None, *Kind), (None, Status.FAILED, Status.RUNNING, Status.SUCCEEDED, Status.PAUSED), spans
    ):
        wanted = {"connection_id": connection, "kind": kind, "status": status}
        yield {name: value for name, value in wanted.items() if value is not None} | span


async def measure(store: SyncStore, wanted: dict[str, Any]) -> float:
    """Return the median milliseconds of the first page."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        await store.list_newest(**wanted, limit=25)
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


async def run(url: str, syncs: int) -> bool:
    """Fill the database at `url`, print what each set of filters takes, and tell whether all are fast enough."""
    await migrate(url)
    pool = await make_pool(url)
    begun = time.perf_counter()
    await pool.execute(FILL, CONNECTIONS)
    await pool.execute(SYNCS, syncs, CONNECTIONS, timeout=600)
    await pool.execute(SLICES)
    await pool.execute("ANALYZE syncs")
    print(f"{syncs:,} syncs made in {time.perf_counter() - begun:.0f} s")
    store = SyncStore(pool)
    found = sorted([(await measure(store, wanted), wanted) for wanted in filters(syncs)], key=lambda one: -one[0])
    for milliseconds, wanted in found[:10]:
        print(f"{milliseconds:8.1f} ms  {', '.join(f'{name}={value}' for name, value in wanted.items()) or 'all'}")
    print(f"{statistics.median(one for one, _ in found):8.1f} ms  median of {len(found)} sets of filters")
    begun, count = time.perf_counter(), 0
    async for _ in store.iterate("con_0", kind=Kind.LIVE):
        count += 1
    print(f"{count:,} syncs exported in {time.perf_counter() - begun:.1f} s")
    await pool.close()
    return found[0][0] <= LIMIT_MS


async def main() -> int:
    """Run with a database of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database_url")
    parser.add_argument("--syncs", type=int, default=1_000_000)
    given = parser.parse_args()
    name = f"bench_{uuid.uuid4().hex[:12]}"
    server = await asyncpg.connect(given.database_url)
    await server.execute(f'CREATE DATABASE "{name}"')
    try:
        fast = await run(urlunsplit(urlsplit(given.database_url)._replace(path=f"/{name}")), given.syncs)
    finally:
        await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await server.close()
    print("within the limit" if fast else f"slower than {LIMIT_MS} ms")
    return 0 if fast else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
