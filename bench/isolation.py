"""Whether bad destinations slow the good ones: fifty of them, one black-holed and one at two seconds a write.

    python -m bench.isolation SECONDS

It needs a Postgres and a Kafka, as the integration tests do (`TILLSTREAM_TEST_DATABASE_URL`,
`TILLSTREAM_TEST_KAFKA_BOOTSTRAP_SERVERS`); database and topics are its own. Phases of so many seconds alternate: all
are well, two are bad, and so on, so that what else the machine does meets both alike. Nothing is counted before every
destination has its table and its first rows. The limits: the p99 of the good ones at most 1.5 times what it is in the
phases in which all are well, the bad ones back within 60 s, nothing lost.

Until a bad one is noticed, batches wait half a second for it, some times: that is about 3 s of a phase, so the p99 of
a short one shows little else. What it is from second 5 on is told beside it.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
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
ROUNDS = 2  # of two bad ones and all well again
WARM_UP = 10.0  # seconds
ANSWERS_OF_A_WRITE = 3  # begin, upsert, commit
LIMIT, BACK_LIMIT = 1.5, 60.0  # of the p99s; seconds
NOTICED = 5.0  # seconds: until then batches still wait for a bad one, three times each
PATIENCE = 120.0  # seconds
Waits = Sequence[tuple[float, float]]  # when an event was sent, in seconds of its phase, and how many it took
WAITS = """
SELECT extract(epoch FROM e.received_at)::float8 - $2::float8,
       (d.value ->> 'at')::float8 - extract(epoch FROM e.received_at)::float8
