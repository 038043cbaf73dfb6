"""How long the server takes for the pages that people open most, with few and with many accounts.

    python -m bench.pages [--connections 1 200 2000] [--events 1000000]

It starts a Postgres of its own. The state database gets so many connections, so many events of 35 days in its log, and
for every connection each hour's events, rows and calls to Stripe. Each page is asked for 20 times over a socket of this
machine, with a pause in which what is kept for a moment gets old; `first` is the first request of a service that has
just started. The limit: 100 ms for the Accounts page with 2,000 connections.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from local_stack.stack import LocalStack
from services.connection_api.access.sessions import COOKIE, Credentials
from services.connection_api.app import create_app
from services.connection_api.settings import ApiSettings
from shared.audit import Actor
from shared.crypto import make_encryption_key
from shared.db import Pool, make_pool, migrate
from shared.kafka import Producer
from shared.log import configure
from tests.eventually import eventually

DAYS = 35
REQUESTS = 20
PAUSE = 1.1  # seconds
HEAD = "| connections | page | p50 ms | p95 ms | first ms | bytes | compressed |\n|---|---|---|---|---|---|---|"
LIMIT = 0.1  # seconds, of the Accounts page
# One in a hundred needs somebody, one in a hundred is delayed, one in fifty is paused.
FILL = (
    "TRUNCATE connections, destinations, stripe_hours CASCADE",
    """INSERT INTO destinations (id, name, kind, settings, secret, address)
       SELECT 'dst_1', 'Warehouse', 'postgres',
              '{"host": "db.example", "port": 5432, "database": "a", "user": "t", "schema": "s"}', '\\x00', 'dst_1'""",
    """INSERT INTO connections (id, account_id, account_name, livemode, state, cause, key_hint, resources, live_by,
                                events_complete_to)
       SELECT 'con_' || n, 'acct_' || n, 'Merchant ' || n, true,
              CASE WHEN n % 100 = 7 THEN 'action_required' WHEN n % 50 = 9 THEN 'paused' ELSE 'active' END,
              CASE WHEN n % 100 = 7 THEN 'API Key is invalid: it has expired.' END,
              'rk_live_…4f2a', '{charge,customer,invoice}', 'webhooks', extract(epoch FROM now())
       FROM generate_series(1, $1::int) n""",
    """INSERT INTO connection_destinations SELECT id, 'dst_1', account_id, livemode, now() FROM connections
       WHERE $1::int > 0""",
    """INSERT INTO parked_records (destination_id, connection_id, resource, object_id, stamp, body, origin, is_deleted,
                                   topic, partition, record_offset, reason, parked_at, next_try_at)
       SELECT 'dst_1', 'con_' || n, 'charge', 'ch_' || k, 1, '{}', 'event', false, 'events', 0, n * 100 + k,
              'It is away.',
              now() - interval '9 minutes', now() FROM generate_series(5, $1::int, 100) n, generate_series(1, 50) k""",
    """INSERT INTO syncs (id, connection_id, kind, trigger, status, resources, started_at, finished_at)
       SELECT 'syn_' || k || n, 'con_' || n, k, 'connect', 'succeeded', '{charge,customer,invoice}',
              now() - interval '2 hours', now() - interval '1 hour'
       FROM generate_series(1, $1::int) n, unnest('{backfill,verify}'::text[]) k""",
    """INSERT INTO slices (sync_id, connection_id, resource, status, records)
       SELECT 'syn_backfill' || n, 'con_' || n, r, 'confirmed', 1000
       FROM generate_series(1, $1::int) n, unnest('{charge,customer,invoice}'::text[]) r""",
    """INSERT INTO comparisons (sync_id, destination_id, resource, compared, equal)
       SELECT 'syn_verify' || n, 'dst_1', 'charge', 1000, 1000 FROM generate_series(1, $1::int) n""",
    """INSERT INTO resource_news SELECT 'con_' || n, r, extract(epoch FROM now()) - 5, 0.4
       FROM generate_series(1, $1::int) n, unnest('{charge,customer,invoice}'::text[]) r""",
    f"""INSERT INTO event_hours (connection_id, hour, events, delays)
        SELECT 'con_' || n, date_trunc('hour', now()) - h * interval '1 hour', 1 + h % 24,
               array_fill(0::bigint, ARRAY[8]) || ARRAY[1 + h % 24, 2]
        FROM generate_series(1, $1::int) n, generate_series(0, {DAYS * 24 - 1}) h""",
    f"""INSERT INTO delivery_hours (connection_id, destination_id, resource, hour, inserted, updated)
        SELECT 'con_' || n, 'dst_1', (ARRAY['charge', 'customer', 'invoice'])[1 + h % 3],
               date_trunc('hour', now()) - h * interval '1 hour', 1 + h % 24, 3
        FROM generate_series(1, $1::int) n, generate_series(0, {DAYS * 24 - 1}) h""",
    f"""INSERT INTO stripe_hours (scope, hour, calls)
        SELECT 'acct_' || n || ':live', date_trunc('hour', now()) - h * interval '1 hour', 40 + h % 24
        FROM generate_series(1, $1::int) n, generate_series(0, {DAYS * 24 - 1}) h""",
)
EVENTS = f"""
INSERT INTO event_log (connection_id, event_id, type, resource, object_id, created, outcome, partition, record_offset,
                       received_at, written_at)
