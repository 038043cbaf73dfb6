"""Whether bad destinations slow the good ones: fifty of them, one black-holed and one at two seconds a write.

    python -m bench.isolation SECONDS

It needs a Postgres and a Kafka, as the integration tests do (`TILLSTREAM_TEST_DATABASE_URL`,
`TILLSTREAM_TEST_KAFKA_BOOTSTRAP_SERVERS`); database and topics are its own. The limits: the p99 of the good ones at
most 1.5 times what it was without the bad ones, the bad ones back within 60 s, nothing lost.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import uuid
from contextlib import AsyncExitStack
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from services.destination_writer.destinations.postgres import destination as postgres
from shared.catalogue import BY_NAME
from shared.db import migrate
from shared.kafka import Outgoing
from shared.log import configure
from shared.messages import EventHeaders
from shared.stripe_api import API_VERSION
from shared.topics import EVENTS, record_key
from tests.eventually import eventually
from tests.integration.destination_writer.state import make_settings
from tests.integration.destination_writer.world import World, open_world, running
from tests.proxy import Proxy

DESTINATIONS = 50
RATE = 50  # events a second, over all
OBJECTS = 20  # of each connection
BEGIN = 1_790_000_000
ANSWERS_OF_A_WRITE = 3  # begin, upsert, commit
WAITS = """
SELECT (d.value ->> 'at')::float8 - extract(epoch FROM e.received_at)::float8
FROM event_log e, jsonb_each(e.deliveries) d
WHERE NOT d.key = ANY ($1::text[]) AND e.received_at >= to_timestamp($2) AND d.value ->> 'outcome' <> 'parked'
"""


def make_event(number: int, connection: int) -> Outgoing:
    """Return an update of a customer of a connection."""
    object_id = f"cus_{number // DESTINATIONS % OBJECTS}"
    body = {
        "id": f"evt_{number}",
        "object": "event",
        "type": "customer.updated",
        "created": BEGIN + number,
        "livemode": True,
        "api_version": API_VERSION,
        "data": {"object": {"id": object_id, "object": "customer", "name": f"v{number}"}},
    }
    connection_id = f"con_{connection + 1}"
    headers = EventHeaders(connection_id, received_at_ms=int(time.time() * 1000))
    return Outgoing(record_key(connection_id, object_id), json.dumps(body).encode(), headers.encode())


class Bench:
    """A world with fifty connections, each with its own destination, two of them behind proxies."""

    def __init__(self, world: World, proxies: tuple[Proxy, Proxy]) -> None:
        self.world, self.proxies = world, proxies
        self.bad: list[str] = []
        self.sent = 0

    async def set_up(self) -> None:
        """Add the connections; `con_1` is there."""
        state, url = self.world.state, urlsplit(self.world.state.settings.database_url.get_secret_value())
        for number in range(1, DESTINATIONS):
            own = url
            if number < 3:
                own = url._replace(netloc=f"{url.netloc.rpartition(':')[0]}:{self.proxies[number - 1].port}")
            destination_id = await state.add_destination(f"copy_{number}", urlunsplit(own))
            await state.add_connection(f"con_{number + 1}", destination_id)
            self.bad += [destination_id] if number < 3 else []

    async def send(self, seconds: float) -> list[float]:
        """Send events for so long; return the sorted milliseconds that they took to the good destinations."""
        since, begun, first = time.time(), time.monotonic(), self.sent
        while (passed := time.monotonic() - begun) < seconds:
            due = first + int(passed * RATE)
            batch = [make_event(number, number % DESTINATIONS) for number in range(self.sent, due)]
            self.sent = max(self.sent, due)
            if batch:
                await self.world.publish(EVENTS, batch)
            await asyncio.sleep(0.01)
        await eventually(self.world.done(EVENTS, self.sent), within=60)
        return sorted(row[0] * 1000 for row in await self.world.state.rows(WAITS, self.bad, since))

    async def lost(self) -> int:
        """Return how many rows are not the newest version."""
        newest = {(n % DESTINATIONS, f"cus_{n // DESTINATIONS % OBJECTS}"): f"v{n}" for n in range(self.sent)}
        wrong = 0
        for connection in range(DESTINATIONS):
            schema = f"copy_{connection}" if connection else "copy"
            rows = await self.world.state.rows(f"SELECT id, data ->> 'name' FROM {schema}.customers")
            found = dict(rows)
            wrong += sum(found.get(key) != name for (one, key), name in newest.items() if one == connection)
        return wrong


async def measure(url: str, kafka: str, seconds: float) -> None:
    """Measure in a database of its own."""
    # Fifty schemas with every table would measure the catalogue of Postgres.
    postgres.RESOURCES = (BY_NAME["customer"],)
    name = f"bench_{uuid.uuid4().hex[:12]}"
    server = await asyncpg.connect(url)
    await server.execute(f'CREATE DATABASE "{name}"')
    own = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    parts = urlsplit(url)
    try:
        await migrate(own)
        settings = make_settings(own, kafka, f"bench-{uuid.uuid4().hex[:12]}.")
        settings = settings.model_copy(update={"write_deadline_seconds": 0.5})
        async with AsyncExitStack() as stack:
            address = parts.hostname or "", parts.port or 5432
            silent, slow = [await stack.enter_async_context(Proxy(*address)) for _ in range(2)]
            bench = Bench(await stack.enter_async_context(open_world(settings)), (silent, slow))
            await bench.set_up()
            await stack.enter_async_context(running(bench.world))
            await bench.send(5)
            before = await bench.send(seconds)
            silent.is_silent, slow.delay_seconds = True, 2.0 / ANSWERS_OF_A_WRITE
            during = await bench.send(seconds)
            silent.is_silent, slow.delay_seconds = False, 0.0
            healed = time.monotonic()
            await eventually(bench.world.has("SELECT count(*) FROM parked_records", 0), within=120)
            back = time.monotonic() - healed
            report(before, during, back, await bench.lost())
    finally:
        await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await server.close()


def report(before: list[float], during: list[float], back: float, lost: int) -> None:
    """Print what was found."""
    (p50, p99), (bad50, bad99) = ((one[len(one) // 2], one[int(len(one) * 0.99)]) for one in (before, during))
    print(f"{DESTINATIONS} destinations, {RATE} events/s; good ones, from the webhook to the row:")
    print(f"  all well:     median {p50:.0f} ms, p99 {p99:.0f} ms ({len(before)} events)")
    print(f"  two are bad:  median {bad50:.0f} ms, p99 {bad99:.0f} ms ({len(during)} events)")
    print(f"  p99 ratio {bad99 / p99:.2f}; the bad ones were back after {back:.1f} s; rows that are wrong: {lost}")


def main() -> None:
    """Run it with the servers that the environment names."""
    configure(service="bench", level="error", form="console")
    where = (os.environ[f"TILLSTREAM_TEST_{name}"] for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS"))
    asyncio.run(measure(*where, float(sys.argv[1]) if len(sys.argv) > 1 else 60.0))


if __name__ == "__main__":
    main()
