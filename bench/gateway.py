"""How many webhooks the gateway takes, beside the least that an aiohttp server with a signature check can do.

Run it as `.venv/bin/python bench/gateway.py [--seconds 5] [--rounds 3]`: it starts a Postgres and a Kafka of its own.
The servers take turns within one run, since only their ratio means something on a machine that others use too.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import msgspec
import psutil
import uvloop
from aiohttp import web
from pydantic import SecretStr

from services.webhook_gateway.app import create_app
from services.webhook_gateway.endpoints import EndpointCache
from services.webhook_gateway.settings import GatewaySettings
from shared.crypto import make_encryption_key, parse_key_ring
from shared.db import migrate
from shared.endpoint_secrets import Endpoint
from shared.http import serve
from shared.messages import Event
from shared.settings import load

REPOSITORY = Path(__file__).parent.parent
SECRET = "whsec_bench"
PATH = "/webhooks/stripe/we_1"
BODY_BYTES = 3400  # an ordinary charge
CONNECTIONS = 32
KINDS = ("bare", "null", "gateway")
RATE = 1000  # webhooks/s, for the response times
INSERT = """
INSERT INTO tillstream.connections (id, account_id, account_name, livemode, state, key_hint, resources, live_by)
VALUES ('con_1', 'acct_1', 'Bench', true, 'active', 'rk_live_...1', '{}', 'webhooks');
INSERT INTO tillstream.webhook_endpoints (id, connection_id, url) VALUES ('we_1', 'con_1', 'https://example.com');
"""


class NullProducer:
    """Takes records and forgets them."""

    async def publish(self, topic: object, record: object) -> None:
        """Forget a record."""

    async def stop(self) -> None:
        """Nothing to close."""


def bare_app() -> web.Application:
    """Return the least server: read, check one signature, parse the envelope, answer."""
    decoder = msgspec.json.Decoder(Event)

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        stamp, signature = (part.partition("=")[2] for part in request.headers["Stripe-Signature"].split(","))
        expected = hmac.digest(SECRET.encode(), stamp.encode() + b"." + body, "sha256").hex()
        if not hmac.compare_digest(expected, signature):
            raise web.HTTPBadRequest
        decoder.decode(body)
        return web.Response()

    app = web.Application()
    app.router.add_post(PATH, receive)
    return app


def null_app(settings: GatewaySettings) -> web.Application:
    """Return the gateway without Kafka and Postgres."""

    async def find(endpoint_id: str) -> Endpoint:
        return Endpoint(endpoint_id, "con_1", "acct_1", True, (SecretStr(SECRET),))

    return create_app(settings, producer=NullProducer(), endpoints=EndpointCache(find))  # type: ignore[arg-type]


async def run_server(kind: str) -> None:
    """Serve one kind of server until SIGTERM, and write its address where the environment says."""
    settings = load(GatewaySettings, os.environ)
    if kind != "bare":
        await serve(null_app(settings) if kind == "null" else create_app(settings), settings)
        return
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    runner = web.AppRunner(bare_app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    write_address(Path(os.environ["TILLSTREAM_ADDRESS_FILE"]), "http://{}:{}".format(*runner.addresses[0]))
    await stopping.wait()
    await runner.cleanup()


def write_address(file: Path, url: str) -> None:
    """Tell where the server listens, all at once."""
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps({"url": url}))
    unfinished.replace(file)


class Sender(asyncio.Protocol):
    """One connection that sends a webhook and waits for its answer."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Take the answer: a 200 has no body, so that it ends with its headers; of others the start is enough."""
        is_whole = data.endswith(b"\r\n\r\n") or not data.startswith(b"HTTP/1.1 200")
        if is_whole and self._answer and not self._answer.done():
            self._answer.set_result(data)

    async def send(self, request: bytes) -> None:
        """Send a request and return when it was answered with 200."""
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)  # type: ignore[attr-defined]
        answer = await self._answer
        assert answer.startswith(b"HTTP/1.1 200"), answer


def make_requests() -> list[bytes]:
    """Return signed requests about different objects, valid for five minutes."""
    return [_request(number) for number in range(64)]


def _request(number: int) -> bytes:
    stamp = int(time.time())
    subject = {"id": f"ch_{number}", "object": "charge", "description": "x" * (BODY_BYTES - 200)}
    event = {"id": f"evt_{number}", "type": "charge.updated", "created": stamp, "livemode": True}
    body = json.dumps(event | {"data": {"object": subject}}).encode()
    signature = hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nStripe-Signature: t={stamp},v1={signature}\r\n\r\n".encode() + body


@asynccontextmanager
async def senders(address: tuple[str, int]) -> AsyncIterator[list[Sender]]:
    """Lend open connections."""
    loop = asyncio.get_running_loop()
    opened = [(await loop.create_connection(Sender, *address))[1] for _ in range(CONNECTIONS)]
    yield opened
    for sender in opened:
        sender.transport.close()


async def measure_rate(address: tuple[str, int], seconds: float) -> float:
    """Return webhooks/s with every connection sending as fast as it is answered."""
    requests, deadline, count = make_requests(), time.perf_counter() + seconds, 0

    async def repeat(sender: Sender, number: int) -> None:
        nonlocal count
        while time.perf_counter() < deadline:
            await sender.send(requests[(number + count) % len(requests)])
            count += 1

    async with senders(address) as opened:
        begun = time.perf_counter()
        await asyncio.gather(*(repeat(sender, number) for number, sender in enumerate(opened)))
        return count / (time.perf_counter() - begun)


