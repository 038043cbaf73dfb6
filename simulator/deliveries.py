"""Webhook deliveries: signed, tried again with growing pauses, and on demand lost, late, twice or out of order."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import msgspec

from simulator.config import Faults
from simulator.events import render_event
from simulator.journal import Event
from simulator.webhook_endpoints import WebhookEndpoint, WebhookEndpoints
from simulator.world import World

TIMEOUT = 30.0  # seconds that a receiver has to answer
LOG_SIZE = 500_000  # deliveries that are remembered


@dataclass(slots=True)
class Delivery:
    """One event on its way to one endpoint. Times are Unix seconds; `status` is the last HTTP status, 0 for none."""

    event_id: str
    endpoint_id: str
    changed_at: float
    attempts: int = 0
    status: int | None = None
    seconds: float | None = None  # that the last attempt took
    delivered_at: float | None = None
    lost: bool = False


class Deliveries:
    """Sends the events of its worlds to the platform's endpoints. Start it inside a running loop."""

    def __init__(
        self,
        endpoints: WebhookEndpoints,
        *,
        faults: Callable[[], Faults],
        rng: random.Random,
        version: str,
        now: Callable[[], float],
        at_once: int,
    ) -> None:
        """`at_once` is how many requests may be under way."""
        self.endpoints = endpoints
        self.faults = faults
        self.version = version  # for endpoints that were created without one
        self.log: dict[tuple[str, str], Delivery] = {}
        self._rng = rng
        self._now = now
        self._at_once = at_once
        self._slots = asyncio.Semaphore(at_once)
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    def watch(self, world: World) -> None:
        """Send every further event of a world."""
        world.listeners.append(lambda event: self._plan(world, event))

    async def start(self) -> None:
        connector = aiohttp.TCPConnector(limit=self._at_once)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT))

    async def stop(self) -> None:
        """Give up what is under way."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    @property
    def pending(self) -> int:
        """How many deliveries are under way or wait for their next attempt."""
        return len(self._tasks)

    def resend(self, world: World, event: Event) -> None:
        """Send an event once more to every endpoint that takes it."""
        for endpoint in self._takers(event):
            self._start(world, event, endpoint, after=0.0)

    def _takers(self, event: Event) -> list[WebhookEndpoint]:
        connected = event.account is not None
        return [one for one in self.endpoints.by_id.values() if one.takes(event.type, connected=connected)]

    def _plan(self, world: World, event: Event) -> None:
        if self._session is None:
            return
        for endpoint in self._takers(event):
            faults, chance = self.faults(), self._rng.random
            world.journal.undelivered.add(event.id)
            self._remember(Delivery(event.id, endpoint.id, event.changed_at))
            if chance() < faults.webhook_loss:
                self.log[event.id, endpoint.id].lost = True
                continue
            after = chance() * faults.webhook_late_seconds if chance() < faults.webhook_late else 0.0
            if chance() < faults.webhook_reorder:
                after += chance() * faults.webhook_reorder_seconds
            self._start(world, event, endpoint, after=after)
            if chance() < faults.webhook_duplicate:
                self._start(world, event, endpoint, after=after + chance() * faults.webhook_reorder_seconds)

    def _remember(self, delivery: Delivery) -> None:
        self.log[delivery.event_id, delivery.endpoint_id] = delivery
        if len(self.log) > LOG_SIZE:
            del self.log[next(iter(self.log))]

    def _start(self, world: World, event: Event, endpoint: WebhookEndpoint, *, after: float) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(world, event, endpoint.id, after))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, world: World, event: Event, endpoint_id: str, after: float) -> None:
        key = (event.id, endpoint_id)
        delivery = self.log.setdefault(key, Delivery(event.id, endpoint_id, event.changed_at))
        faults = self.faults()
        for attempt in range(faults.webhook_retries + 1):
            if after:
                await asyncio.sleep(after)
            endpoint = self.endpoints.by_id.get(endpoint_id)
            if endpoint is None or endpoint.status != "enabled":
                return
            async with self._slots:
                started = time.monotonic()
                delivery.status = await self._send(world, event, endpoint)
                delivery.seconds = time.monotonic() - started
            delivery.attempts += 1
            if 200 <= delivery.status < 300:
                delivery.delivered_at = delivery.delivered_at or self._now()
                self._settle(world, event.id)
                return
            after = self.faults().webhook_retry_seconds * 2**attempt * (1 + 0.1 * self._rng.random())

    def _settle(self, world: World, event_id: str) -> None:
        mine = [self.log.get((event_id, endpoint_id)) for endpoint_id in self.endpoints.by_id]
        if all(one is None or one.delivered_at is not None for one in mine):
            world.journal.undelivered.discard(event_id)

    async def _send(self, world: World, event: Event, endpoint: WebhookEndpoint) -> int:
        version = endpoint.api_version or self.version
        body = msgspec.json.encode(render_event(world, event, version, pending_webhooks=1))
        body = msgspec.json.format(body)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": sign(body, endpoint.secret, int(self._now())),
        }
        assert self._session is not None
        try:
            async with self._session.post(endpoint.url, data=body, headers=headers, allow_redirects=False) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0


def sign(body: bytes, secret: str, timestamp: int) -> str:
    """Give the `Stripe-Signature` header of a body sent at a Unix second."""
    signed = b"%d.%s" % (timestamp, body)
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"
