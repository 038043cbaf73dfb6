"""How fast and how big the simulator is: start, memory, pages, changes and deliveries.

Run it as `python bench/simulator.py [--objects 1000000]`; each figure stands beside its limit.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

_PAGES = 100
_LIVE_SECONDS = 10.0
_RATE = 50
_RESOURCES = ("customers", "charges", "invoices", "subscriptions", "balance_transactions")


async def start(objects: int) -> tuple[asyncio.subprocess.Process, dict[str, str], float]:
    """Start a simulator of its own; give it, its address and the seconds it took."""
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulator", "--port", "0", "--objects", str(objects), "--no-rate-limits",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    return process, msgspec.json.decode(await process.stdout.readline()), time.perf_counter() - begun


async def time_pages(session: aiohttp.ClientSession, url: str) -> dict[str, float]:
    """Give the median milliseconds of a page of 100, by resource, from request to last byte."""
    medians = {}
    for resource in _RESOURCES:
        times, after = [], ""
        for _ in range(_PAGES):
            begun = time.perf_counter()
            async with session.get(f"{url}/v1/{resource}?limit=100{after}") as answer:
                body = await answer.read()
            times.append((time.perf_counter() - begun) * 1000)
            page = msgspec.json.decode(body)
            if not page["has_more"]:
                break
            after = f"&starting_after={page['data'][-1]['id']}"
        medians[resource] = statistics.median(times)
    return medians


async def time_deliveries(session: aiohttp.ClientSession, url: str) -> dict[str, float]:
    """Let the business live at 50 changes/s; give the rate reached and the delivery times in milliseconds."""
    runner, hook = await _receive()
    created = {"url": hook, "enabled_events[]": "*", "api_version": "2026-10-28.endive"}
    await session.post(f"{url}/v1/webhook_endpoints", data=created)
    state = await (await session.get(f"{url}/_control/state")).json()
    await session.post(f"{url}/_control/business", json={"changes_per_second": _RATE})
    await asyncio.sleep(_LIVE_SECONDS)
    await session.post(f"{url}/_control/business", json={"changes_per_second": 0})
    await asyncio.sleep(0.5)
    answer = await session.get(f"{url}/_control/events?since={state['events']}&limit=1000000")
    events: list[dict[str, Any]] = (await answer.json())["events"]
    waits = sorted(one["delivered_ms"] - one["created_ms"] for one in events if one["delivered_ms"])
    await runner.cleanup()
    return {
        "events/s": len(events) / _LIVE_SECONDS,
        "undelivered": len(events) - len(waits),
        "p50 ms": waits[len(waits) // 2],
        "p99 ms": waits[len(waits) * 99 // 100],
    }


async def _receive() -> tuple[web.AppRunner, str]:
    app = web.Application()

    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    app.router.add_post("/", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/"


def resident_megabytes(pid: int) -> float:
    """Give a process's resident memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


async def main(objects: int) -> None:
    """Measure one simulator and print its figures."""
    process, where, seconds = await start(objects)
    headers = {"Authorization": f"Bearer {where['api_key']}", "Stripe-Version": "2026-10-28.endive"}
    print(f"start with {objects:,} objects: {seconds:.1f} s (limit 3 s for 20,000)")
    print(f"memory: {resident_megabytes(process.pid):,.0f} MB (limit 2,000 MB for 1,000,000)")
    async with aiohttp.ClientSession(headers=headers) as session:
        for resource, median in (await time_pages(session, where["url"])).items():
            print(f"page of 100 {resource}: {median:.1f} ms (limit 5 ms)")
        for name, figure in (await time_deliveries(session, where["url"])).items():
            print(f"deliveries at {_RATE} changes/s: {name} {figure:.1f}")
    begun = time.perf_counter()
    process.terminate()
    await process.wait()
    print(f"stop: {time.perf_counter() - begun:.2f} s (limit 2 s)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=20_000)
    asyncio.run(main(parser.parse_args().objects))