async def measure_latency(address: tuple[str, int], seconds: float) -> list[float]:
    """Return the seconds of each answer at `RATE`, counted from when the webhook was due."""
    requests, begun, times = make_requests(), time.perf_counter(), []
    due = iter(range(int(RATE * seconds)))

    async def repeat(sender: Sender) -> None:
        for number in due:
            at = begun + number / RATE
            await asyncio.sleep(at - time.perf_counter())
            await sender.send(requests[number % len(requests)])
            times.append(time.perf_counter() - at)

    async with senders(address) as opened:
        await asyncio.gather(*(repeat(sender) for sender in opened))
    return sorted(times)


@asynccontextmanager
async def process(
    *arguments: str, output: int | None = None, **variables: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run Python beside us, in the repository."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=output, stderr=asyncio.subprocess.DEVNULL, cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | variables,
    )  # fmt: skip
    try:
        yield started
    finally:
        started.terminate()
        await started.wait()


@asynccontextmanager
async def backing(folder: Path) -> AsyncIterator[dict[str, str]]:
    """Start Postgres and Kafka with one endpoint; give the settings that lead there."""
    arguments = ("-m", "local_stack", f"--home={folder / 'stack'}", f"--follow={os.getpid()}")
    async with process(*arguments, output=asyncio.subprocess.PIPE) as stack:
        assert stack.stdout is not None
        addresses = json.loads(await stack.stdout.readline())
        keys = make_encryption_key("bench")
        await migrate(addresses["database_url"])
        database = await asyncpg.connect(addresses["database_url"])
        await database.execute(INSERT)
        sealed = parse_key_ring(keys).encrypt(SECRET, owner="we_1", name="secret")
        insert = "INSERT INTO tillstream.webhook_secrets (endpoint_id, secret) VALUES ('we_1', $1)"
        await database.execute(insert, sealed)
        await database.close()
        variables = addresses | {"encryption_keys": keys, "log_level": "warning"}
        yield {f"TILLSTREAM_{name.upper()}": value for name, value in variables.items()}


@asynccontextmanager
async def server(kind: str, folder: Path, variables: dict[str, str]) -> AsyncIterator[tuple[int, tuple[str, int]]]:
    """Start one of the servers; give its process and address once it takes webhooks."""
    file = folder / f"{kind}.json"
    arguments = (str(Path(__file__)), "--serve", kind)
    async with process(*arguments, **variables, TILLSTREAM_ADDRESS_FILE=str(file)) as started:
        address = await until_ready(file)
        yield started.pid, address


def read_address(file: Path) -> tuple[str, int]:
    """Return the host and port that a server wrote."""
    host, port = json.loads(file.read_text())["url"].removeprefix("http://").split(":")
    return host, int(port)


async def until_ready(file: Path) -> tuple[str, int]:
    """Return the server's address once it answers a webhook with 200."""
    for _ in range(600):
        await asyncio.sleep(0.05)
        with suppress(FileNotFoundError, AssertionError):
            address = read_address(file)
            await measure_rate(address, 0.2)
            return address
    raise TimeoutError("The server did not get ready within 30 s.")


async def compare(seconds: float, rounds: int) -> None:
    """Measure and print."""
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    costs: dict[str, list[float]] = {kind: [] for kind in KINDS}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        variables = await stack.enter_async_context(backing(folder))
        servers = {kind: await stack.enter_async_context(server(kind, folder, variables)) for kind in KINDS}
        for _ in range(rounds):
            for kind, (pid, address) in servers.items():
                before = cpu_seconds(pid)
                rates[kind].append(await measure_rate(address, seconds))
                costs[kind].append((cpu_seconds(pid) - before) / (rates[kind][-1] * seconds) * 1e6)
        pid, address = servers["gateway"]
        times = await measure_latency(address, seconds * 2)
        memory = psutil.Process(pid).memory_info().rss / 2**20
    report(rates, costs)
    p50, p99 = (times[int(len(times) * share)] * 1000 for share in (0.5, 0.99))
    print(f"answer at {RATE:,}/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms   (floor 30 ms, goal 15 ms)")
    print(f"memory of the gateway: {memory:.0f} MB   (floor 100 MB, goal 80 MB)")


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    used = psutil.Process(pid).cpu_times()
    return used.user + used.system


def report(rates: dict[str, list[float]], costs: dict[str, list[float]]) -> None:
    """Print the rates, and each ratio beside its limit."""
    for kind in KINDS:
        rate, cost = statistics.median(rates[kind]), statistics.median(costs[kind])
        print(f"{kind:8} {rate:8,.0f} webhooks/s, {cost:5.0f} µs of processor time each")
    for kind, floor, goal in (("null", 0.80, 0.90), ("gateway", 0.50, 0.60)):
        ratios = [ours / bare for ours, bare in zip(rates[kind], rates["bare"], strict=True)]
        print(f"{kind} ÷ bare: {statistics.median(ratios):.2f}   (floor {floor}, goal {goal})")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", choices=KINDS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    uvloop.run(run_server(arguments.serve) if arguments.serve else compare(arguments.seconds, arguments.rounds))


if __name__ == "__main__":
    main()
