"""How long a key check takes when Stripe takes 200 ms for a call: a person waits for it.

Run it as `python -m bench.key_check --database postgresql://… [--latency 200]`; the limit is 3 s.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

from pydantic import SecretStr

from shared.db import migrate
from tests.integration.connection_api.stage import set_up

LIMIT = 3.0  # seconds
ROUNDS = 3


async def measure(url: str, latency: int) -> None:
    """Print how long the checks took, and how many calls one makes."""
    await migrate(url)
    async with set_up(url) as stage:
        keys = stage.use_cases().keys
        await stage.simulator.control("POST", "faults", {"latency_before_ms": latency})
        took = []
        for _ in range(ROUNDS):
            key = SecretStr(stage.simulator.simulation.keys.create().secret)
            started = time.perf_counter()
            report = await keys.check(key)
            took.append(time.perf_counter() - started)
        calls = len((await stage.simulator.control("GET", "requests"))["requests"]) // ROUNDS
    lines = sum(len(group.permissions) for group in report.groups)
    print(f"key check: {statistics.median(took):.2f} s median, {max(took):.2f} s at most (limit {LIMIT:g} s)")
    print(f"{lines} permissions, {calls} calls of {latency} ms each")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="an empty Postgres database")
    parser.add_argument("--latency", type=int, default=200, help="of each call, in milliseconds")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.database, arguments.latency))


if __name__ == "__main__":
    main()
