"""A destination that falls too far behind: what finds no room is a gap, and the gap is filled when it is back."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import pytest
from aiokafka import ConsumerRecord

from services.console.judge import judge
from services.destination_writer.breaker import Breaker
from services.destination_writer.destinations.postgres import PostgresDestination
from services.destination_writer.dispatch import Dispatch
from services.destination_writer.graveyard import Graveyard
from services.destination_writer.handlers import SNAPSHOT_DEADLINE, Handlers
from services.destination_writer.ledger import Ledger
from services.destination_writer.outlets import Outlets, Rest
from services.destination_writer.parking import Parking
from services.destination_writer.records import Record
from services.destination_writer.retry import Retry
from services.destination_writer.routing import Routes
from services.sync_worker.delivery_gaps import DeliveryGaps
from shared.audit import Actor
from shared.consumers import Rejection
from shared.crypto import make_encryption_key, parse_key_ring
from shared.destinations import DestinationStore, parse_postgres_url
from shared.kafka import Producer
from shared.stripe_api import API_VERSION
from shared.syncs import Status
from shared.topics import EVENTS, SNAPSHOTS, Topic
from simulator.client import ControlClient
from tests.eventually import eventually
from tests.integration.sync_worker.worlds import CLUSTER, CONNECTION, SYNCED, World, world
from tests.proxy import Proxy

CAP = 20  # records
BATCH = 25
EVENT_DEADLINE = 5.0  # seconds
SCENARIOS = ("renewal", "update_customer", "buy", "refund", "delete_customer", "sign_up", "cancel")
OPEN = """
SELECT (SELECT count(*) FROM parked_records) + (SELECT count(*) FROM delivery_gaps) + (SELECT count(*) FROM refetches)
     + (SELECT count(*) FROM syncs WHERE status IN ('queued', 'running') AND kind <> 'live')
