"""What strangers cost the gateway: its memory and the answers of others while many sockets hold large bodies.

Run it as `.venv/bin/python -m bench.strangers [--sockets 300]`: no Postgres and no Kafka are needed. Each wave opens so
many sockets that send a header and all but one byte of 1 MiB: first to endpoints that don't exist, then to one that
does. The answers of ordinary webhooks are measured before a wave and in it; their ratio is what matters.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import uvloop
from pydantic import SecretStr

from bench.gateway import NullProducer, Sender, make_requests, process, read_address
from services.webhook_gateway.app import create_app
from services.webhook_gateway.bodies import MAX_BODY
from services.webhook_gateway.endpoints import EndpointCache
from services.webhook_gateway.settings import GatewaySettings
from shared.crypto import make_encryption_key
from shared.endpoint_secrets import Endpoint
from shared.http import serve
from shared.log import configure
from shared.settings import load
from tests.eventually import eventually

KNOWN = "we_1"
LIMIT = 200  # MB
HOLD = 8.0  # seconds for one wave, within the time that a body has


async def run_server() -> None:
    """Serve the gateway with one endpoint that is known."""
    settings = load(GatewaySettings, os.environ)
    configure(service="webhook_gateway", level=settings.log_level, form=settings.log_format)
    ours = Endpoint(KNOWN, "con_1", "acct_1", True, (SecretStr("whsec_bench"),))

    async def find(endpoint_id: str) -> Endpoint | None:
        return ours if endpoint_id == KNOWN else None

    app = create_app(settings, producer=NullProducer(), endpoints=EndpointCache(find))  # type: ignore[arg-type]
    await serve(app, settings)


async def hold(address: tuple[str, int], endpoint: str) -> str:
    """Send all but one byte of a body, wait, and return the status that came; `-` for none."""
    reader, writer = await asyncio.open_connection(*address)
    head = f"POST /webhooks/stripe/{endpoint} HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY}\r\n"
    status = "-"
    with suppress(ConnectionError, TimeoutError, IndexError):
        writer.write(f"{head}Stripe-Signature: t={int(time.time())},v1={'0' * 64}\r\n\r\n".encode())
        writer.write(bytes(MAX_BODY - 1))
        async with asyncio.timeout(HOLD):
            status = (await reader.readline()).decode().split(" ")[1]
    writer.close()
    return status


async def answer_times(address: tuple[str, int], seconds: float) -> list[float]:
    """Return the milliseconds that ordinary webhooks take, one after another, sorted."""
    requests, times, deadline = make_requests(), [], time.perf_counter() + seconds
    _, sender = await asyncio.get_running_loop().create_connection(Sender, *address)
    while time.perf_counter() < deadline:
        begun = time.perf_counter()
        with suppress(AssertionError):  # a 503 where there is no room
            await sender.send(requests[len(times) % len(requests)])
        times.append((time.perf_counter() - begun) * 1000)
        await asyncio.sleep(0.01)
    sender.transport.close()
    return sorted(times)


async def measure(sockets: int) -> bool:
    """Measure and print; tell whether the memory stayed within its limit."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "address"
        variables = {
            "TILLSTREAM_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "TILLSTREAM_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "TILLSTREAM_ENCRYPTION_KEYS": make_encryption_key("bench"),
            "TILLSTREAM_LOG_LEVEL": "error",
            "TILLSTREAM_ADDRESS_FILE": str(file),
        }
        async with process("-m", "bench.strangers", "--serve", **variables) as started:
            await eventually(file.exists, within=60)
            highest = await measure_waves(sockets, read_address(file), psutil.Process(started.pid))
    print(f"memory at most {highest:.0f} MB   (limit {LIMIT} MB)")
    return highest <= LIMIT


async def measure_waves(sockets: int, address: tuple[str, int], gateway: psutil.Process) -> float:
    """Measure each wave and print it; return the most memory that the gateway has taken, in MB."""
    alone, highest = await answer_times(address, 3.0), 0.0
    usual = alone[len(alone) // 2]
    print(f"alone: {megabytes(gateway):.0f} MB, p50 {usual:.1f} ms")
    for name, endpoint in (("made-up endpoints", "whe_{}"), ("an endpoint that exists", KNOWN)):
        wave = [asyncio.create_task(hold(address, endpoint.format(n))) for n in range(sockets)]
        measuring, most = asyncio.create_task(answer_times(address, HOLD - 2)), 0.0
        while not measuring.done():
            most = max(most, megabytes(gateway))
            await asyncio.sleep(0.02)
        times, statuses = measuring.result(), Counter(await asyncio.gather(*wave))
        p50 = times[len(times) // 2]
        print(f"{sockets} sockets with 1 MiB for {name}: {most:.0f} MB, answers {dict(statuses)}")
        print(f"  webhooks meanwhile: p50 {p50:.1f} ms, {p50 / usual:.1f} times as long")
        highest = max(highest, most)
    return highest


def megabytes(process: psutil.Process) -> float:
    """Return the memory that a process holds."""
    return float(process.memory_info().rss) / 2**20


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=300)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        uvloop.run(run_server())
        return
    sys.exit(0 if uvloop.run(measure(arguments.sockets)) else 1)


if __name__ == "__main__":
    main()
