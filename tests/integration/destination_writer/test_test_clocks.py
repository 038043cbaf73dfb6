"""Events of a test clock that is set ahead, through the real gateway and a real writer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp.test_utils import TestServer

from services.webhook_gateway.app import create_app
from shared.kafka import Outgoing
from shared.messages import EventHeaders, Origin, RecordHeaders
from shared.stripe_api import API_VERSION
from shared.topics import EVENTS, SNAPSHOTS, record_key
from tests.eventually import eventually
from tests.integration.destination_writer.state import make_settings
from tests.integration.destination_writer.world import World, open_world, running
from tests.unit.webhook_gateway.webhooks import SECRET, URL, header, make_body
from tests.unit.webhook_gateway.webhooks import make_settings as gateway_settings

AHEAD = 90 * 86_400  # seconds
ENDPOINT = "INSERT INTO webhook_endpoints (id, connection_id, url) VALUES ('we_1', 'con_1', 'https://example.com')"
SIGNING = "INSERT INTO webhook_secrets (endpoint_id, secret) VALUES ('we_1', $1)"
LOGGED = "SELECT event_id, outcome FROM event_log WHERE created <= extract(epoch FROM now()) ORDER BY 1"
ASKED = "SELECT resource, object_id FROM refetches WHERE due_at < now() + interval '1 minute' ORDER BY 1, 2"
LETTERS = "SELECT code FROM dead_letters"


@dataclass
class Stage:
    """A writer at work, and a door."""

    world: World
    door: aiohttp.ClientSession

    async def send(self, body: bytes) -> None:
        """Send a webhook as Stripe does: again, until it is taken."""

        async def is_taken() -> bool:
            signed = {"Stripe-Signature": header(body, SECRET, time.time())}
            async with self.door.post(URL, data=body, headers=signed) as answer:
                return answer.status == 200

        await eventually(is_taken, within=60)

    async def publish_as_the_gap_fill(self, body: bytes) -> None:
        """Publish an event of Stripe's feed."""
        headers = EventHeaders("con_1", int(time.time() * 1000)).encode()
        await self.world.publish(EVENTS, [Outgoing(record_key("con_1", "cus_1"), body, headers)])


@asynccontextmanager
async def stage(database_url: str, kafka: str, prefix: str, *, livemode: bool) -> AsyncIterator[Stage]:
    async with open_world(make_settings(database_url, kafka, prefix)) as world:
        state = world.state
        shared = {"database_url", "kafka_bootstrap_servers", "topic_prefix", "topic_partitions", "encryption_keys"}
        settings = gateway_settings(**state.settings.model_dump(include=shared))
        for table in ("connections", "connection_destinations"):
            await state.pool.execute(f"UPDATE {table} SET livemode = $1", livemode)
        await state.pool.execute(ENDPOINT)
        await state.pool.execute(SIGNING, settings.key_ring.encrypt(SECRET, owner="we_1", name="secret"))
        async with (
            running(world),
            TestServer(create_app(settings)) as server,
            aiohttp.ClientSession(server.make_url("/")) as door,
        ):
            yield Stage(world, door)


def dated_ahead(event_id: str, *, livemode: bool) -> bytes:
    subject = {"id": "cus_1", "object": "customer", "created": int(time.time()) + AHEAD}
    created = int(time.time()) + AHEAD
    return make_body(id=event_id, livemode=livemode, created=created, api_version=API_VERSION, data={"object": subject})


async def test_in_test_mode_their_object_is_asked_for_and_any_answer_is_good_enough(
    database_url: str, kafka_bootstrap_servers: str, topic_prefix: str
) -> None:
    """An object may be dated ahead: its answer is written with the stamp of our call."""
    async with stage(database_url, kafka_bootstrap_servers, topic_prefix, livemode=False) as here:
        await here.send(dated_ahead("evt_1", livemode=False))
        await here.publish_as_the_gap_fill(dated_ahead("evt_2", livemode=False))
        asked = [("evt_1", "asked_stripe"), ("evt_2", "asked_stripe")]

        async def are_logged() -> bool:
            return await here.world.state.rows(LOGGED) == asked

        await eventually(are_logged, within=60)
        assert await here.world.state.rows(ASKED) == [("customer", "cus_1")]
        stamp = int(time.time())
        headers = RecordHeaders("con_1", "customer", stamp, Origin.REFETCHED).encode()
        body = b'{"id": "cus_1", "object": "customer", "name": "Ada", "created": %d}' % (stamp + AHEAD)
        await here.world.publish(SNAPSHOTS, [Outgoing(record_key("con_1", "cus_1"), body, headers)])
        await eventually(here.world.has("SELECT count(*) FROM event_log WHERE answers <> '{}'", 2), within=60)
        assert await here.world.customers() == {"cus_1": ("Ada", False)}
        assert await here.world.state.rows(LETTERS) == []


async def test_in_live_mode_they_are_put_aside(
    database_url: str, kafka_bootstrap_servers: str, topic_prefix: str
) -> None:
    async with stage(database_url, kafka_bootstrap_servers, topic_prefix, livemode=True) as here:
        await here.send(dated_ahead("evt_1", livemode=True))
        await here.publish_as_the_gap_fill(dated_ahead("evt_2", livemode=True))
        await eventually(here.world.has("SELECT count(*) FROM dead_letters WHERE code = 'out_of_bounds'", 2), within=60)
        assert await here.world.state.rows(ASKED) == []
        assert await here.world.customers() == {}
