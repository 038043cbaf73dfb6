"""A new signing secret while webhooks come: none is refused, and the old secret is good for its hour alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from services.webhook_gateway.app import create_app
from services.webhook_gateway.endpoints import FRESH_FOR
from shared.api_keys import ApiKey
from shared.audit import Actor
from shared.catalogue import DEFAULT_RESOURCES, webhook_events
from shared.connections import Connection, ConnectionStore, LiveBy, State
from shared.db import Pool, make_pool
from shared.stripe_api import StripeApi, Unlimited
from shared.webhook_endpoints import WebhookEndpoints
from simulator.deliveries import sign
from tests.eventually import eventually
from tests.fakes import FakeProducer
from tests.integration.simulator.running import Running, run_simulator
from tests.unit.webhook_gateway.webhooks import make_settings

EVENTS = webhook_events(DEFAULT_RESOURCES)
RATE = 40  # events a second


@dataclass
class Stage:
    """A gateway, the Stripe that delivers to it, and our endpoint there."""

    gateway: TestServer
    simulator: Running
    pool: Pool
    connection: Connection
    endpoints: WebhookEndpoints
    producer: FakeProducer

    async def set_up(self) -> str:
        """Let Stripe deliver, and wait until the gateway has found the endpoint; return its secret."""
        await self.endpoints.ensure(self.connection, self.api, EVENTS)
        [secret] = [one.secret for one in self.simulator.simulation.endpoints.by_id.values()]

        async def is_known() -> bool:
            return await self.post(secret) == 200

        await eventually(is_known, within=30)  # a look-up has 0.4 s, which a busy machine may not give it at first
        return secret

    @property
    def api(self) -> StripeApi:
        key = SecretStr(self.simulator.simulation.first_key)
        return StripeApi(self.simulator.session, base=self.simulator.url, key=key, budget=Unlimited())

    def answers(self) -> Counter[int | None]:
        return Counter(delivery.status for delivery in self.simulator.simulation.deliveries.log.values())

    async def post(self, secret: str) -> int:
        """Deliver a webhook that is signed with `secret`."""
        body = b'{"id":"evt_1","object":"event","type":"customer.updated"}'
        headers = {"Stripe-Signature": sign(body, secret, int(self.simulator.simulation.now()))}
        url = next(iter(self.simulator.simulation.endpoints.by_id.values())).url
        async with self.simulator.session.post(url, data=body, headers=headers) as answer:
            return answer.status


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    settings, producer = make_settings(database_url=database_url), FakeProducer()
    pool = await make_pool(database_url)
    app = create_app(settings, producer=producer)  # type: ignore[arg-type]
    async with TestServer(app) as gateway, run_simulator(objects=300, livemode=True) as simulator:
        store = ConnectionStore(pool, settings.key_ring)
        await store.insert(
            "con_1",
            account=(simulator.simulation.platform.account_id, "Corner Shop"),
            key=ApiKey(SecretStr(simulator.simulation.first_key), livemode=True),
            destination_ids=[],
            start_date=None,
            resources=[row.name for row in DEFAULT_RESOURCES],
            live_by=LiveBy.WEBHOOKS,
            by=Actor("test"),
        )
        await store.set_state("con_1", State.ACTIVE)
        endpoints = WebhookEndpoints(pool, settings.key_ring, public_url=str(gateway.make_url("")))
        yield Stage(gateway, simulator, pool, await store.get("con_1"), endpoints, producer)
    await pool.close()


async def test_no_webhook_is_refused_while_secrets_are_rotated(stage: Stage) -> None:
    await stage.set_up()
    await stage.simulator.control("POST", "business", {"changes_per_second": RATE})
    for _ in range(2):
        await stage.endpoints.rotate(stage.connection, stage.api, EVENTS)
    await asyncio.sleep(FRESH_FOR)  # the newest secret is used for a while
    await stage.simulator.control("POST", "business", {"changes_per_second": 0})
    deliveries = stage.simulator.simulation.deliveries
    await eventually(lambda: deliveries.pending == 0, within=30)
    answers = stage.answers()
    assert answers.pop(200) > 2 * RATE
    assert answers.keys() <= {None}  # not sent: their endpoint was deleted, and the other one delivered
    delivered = {event_id for (event_id, _), one in deliveries.log.items() if one.status == 200}
    assert {event_id for event_id, _ in deliveries.log} == delivered
    assert all(one.attempts <= 1 for one in deliveries.log.values())


async def test_old_secret_is_refused_after_its_hour(stage: Stage) -> None:
    old = await stage.set_up()
    await stage.endpoints.rotate(stage.connection, stage.api, EVENTS)
    [new] = [one.secret for one in stage.simulator.simulation.endpoints.by_id.values()]

    async def is_refused() -> bool:
        return await stage.post(old) == 400

    assert [await stage.post(secret) for secret in (old, new)] == [200, 200]
    await stage.pool.execute("UPDATE webhook_secrets SET expires_at = expires_at - interval '61 minutes'")
    await eventually(is_refused, within=2 * FRESH_FOR + 1)
    assert await stage.post(new) == 200