FROM event_log e, jsonb_each(e.deliveries) d
WHERE NOT d.key = ANY ($1::text[]) AND e.received_at >= to_timestamp($2::float8)
"""
WAITING = "SELECT count(*) FROM parked_records WHERE NOT destination_id = ANY ($1::text[])"
TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname LIKE 'copy%' AND tablename = 'customers'"


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

    def __init__(self, world: World, silent: Proxy, slow: Proxy) -> None:
        self.world, self.silent, self.slow = world, silent, slow
        self.bad: list[str] = []
        self.sent = 0

    async def set_up(self) -> None:
        """Add the connections; `con_1` is there."""
        state, url = self.world.state, urlsplit(self.world.state.settings.database_url.get_secret_value())
        ports = {1: self.silent.port, 2: self.slow.port}
        for number in range(1, DESTINATIONS):
            own = url
            if number in ports:
                own = url._replace(netloc=f"{url.netloc.rpartition(':')[0]}:{ports[number]}")
            destination_id = await state.add_destination(f"copy_{number}", urlunsplit(own))
            await state.add_connection(f"con_{number + 1}", destination_id)
            self.bad += [destination_id] if number in ports else []

    async def warm_up(self) -> None:
        """Return when every destination has its table and its rows, and nothing waits for one."""
        await self.send(WARM_UP)
        await eventually(self.world.has(TABLES, DESTINATIONS), within=PATIENCE)
        await eventually(self.nothing_waits(but_for=()), within=PATIENCE)

    async def send(self, seconds: float) -> Waits:
        """Send events for so long; return how long each took to its good destination."""
        since, begun, first = time.time(), time.monotonic(), self.sent
        while (passed := time.monotonic() - begun) < seconds:
            due = first + int(passed * RATE)
            batch = [make_event(number, number % DESTINATIONS) for number in range(self.sent, due)]
            self.sent = max(self.sent, due)
            if batch:
                await self.world.publish(EVENTS, batch)
            await asyncio.sleep(0.01)
        await eventually(self.world.done(EVENTS, self.sent), within=PATIENCE)
        # What a good destination did not take in time counts too, once it is written.
        await eventually(self.nothing_waits(but_for=self.bad), within=PATIENCE)
        return [(sent, took) for sent, took in await self.world.state.rows(WAITS, self.bad, since)]

    async def send_while_two_are_bad(self, seconds: float) -> tuple[Waits, float]:
        """Return also after how many seconds the bad ones had caught up, once they were well."""
        self.silent.is_silent, self.slow.delay_seconds = True, 2.0 / ANSWERS_OF_A_WRITE
        found = await self.send(seconds)
        self.silent.is_silent, self.slow.delay_seconds = False, 0.0
        healed = time.monotonic()
        await eventually(self.nothing_waits(but_for=()), within=PATIENCE)
        return found, time.monotonic() - healed

    def nothing_waits(self, *, but_for: Sequence[str]) -> Callable[[], Awaitable[bool]]:
        """Tell whether no record waits for a destination, but for these."""

        async def is_so() -> bool:
            return bool(await self.world.state.value(WAITING, list(but_for)) == 0)

        return is_so

    async def wrong_rows(self) -> int:
        """Return how many rows are not the newest version."""
        newest = {(n % DESTINATIONS, f"cus_{n // DESTINATIONS % OBJECTS}"): f"v{n}" for n in range(self.sent)}
        wrong = 0
        for connection in range(DESTINATIONS):
            schema = f"copy_{connection}" if connection else "copy"
            rows = await self.world.state.rows(f"SELECT id, data ->> 'name' FROM {schema}.customers")
            found = dict(rows)
            wrong += sum(found.get(key) != name for (one, key), name in newest.items() if one == connection)
        return wrong


async def measure(url: str, kafka: str, seconds: float) -> bool:
    """Measure in a database of its own; tell whether the limits are kept."""
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
            bench = Bench(await stack.enter_async_context(open_world(settings)), silent, slow)
            await bench.set_up()
            await stack.enter_async_context(running(bench.world))
            await bench.warm_up()
            return await compare(bench, seconds)
    finally:
        await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await server.close()


async def compare(bench: Bench, seconds: float) -> bool:
    """Alternate the phases, print what was found, and tell whether the limits are kept."""
    print(f"{DESTINATIONS} destinations, {RATE} events/s; good ones, from the webhook to the row:")
    well, bad, longest_back = [*await bench.send(seconds)], list[tuple[float, float]](), 0.0
    print(f"  all are well: {tell(well)}", flush=True)
    for _ in range(ROUNDS):
        found, back = await bench.send_while_two_are_bad(seconds)
        bad, longest_back = [*bad, *found], max(longest_back, back)
        later = p99([one for one in found if one[0] > NOTICED])
        told = f"{tell(found)}, from second {NOTICED:g} on p99 {later:.0f} ms; back after {back:.1f} s"
        print(f"  two are bad:  {told}", flush=True)
        found = await bench.send(seconds)
        well += found
        print(f"  all are well: {tell(found)}", flush=True)
    ratio, wrong = p99(bad) / p99(well), await bench.wrong_rows()
    print(
        f"p99 {p99(bad):.0f} ms against {p99(well):.0f} ms: ratio {ratio:.2f} (limit {LIMIT:g}); "
        f"the bad ones were back after {longest_back:.1f} s (limit {BACK_LIMIT:g} s); rows that are wrong: {wrong}"
    )
    return ratio <= LIMIT and longest_back <= BACK_LIMIT and not wrong


def p99(waits: Waits) -> float:
    """Return the milliseconds that one event in a hundred exceeds."""
    return sorted(took for _, took in waits)[int(len(waits) * 0.99)] * 1000


def tell(waits: Waits) -> str:
    """Return the figures of a phase."""
    median = statistics.median(took for _, took in waits) * 1000
    return f"median {median:.0f} ms, p99 {p99(waits):.0f} ms ({len(waits):,} events)"


def main() -> int:
    """Run it with the servers that the environment names; return the exit code."""
    configure(service="bench", level="error", form="console")
    url, kafka = (os.environ[f"TILLSTREAM_TEST_{name}"] for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS"))
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    return 0 if asyncio.run(measure(url, kafka, seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
