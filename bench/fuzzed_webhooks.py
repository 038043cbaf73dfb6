"""Whether any webhook makes the gateway fail: fuzzed ones, most of them signed, to the real gateway with a real Kafka.

    python -m bench.fuzzed_webhooks --webhooks 100000 --seed 1

It needs a Postgres and a Kafka, as the integration tests do (`TILLSTREAM_TEST_DATABASE_URL`,
`TILLSTREAM_TEST_KAFKA_BOOTSTRAP_SERVERS`); database and topics are its own. The limit: no answer of 5xx, and none
missing. A writer that reads what the gateway has published shows that nothing of it stops the others: at the end it
has reported every record, and each good event beside the fuzz is a row.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
import uuid
from collections import Counter
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
from aiohttp.test_utils import TestServer
from yarl import URL

from services.webhook_gateway.app import create_app
from shared.db import migrate
from shared.log import configure
from shared.topics import EVENTS
from tests.eventually import eventually
from tests.fuzzed_webhooks import make_webhook
from tests.integration.destination_writer.state import make_settings
from tests.integration.destination_writer.world import World, open_world, running
from tests.unit.webhook_gateway.webhooks import SECRET, header, make_body
from tests.unit.webhook_gateway.webhooks import make_settings as gateway_settings

AT_ONCE = 40
EVERY = 100  # one good event for so many fuzzed webhooks
PATIENCE = 600.0  # seconds
ENDPOINT = "INSERT INTO webhook_endpoints (id, connection_id, url) VALUES ('we_1', 'con_1', 'https://example.com')"
SIGNING = "INSERT INTO webhook_secrets (endpoint_id, secret) VALUES ('we_1', $1)"
REPORTED = "SELECT coalesce(sum(next_offset), 0)::bigint FROM writer_progress WHERE topic = $1"
LETTERS = "SELECT code, sum(letters)::bigint FROM dead_letter_groups GROUP BY 1 ORDER BY 2 DESC"
PREPARED = "SELECT to_regclass('copy.customers') IS NOT NULL"
GOOD = "SELECT count(*) FROM copy.customers WHERE id LIKE 'cus_good%'"


async def send(session: aiohttp.ClientSession, base: URL, webhooks: int, seed: int) -> tuple[Counter[str], int]:
    """Send the webhooks, some at a time; return how many got which answer, and how many good events were among them."""
    dice, answers, good = random.Random(seed), Counter[str](), 0
    turns = asyncio.Semaphore(AT_ONCE)

    async def post(path: str, body: bytes, headers: dict[str, str]) -> None:
        try:
            async with session.post(base.join(URL(path, encoded=True)), data=body, headers=headers) as answer:
                await answer.read()
                answers[str(answer.status)] += 1
        except aiohttp.ClientError as error:
            answers[type(error).__name__] += 1
        finally:
            turns.release()

    async with asyncio.TaskGroup() as tasks:
        for number in range(webhooks):
            webhook = make_webhook(dice, time.time())
            await turns.acquire()
            tasks.create_task(post(webhook.path, webhook.body, webhook.headers))
            if number % EVERY == 0:
                good += 1
                subject = {"id": f"cus_good{good}", "object": "customer"}
                body = make_body(id=f"evt_good{good}", created=int(time.time()), data={"object": subject})
                await turns.acquire()
                sent = {"Stripe-Signature": header(body, SECRET, time.time())}
                tasks.create_task(post("/webhooks/stripe/we_1", body, sent))
    return answers, good


async def run(world: World, webhooks: int, seed: int) -> bool:
    """Send, print what came of it, and tell whether the limits are kept."""
    state = world.state
    shared = {"database_url", "kafka_bootstrap_servers", "topic_prefix", "topic_partitions", "encryption_keys"}
    settings = gateway_settings(**state.settings.model_dump(include=shared))
    await state.pool.execute(ENDPOINT)
    await state.pool.execute(SIGNING, settings.key_ring.encrypt(SECRET, owner="we_1", name="secret"))
    async with (
        running(world),
        TestServer(create_app(settings)) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        await eventually(world.has(PREPARED, True), within=PATIENCE)
        started = time.monotonic()
        answers, good = await send(session, server.make_url("/"), webhooks, seed)
        took = time.monotonic() - started
        await eventually(world.has(GOOD, good), within=PATIENCE)
        letters = await state.rows(LETTERS)
        reported = await state.value(REPORTED, EVENTS.name(state.settings.topic_prefix))
    failed = sum(number for status, number in answers.items() if not status.startswith(("2", "4")))
    print(f"{sum(answers.values()):,} webhooks in {took:.0f} s, seed {seed}: {dict(answers.most_common())}")
    print(f"5xx and broken off: {failed} (limit 0); good events that are rows: {good} of {good}")
    print(f"records that the writer has reported: {reported:,}; dead letters: {dict(letters)}")
    return failed == 0


async def measure(url: str, kafka: str, webhooks: int, seed: int) -> bool:
    """Fuzz in a database of its own."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    server = await asyncpg.connect(url)
    await server.execute(f'CREATE DATABASE "{name}"')
    own = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    try:
        await migrate(own)
        async with open_world(make_settings(own, kafka, f"bench-{uuid.uuid4().hex[:12]}")) as world:
            return await run(world, webhooks, seed)
    finally:
        await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await server.close()


def main() -> int:
    """Run it with the servers that the environment names; return the exit code."""
    configure(service="bench", level="critical", form="console")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--webhooks", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    url, kafka = (os.environ[f"TILLSTREAM_TEST_{name}"] for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS"))
    return 0 if asyncio.run(measure(url, kafka, arguments.webhooks, arguments.seed)) else 1


if __name__ == "__main__":
    sys.exit(main())