"""
FAR = """
INSERT INTO connection_destinations
SELECT connection_id, $1, account_id, livemode FROM connection_destinations WHERE connection_id = $2
"""


@dataclass
class Writer:
    """The parts of a writer, fed with what the sync worker published."""

    here: World
    far_id: str

    def __post_init__(self) -> None:
        pool = self.here.pool
        store = DestinationStore(pool, self.here.settings.key_ring)
        self.outlets = Outlets(store, lambda row, password: PostgresDestination(row.address, password))
        routes, parking = Routes(pool), Parking(pool, cap=CAP)
        self.ledger = Ledger(pool, CLUSTER)
        self.dispatch = Dispatch(routes, self.outlets, parking, self.reject, breaker=Breaker(pool))
        self.retry = Retry(parking, routes, self.dispatch, self.ledger)
        graveyard, producer = Graveyard(pool), cast(Producer, self.here.producer)
        rejections = {topic: Rejection(producer, topic) for topic in (EVENTS, SNAPSHOTS)}
        self.handlers = Handlers(
            self.dispatch,
            self.ledger,
            graveyard,
            events=rejections[EVENTS],
            snapshots=rejections[SNAPSHOTS],
            event_deadline_seconds=EVENT_DEADLINE,
            keys=parse_key_ring(make_encryption_key("k1")),
        )
        self.taken = self.most_parked = 0
        self.offsets: Counter[Topic] = Counter()

    async def reject(self, record: Record, destination_id: str, error: Exception) -> None:
        raise AssertionError(f"{record.object_id} was rejected") from error

    async def take(self) -> None:
        """Deliver what was published since the last time."""
        while new := self.here.producer.published[self.taken : self.taken + BATCH]:
            self.taken += len(new)
            for topic, group in groupby(new, key=lambda item: item[0]):
                name = topic.name("tillstream")
                records = [record for _, record in group]
                messages = [
                    ConsumerRecord(name, 0, offset, 0, 0, one.key, one.value, None, 0, 0, tuple(one.headers))
                    for offset, one in enumerate(records, self.offsets[topic])
                ]
                self.offsets[topic] += len(records)
                if topic is EVENTS:
                    await self.handlers.deliver_events(messages)
                else:
                    await self.handlers.deliver_snapshots(messages)
            sql = "SELECT count(*) FROM parked_records"
            self.most_parked = max(self.most_parked, await self.here.pool.fetchval(sql))


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    parts = urlsplit(database_url)
    async with Proxy(parts.hostname or "", parts.port or 5432) as proxy:
        yield proxy


@pytest.fixture
async def here(database_url: str) -> AsyncIterator[World]:
    async with world(database_url, objects=400, account_version=API_VERSION) as made:
        yield made


@pytest.fixture
async def writer(here: World, proxy: Proxy) -> AsyncIterator[Writer]:
    parts = urlsplit(here.settings.database_url.get_secret_value())
    url = urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{proxy.port}"))
    store = DestinationStore(here.pool, here.settings.key_ring)
    far_id = await store.insert("far", *parse_postgres_url(url, schema="rows_far"), by=Actor("test"))
    await here.pool.execute(FAR, far_id, CONNECTION)
    writer = Writer(here, far_id)
    yield writer
    await writer.outlets.close()


async def work(here: World, writer: Writer) -> bool:
    """Let everyone do what there is to do; tell whether nothing is left."""
    gaps = DeliveryGaps(here.pool, here.connections, here.clients, here.gap_fill, here.syncs)
    await writer.retry.retry_due()
    await gaps.fill_ready()
    await here.completion().start_queued()
    await here.fetch_all()
    await here.refetch().answer_due()
    await writer.take()
    await here.completion().finish_confirmed()
    return not await here.pool.fetchval(OPEN)


async def differences(here: World, schema: str) -> list[Any]:
    url, control = here.settings.database_url.get_secret_value(), ControlClient(here.base)
    account, resources = here.simulation.platform.account_id, [name for name in SYNCED if name != "test_clock"]
    # The simulator runs in this loop, and its client blocks.
    verdicts = await asyncio.to_thread(
        lambda: asyncio.run(judge(url, schema, control, resources, account=account, livemode=True))
    )
    assert sum(verdict.rows for verdict in verdicts) > 300
    return [verdict for verdict in verdicts if not verdict.is_equal]


async def test_destination_that_was_away_for_long_equals_stripe_when_it_is_back(
    here: World, writer: Writer, proxy: Proxy
) -> None:
    """Changes, answers of Stripe and a page of a slice find no room; never more than the cap waits."""
    dice = random.Random(3)
    await here.start(*SYNCED)
    await eventually(lambda: work(here, writer), within=60)
    proxy.is_silent = True
    outlet = await writer.outlets.get(writer.far_id)
    outlet._rests = {seconds: Rest(9, time.monotonic() + 600) for seconds in (EVENT_DEADLINE, SNAPSHOT_DEADLINE)}
    again = await here.syncs.resync(await here.connection(), ["customer"])
    for _ in range(8):
        for _ in range(8):
            await here.control("POST", f"scenarios/{dice.choice(SCENARIOS)}")
        await here.fill()
        await writer.take()
        await here.completion().start_queued()
        await here.fetch_all()
        await writer.take()
        await here.completion().finish_confirmed()
    assert writer.most_parked == CAP
    sql = "SELECT sum(records) FROM delivery_gaps WHERE destination_id = $1"
    assert await here.pool.fetchval(sql, writer.far_id) > 100
    assert (await here.syncs.get(again)).status is Status.RUNNING
    assert await differences(here, "rows_far") != []

    proxy.is_silent = False
    outlet._rests.clear()
    await here.pool.execute("UPDATE parked_records SET next_try_at = now()")
    await eventually(lambda: work(here, writer), within=60, what="everything is written")
    # What changes without an event is listed again every 15 minutes.
    await here.syncs.reconcile(await here.connection(), trigger="test", now=time.time())
    await eventually(lambda: work(here, writer), within=60, what="what changes silently is read")
    assert writer.most_parked == CAP
    assert (await here.syncs.get(again)).status is Status.SUCCEEDED
    assert await differences(here, f"rows_{CONNECTION}") == []
    assert await differences(here, "rows_far") == []
    sql = "SELECT count(*) FROM event_log WHERE deliveries -> $1 ->> 'outcome' IN ('left_out', 'parked')"
    assert await here.pool.fetchval(sql, writer.far_id) == 0
