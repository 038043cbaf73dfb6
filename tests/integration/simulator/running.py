"""A simulator that runs inside a test, and a receiver for its webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
import stripe
from aiohttp import web
from aiohttp.test_utils import TestServer

from simulator.app import SIMULATION, create_app
from simulator.config import Config
from simulator.simulation import Simulation

T = TypeVar("T")


@dataclass(slots=True)
class Running:
    """A simulator and ways to talk to it."""

    url: str
    simulation: Simulation
    session: aiohttp.ClientSession

    def client(self, key: str | None = None, *, account: str | None = None) -> stripe.StripeClient:
        """Give Stripe's own client, pointed here."""
        return stripe.StripeClient(
            key or self.simulation.first_key, base_addresses={"api": self.url}, stripe_account=account
        )

    async def ask(self, call: Callable[[], T]) -> T:
        """Run a call of the blocking client beside the simulator's loop."""
        return await asyncio.to_thread(call)

    async def get(self, path: str, *, key: str | None = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Read an address as any client would; give status, body and headers."""
        headers = {"Authorization": f"Bearer {key or self.simulation.first_key}", **headers}
        async with self.session.get(self.url + path, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None), dict(answer.headers)

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """Use the control API."""
        async with self.session.request(method, f"{self.url}/_control/{path}", json=body) as answer:
            return await answer.json(content_type=None)


@dataclass(slots=True)
class Receiver:
    """Takes webhooks; `statuses` are answered first, one each, and then 200."""

    url: str = ""
    received: list[tuple[bytes, str]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        self.received.append((await request.read(), request.headers["Stripe-Signature"]))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@asynccontextmanager
async def run_simulator(**settings: Any) -> AsyncIterator[Running]:
    """Run a small simulator without rate limits, unless told otherwise."""
    app = create_app(Config(**{"objects": 1500, "rate_limits": False, **settings}))
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield Running(str(server.make_url("")).rstrip("/"), app[SIMULATION], session)


@asynccontextmanager
async def run_receiver() -> AsyncIterator[Receiver]:
    """Run a webhook receiver."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hooks", receiver.handle)
    async with TestServer(app) as server:
        receiver.url = str(server.make_url("/hooks"))
        yield receiver