SELECT 'con_' || 1 + n % $1::int, 'evt_' || n, 'charge.updated', 'charge', 'ch_' || n % 50000,
       extract(epoch FROM at), CASE WHEN n % 10000 = 7 THEN 'failed' ELSE 'updated' END, n % 6, n, at,
       at + interval '400 ms'
FROM (SELECT n, now() - n * interval '{DAYS} days' / $2::int AS at FROM generate_series(1, $2::int) n) e
"""
PAGES = {
    "home": "/",
    "home, by rows": "/?sort=-rows",
    "account": "/connections/con_1",
    "events": "/events",
    "events, failed": "/events?outcome=failed",
    "events, an id's beginning": "/events?q=ch_4999",
    "events, none of a resource": "/events?resource=payout",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """The seconds of each request, the first one alone, and the bytes that travel and that they unfold to."""

    first: float
    seconds: Sequence[float]
    sent: int
    whole: int


async def fill(pool: Pool, connections: int, events: int) -> None:
    """Put connections and their history into an empty state database."""
    for sql in FILL:
        await pool.execute(sql, *([connections] if "$1" in sql else []), timeout=600)
    await pool.execute(EVENTS, connections, events, timeout=600)
    await pool.execute("VACUUM ANALYZE", timeout=600)


async def measure(client: TestClient[web.Request, web.Application], path: str) -> Measured:
    """Ask for a page again and again."""
    first, seconds, sent, whole = 0.0, [], 0, 0
    for number in range(REQUESTS + 1):
        await asyncio.sleep(PAUSE)
        begun = time.perf_counter()
        async with client.get(path, headers={"Accept": "text/html", "Accept-Encoding": "gzip"}) as answer:
            body = await answer.read()
            took = time.perf_counter() - begun
            assert answer.status == 200, (path, answer.status, body[:500])
            sent, whole = int(answer.headers.get("Content-Length", 0)), len(body)
        if number:
            seconds.append(took)
        else:
            first = took
    return Measured(first, seconds, sent, whole)


async def open_session(pool: Pool) -> str:
    """Return the secret of a session."""
    credentials = Credentials(lambda: pool)
    link, _ = await credentials.make_link(by=Actor("bench"))
    return await credentials.redeem(link, request_id="req_bench", person="Bench")


async def measure_all(database_url: str, pool: Pool, connections: int) -> bool:
    """Print a row for each page; tell whether the limit is kept."""
    settings = ApiSettings(
        database_url=database_url, kafka_bootstrap_servers="127.0.0.1:1", encryption_keys=make_encryption_key("k1")
    )
    is_kept = True
    async with TestClient(TestServer(create_app(settings, producer=Producer(settings)))) as client:

        async def is_ready() -> bool:
            return (await client.get("/readyz")).status == 200

        await eventually(is_ready, what="the service is ready")
        client.session.cookie_jar.update_cookies({COOKIE: await open_session(pool)}, client.make_url("/"))
        for name, path in PAGES.items():
            found = await measure(client, path)
            p50, p95 = statistics.median(found.seconds), statistics.quantiles(found.seconds, n=20)[18]
            print(
                f"| {connections:,} | {name} | {p50 * 1000:.0f} | {p95 * 1000:.0f} | {found.first * 1000:.0f} | "
                f"{found.whole:,} | {found.sent:,} |",
                flush=True,
            )
            is_kept = is_kept and (name != "home" or p95 <= LIMIT)
    return is_kept


async def main(sizes: Sequence[int], events: int) -> bool:
    """Measure each size in turn; tell whether the limit is kept."""
    configure(service="bench", level="error", form="console")
    is_kept = True
    with tempfile.TemporaryDirectory() as home:
        async with LocalStack(Path(home), kafka_bootstrap_servers="not needed") as stack:
            await migrate(stack.database_url)
            pool = await make_pool(stack.database_url)
            print(HEAD)
            for connections in sizes:
                await fill(pool, connections, events)
                is_kept = await measure_all(stack.database_url, pool, connections) and is_kept
            await pool.close()
    return is_kept


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 200, 2000])
    parser.add_argument("--events", type=int, default=1_000_000)
    arguments = parser.parse_args()
    sys.exit(0 if asyncio.run(main(arguments.connections, arguments.events)) else 1)
