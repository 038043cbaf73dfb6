"""Measures the writer: how many events a second it writes, and how long one event takes while little happens.

    python -m bench.writer EVENTS

It needs a Postgres and a Kafka, as the integration tests do (`TILLSTREAM_TEST_DATABASE_URL`,
`TILLSTREAM_TEST_KAFKA_BOOTSTRAP_SERVERS`); database and topics are its own. A second line for another tree is had by
another `PYTHONPATH`: compare the two of one run, one after the other and again.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
import uuid
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from shared.db import migrate
from shared.kafka import Outgoing
from shared.log import configure
from shared.messages import EventHeaders
from shared.stripe_api import API_VERSION
from shared.topics import EVENTS, record_key
from tests.eventually import eventually
from tests.integration.destination_writer.state import make_settings
from tests.integration.destination_writer.world import World, open_world, running

BEGIN = 1_790_000_000
SINGLE = 200  # events that come one by one
PACE = 0.05  # seconds between two of them
RESOURCES = ("customer", "charge", "invoice", "payment_intent")


def make_event(number: int, objects: int) -> Outgoing:
    """Return an update of one of `objects` objects, of four resources."""
    resource = RESOURCES[number % len(RESOURCES)]
    object_id = f"{resource[:2]}_{number % objects}"
    body = {
        "id": f"evt_{number}_{uuid.uuid4().hex[:6]}",
        "object": "event",
        "type": f"{resource}.updated",
        "created": BEGIN + number,
        "livemode": True,
        "api_version": API_VERSION,
        "data": {"object": {"id": object_id, "object": resource, "name": f"v{number}", "metadata": {"x": "y" * 800}}},
    }
    headers = EventHeaders("con_1", received_at_ms=int(time.time() * 1000))
    return Outgoing(record_key("con_1", object_id), json.dumps(body).encode(), headers.encode())


async def drain(world: World, events: int) -> tuple[float, float]:
    """Return the seconds that the writer takes for what waits already, and those of its processor."""
    total = await world.state.value("SELECT coalesce(sum(next_offset), 0)::bigint FROM writer_progress")
    await world.publish(EVENTS, [make_event(number, events // 2) for number in range(events)])
    started, worked = time.monotonic(), time.process_time()
    async with running(world):
        await eventually(world.done(EVENTS, total + events), within=600)
    return time.monotonic() - started, time.process_time() - worked


async def follow(world: World) -> list[float]:
    """Return the milliseconds from publishing to the row, of events that come one by one."""
    async with running(world):
        await world.publish(EVENTS, [make_event(0, 100)])
        await asyncio.sleep(3)  # the consumer has its partitions
        await world.state.pool.execute("TRUNCATE event_log")
        for number in range(SINGLE):
            await world.publish(EVENTS, [make_event(number, 100)])
            await asyncio.sleep(PACE)
        await eventually(world.has("SELECT count(*) FROM event_log", SINGLE), within=60)
    sql = "SELECT extract(epoch FROM written_at - received_at)::float8 * 1000 FROM event_log"
    return [row[0] for row in await world.state.rows(sql)]


async def measure(url: str, kafka: str, events: int) -> None:
    """Measure both in a database of its own."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    server = await asyncpg.connect(url)
    await server.execute(f'CREATE DATABASE "{name}"')
    own = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    try:
        await migrate(own)
        async with open_world(make_settings(own, kafka, f"bench-{uuid.uuid4().hex[:12]}.")) as world:
            waits = sorted(await follow(world))
            seconds, work = await drain(world, events)
        rate, each = events / seconds, work / events * 1e6
        median, p99 = statistics.median(waits), waits[int(len(waits) * 0.99)]
        print(f"{rate:,.0f} events/s, {each:.0f} µs of CPU each; single: median {median:.1f} ms, p99 {p99:.0f} ms")
    finally:
        await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await server.close()


def main() -> None:
    """Run it with the servers that the environment names."""
    configure(service="bench", level="error", form="console")
    where = (os.environ[f"TILLSTREAM_TEST_{name}"] for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS"))
    asyncio.run(measure(*where, int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))


if __name__ == "__main__":
    main()
