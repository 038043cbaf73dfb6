"""What one per cent of poison costs the good records beside it, as a ratio to a clean run of the same writer.

Run it as `python -m bench.poison --database postgresql://… --kafka host:port` with an empty database. Records are
published at a steady rate, with `--rate 0` as fast as Kafka takes them, where the throughput says more than the p99.
The time of a record is that from Kafka's acknowledgement to the report of its batch.
Goals: twice the p99 at most, every good record written, and every poison one a dead letter.

With `--seconds 30` it measures another poison: events of twelve kinds that are out of bounds, or that the database
refuses in the writer's ledger, 25 a second of one connection, beside 50 good events a second of another one. Rounds of
so many seconds with and without poison alternate. The time of an event is that from its webhook to its row. The goal is
the same: twice the p99 at most.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import secrets
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from shared.db import migrate
from shared.kafka import Outgoing
from shared.messages import EventHeaders, Origin, RecordHeaders
from shared.stripe_api import API_VERSION
from shared.topics import EVENTS, SNAPSHOTS, record_key
from tests.eventually import eventually
from tests.integration.destination_writer.state import make_settings
from tests.integration.destination_writer.world import World, event, open_world, running

LIMIT = 2.0  # times the p99 of a clean run
AT_ONCE = 50
LOOK_INTERVAL = 0.05  # seconds
BODY_BYTES = 1500
SHARE = 100  # one record of so many is poison

GOOD_RATE, ODD_RATE = 50, 25  # events a second
WAITS = """
SELECT (d.value ->> 'at')::float8 - extract(epoch FROM e.received_at)::float8
FROM event_log e, jsonb_each(e.deliveries) d
WHERE e.connection_id = 'con_1' AND e.received_at >= to_timestamp($1::float8)
"""
# What the ledger's tables refuse, as a schema of another release would.
REFUSED = (
    "ALTER TABLE event_log ADD CHECK (event_id NOT LIKE 'evt_refused%')",
    "ALTER TABLE refetches ADD CHECK (object_id <> 'cus_refused')",
    "ALTER TABLE delivery_hours ADD CHECK (resource <> 'plan')",
)
ODD_FIELDS: tuple[Callable[[int], dict[str, Any]], ...] = (
    lambda number: {"id": f"evt_{number}" + "7f" * 4000},
    lambda number: {"id": f"evt_{number}\0"},
    lambda _: {"type": "x" * 5000},
    lambda _: {"created": 4_102_444_800},
    lambda number: {"id": f"evt_refused{number}"},
)
ODD_SUBJECTS: tuple[Callable[[int], dict[str, Any]], ...] = (
    lambda number: {"id": f"cus_{number}" + "7f" * 4000},
    lambda number: {"id": f"cus_{number}\0"},
    lambda _: {"metadata": functools.reduce(lambda inner, _: [inner], range(300), 1)},
    lambda number: {"id": f"plan_{number}", "object": "plan"},
)
KINDS = len(ODD_FIELDS) + len(ODD_SUBJECTS) + 3


@dataclass(frozen=True)
class Run:
    """What a run took."""

    seconds: float
    p50: float
    p99: float
    records: int

    def __str__(self) -> str:
        """Say it in a line."""
        rate = self.records / self.seconds
        return f"{rate:,.0f} records/s, p50 {self.p50:.2f} s, p99 {self.p99:.2f} s"


def record(connection_id: str, number: int, *, is_poison: bool) -> Outgoing:
    """Return a customer; of poison, every other one can't be read and the others are refused by the destination."""
    object_id = f"cus_{number:07}"
    body = {"id": object_id, "object": "customer", "name": "Ada", "description": secrets.token_hex(BODY_BYTES // 2)}
    value = json.dumps(body | ({"name": "a\0b"} if is_poison and number % 200 else {})).encode()
    if is_poison and not number % 200:
        value = b"\xff" + value
    headers = RecordHeaders(connection_id, "customer", int(time.time()), Origin.LISTED).encode()
    return Outgoing(record_key(connection_id, object_id), value, headers)


async def run(world: World, first: int, records: int, *, rate: float, has_poison: bool) -> Run:
    """Publish the records while the writer works, and watch the good ones arrive."""
    poison = records // SHARE if has_poison else 0
    good = records - poison
    topic = SNAPSHOTS.name(world.state.settings.topic_prefix)
    reported = f"SELECT coalesce(sum(next_offset), 0)::bigint FROM writer_progress WHERE topic = '{topic}'"
    before = await world.state.value(reported)
    started = time.perf_counter()
    published: list[float] = []  # when each record was

    async def publish() -> None:
        for begin in range(first, first + records, AT_ONCE):
            span = range(begin, min(begin + AT_ONCE, first + records))
            if rate:
                await asyncio.sleep(max(0.0, started + (begin - first) / rate - time.perf_counter()))
            made = [record("con_1", n, is_poison=has_poison and n % SHARE == 0) for n in span]
            await world.publish(SNAPSHOTS, made)
            published.extend([time.perf_counter()] * len(made))

    publishing = asyncio.create_task(publish())
    took: list[float] = []
    while len(took) < records:
        done = await world.state.value(reported) - before
        now = time.perf_counter()
        took += [now - at for at in published[len(took) : done]]
        await asyncio.sleep(LOOK_INTERVAL)
    seconds = time.perf_counter() - started
    await publishing
    rows = await world.state.value(
        "SELECT count(*) FROM copy.customers WHERE id >= $1 AND id < $2", f"cus_{first:07}", f"cus_{first + records:07}"
    )
    assert rows == good, (rows, good)
    cuts = statistics.quantiles(took, n=100)
    return Run(seconds, cuts[49], cuts[98], records)


def odd_event(number: int) -> Outgoing:
    """Return an event of the next of the twelve kinds."""
    object_id = f"cus_{number}"
    envelope: dict[str, Any] = {"id": f"evt_odd{number}", "object": "event", "type": "customer.updated"}
    envelope |= {"created": int(time.time()), "livemode": True, "api_version": API_VERSION}
    subject: dict[str, Any] = {"id": object_id, "object": "customer"}
    headers = EventHeaders("con_2", int(time.time() * 1000)).encode()
    kind = number % KINDS
    if kind < len(ODD_FIELDS):
        envelope |= ODD_FIELDS[kind](number)
    elif kind < len(ODD_FIELDS) + len(ODD_SUBJECTS):
        subject |= ODD_SUBJECTS[kind - len(ODD_FIELDS)](number)
        envelope["type"] = f"{subject['object']}.updated"
    elif kind == KINDS - 3:  # asks about a customer, and the question is refused
        envelope["type"] = "customer.discount.created"
        subject = {"id": f"di_{number}", "object": "discount", "customer": "cus_refused"}
    elif kind == KINDS - 2:
        headers.append(("replay", b"9" * 30 + b"."))
    else:
        headers = [("connection", b"con_2"), ("received_at_ms", b"9" * 18)]
    value = json.dumps(envelope | {"data": {"object": subject}}).encode()
    return Outgoing(record_key("con_2", object_id), value, headers)


async def round_of(world: World, seconds: float, *, first: int, has_poison: bool) -> tuple[list[float], int]:
    """Send events for so long; return how long each good one took to its row, and how many events were sent."""
    since, begun, good, odd = time.time(), time.monotonic(), 0, 0
    while (passed := time.monotonic() - begun) < seconds:
        due = int(passed * GOOD_RATE)
        batch = [event(first + n, f"cus_{n % 50}", int(time.time()), name=str(n)) for n in range(good, due)]
        batch = [Outgoing(one.key, one.value, EventHeaders("con_1", int(time.time() * 1000)).encode()) for one in batch]
        good, late = max(good, due), int(passed * ODD_RATE) if has_poison else 0
        batch += [odd_event(first + n) for n in range(odd, late)]
        odd = max(odd, late)
        if batch:
            await world.publish(EVENTS, batch)
        await asyncio.sleep(0.01)
    await eventually(world.done(EVENTS, first + good + odd), within=120)
    return [wait for (wait,) in await world.state.rows(WAITS, since)], good + odd


async def measure_rounds(database: str, kafka: str, seconds: float, rounds: int) -> bool:
    """Alternate rounds with and without poison, print, and tell whether the goal is reached."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    await migrate(database)
    waits: dict[bool, list[float]] = {False: [], True: []}
    async with open_world(make_settings(database, kafka, f"bench-{secrets.token_hex(4)}")) as world:
        await world.state.add_connection("con_2", await world.state.add_destination("copy_2"))
        for refused in REFUSED:
            await world.state.pool.execute(refused)
        async with running(world):
            _, sent = await round_of(world, 10, first=0, has_poison=True)  # warm
            for number in range(2 * rounds):
                found, more = await round_of(world, seconds, first=sent, has_poison=bool(number % 2))
                sent += more
                waits[bool(number % 2)] += found
            await asyncio.sleep(2)
            letters = await world.state.rows("SELECT code, sum(letters)::int FROM dead_letter_groups GROUP BY 1")
    p99 = {has_poison: statistics.quantiles(found, n=100)[98] for has_poison, found in waits.items()}
    for has_poison, found in waits.items():
        name = "with poison" if has_poison else "without"
        print(f"{name}: {len(found):,} events, p50 {statistics.median(found):.3f} s, p99 {p99[has_poison]:.3f} s")
    ratio = p99[True] / p99[False]
    print(f"p99 × {ratio:.2f} (goal: at most {LIMIT:g}); dead letters: {letters}")
    return ratio <= LIMIT


async def measure(database: str, kafka: str, records: int, rate: float) -> None:
    """Run clean, with poison, and print."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    await migrate(database)
    settings = make_settings(database, kafka, f"bench-{secrets.token_hex(4)}")
    async with open_world(settings) as world, running(world):
        await run(world, 9_000_000, 2000, rate=rate, has_poison=False)  # warm
        clean = await run(world, 0, records, rate=rate, has_poison=False)
        poisoned = await run(world, records, records, rate=rate, has_poison=True)
        kept = world.has("SELECT count(*) FROM dead_letters", records // SHARE)
        await eventually(kept, within=60)
        letters = await world.state.rows("SELECT code, letters FROM dead_letter_groups ORDER BY 1")
        stops = await world.state.value("SELECT count(*) FROM delivery_stops")
    print(f"clean:       {clean}")
    print(f"1 % poison:  {poisoned}")
    print(f"p99 × {poisoned.p99 / clean.p99:.2f} (goal: at most {LIMIT:g})")
    print(f"throughput × {clean.seconds / poisoned.seconds:.2f}")
    print(f"dead letters: {letters}; deliveries stopped: {stops}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True)
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=300, help="records/s; 0: as fast as Kafka takes them")
    parser.add_argument("--seconds", type=float, help="of a round with events that are odd; instead of the rest")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.seconds:
        kept = asyncio.run(measure_rounds(arguments.database, arguments.kafka, arguments.seconds, arguments.rounds))
        sys.exit(0 if kept else 1)
    asyncio.run(measure(arguments.database, arguments.kafka, arguments.records, arguments.rate))
