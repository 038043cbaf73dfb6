"""What one per cent of poison costs the good records beside it, as a ratio to a clean run of the same writer.

Run it as `python -m bench.poison --database postgresql://… --kafka host:port` with an empty database. Records are
published at a steady rate, with `--rate 0` as fast as Kafka takes them, where the throughput says more than the p99.
The time of a record is that from Kafka's acknowledgement to the report of its batch.
Goals: twice the p99 at most, every good record written, and every poison one a dead letter.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import statistics
import time
from dataclasses import dataclass

import structlog

from shared.db import migrate
from shared.kafka import Outgoing
from shared.messages import Origin, RecordHeaders
from shared.topics import SNAPSHOTS, record_key
from tests.eventually import eventually
from tests.integration.destination_writer.state import make_settings
from tests.integration.destination_writer.world import World, open_world, running

LIMIT = 2.0  # times the p99 of a clean run
AT_ONCE = 50
LOOK_INTERVAL = 0.05  # seconds
BODY_BYTES = 1500
SHARE = 100  # one record of so many is poison


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
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.database, arguments.kafka, arguments.records, arguments.rate))
