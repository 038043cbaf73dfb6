"""Whatever comes, the gateway answers: published, put aside, or refused; never with an error of its own."""

from __future__ import annotations

import random
import re
from collections import Counter

import aiohttp
from aiohttp.test_utils import TestServer
from yarl import URL

from services.destination_writer.records import parse_live, require_timely
from services.webhook_gateway.app import create_app
from services.webhook_gateway.endpoints import EndpointCache
from shared.bounds import LONGEST_ID
from shared.endpoint_secrets import Endpoint
from shared.topics import DEAD_LETTERS, EVENTS
from tests.factories import make_message
from tests.fakes import FakeProducer
from tests.fuzzed_webhooks import make_webhook
from tests.unit.webhook_gateway.webhooks import ENDPOINT, NOW, make_settings

WEBHOOKS = 1500


async def find(endpoint_id: str) -> Endpoint | None:
    return ENDPOINT if endpoint_id == ENDPOINT.id else None


async def test_no_webhook_makes_the_gateway_fail_and_what_it_publishes_the_writer_can_read() -> None:
    dice, answers, producer = random.Random(10), Counter[int](), FakeProducer()
    app = create_app(make_settings(), producer=producer, endpoints=EndpointCache(find), now=lambda: NOW)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        for _ in range(WEBHOOKS):
            webhook = make_webhook(dice, NOW)
            url = server.make_url("/").join(URL(webhook.path, encoded=True))
            async with session.post(url, data=webhook.body, headers=webhook.headers) as answer:
                answers[answer.status] += 1
    assert {status // 100 for status in answers} == {2, 4}
    published = producer.records(EVENTS)
    for record in published:
        require_timely(parse_live(make_message(record.value, key=record.key, headers=record.headers)), NOW)
        assert re.fullmatch(rb"con_1:.{1,%d}" % (4 * LONGEST_ID), record.key, re.DOTALL)
    assert min(len(published), len(producer.records(DEAD_LETTERS))) > WEBHOOKS // 20
