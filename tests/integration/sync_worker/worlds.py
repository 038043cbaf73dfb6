"""A sync worker's parts beside a simulator, with a real state database and a producer that keeps what it is given."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
from aiohttp.test_utils import TestServer

from services.sync_worker.backfill import Backfill
from services.sync_worker.clients import Clients
from services.sync_worker.completion import Completion
from services.sync_worker.endpoint_check import EndpointCheck
from services.sync_worker.event_feed import EventLog
from services.sync_worker.faults import Faults
from services.sync_worker.gap_fill import GapFill
from services.sync_worker.objects import Objects
from services.sync_worker.polling import Polling
from services.sync_worker.publishing import Publisher
from services.sync_worker.refetch import Refetch
from services.sync_worker.refused_keys import RefusedKeys
from services.sync_worker.removal import Removing
from services.sync_worker.schedule import Schedule
from services.sync_worker.settings import WorkerSettings
from services.sync_worker.slices import Slices
from shared.api_keys import parse_api_key
from shared.audit import Actor
from shared.broker_log import CurrentLog
from shared.catalogue import BY_NAME, webhook_events
from shared.connections import Connection, ConnectionStore, LiveBy, State
from shared.crypto import make_encryption_key
from shared.db import Pool, make_pool
from shared.destinations import DestinationStore, parse_postgres_url
from shared.messages import RecordHeaders
from shared.stripe_pages import parse_item
from shared.syncs import Kind, SyncStore
from shared.topics import SNAPSHOTS, Topic
from shared.webhook_endpoints import WebhookEndpoints
from simulator.app import SIMULATION, create_app
from simulator.config import Config
from simulator.simulation import Simulation
from tests.fakes import FakeProducer

CONNECTION = "con_1"
CLUSTER = "cluster-1"
PUBLIC_URL = "https://tillstream.example"
SYNCED = [
    "charge",
    "customer",
    "invoice",
    "invoiceitem",
    "balance",
    "balance_transaction",
    "payment_intent",
    "payment_method",
    "coupon",
    "test_clock",
]


@dataclass
class World:
    """Everything that a test may look at."""

    pool: Pool
    simulation: Simulation
    producer: FakeProducer
    connections: ConnectionStore
    syncs: SyncStore
    clients: Clients
    objects: Objects
    gap_fill: GapFill
    log: EventLog
    session: aiohttp.ClientSession
    base: str
    settings: WorkerSettings

    def slices(self, owner: str = "worker-1", cluster: str = CLUSTER) -> Slices:
        return Slices(self.pool, owner=owner, log=CurrentLog(cluster))

    def backfill(self, owner: str = "worker-1", cluster: str = CLUSTER) -> Backfill:
        publisher = Publisher(self.producer, CurrentLog(cluster))  # type: ignore[arg-type]
        parts = (self.connections, self.clients, publisher, self.objects, self.gap_fill, self.faults(cluster))
        endpoint = self.endpoint_check()
        return Backfill(self.pool, self.slices(owner, cluster), *parts, endpoint)

    def faults(self, cluster: str = CLUSTER) -> Faults:
        parts = (self.pool, self.connections, self.clients, self.syncs, self.endpoint_check())
        return Faults(*parts, log=CurrentLog(cluster))

    def endpoint_check(self) -> EndpointCheck:
        return EndpointCheck(self.pool, self.endpoints(), self.syncs, has_public_url=True)

    def endpoints(self, public_url: str = PUBLIC_URL) -> WebhookEndpoints:
        return WebhookEndpoints(self.pool, self.settings.key_ring, public_url=public_url, settled_seconds=0)

    async def add_endpoint(self) -> None:
        """Let Stripe deliver the connection's changes to our endpoint."""
        await self.pool.execute("UPDATE connections SET live_by = 'webhooks' WHERE id = $1", CONNECTION)
        connection = await self.connection()
        async with self.clients.calling(connection) as api:
            await self.endpoints().ensure(connection, api, webhook_events(BY_NAME[n] for n in SYNCED))

    def refused_keys(self) -> RefusedKeys:
        return RefusedKeys(self.pool, self.connections, self.clients, self.syncs)

    def removing(self, *, patience: float = 0.0, settled_after: timedelta = timedelta()) -> Removing:
        parts = (self.pool, self.connections, self.clients, self.endpoints())
        return Removing(*parts, settled_after=settled_after, patience_seconds=patience)

    def refetch(self) -> Refetch:
        publisher = Publisher(self.producer, CurrentLog(CLUSTER))  # type: ignore[arg-type]
        return Refetch(self.pool, self.connections, self.clients, publisher, self.objects, self.faults())

    def polling(
        self,
        owner: str = "worker-1",
        *,
        shortest: float = 0.05,
        longest: float = 60.0,
        gap_fill: GapFill | None = None,
    ) -> Polling:
        return Polling(
            self.pool,
            self.connections,
            self.clients,
            gap_fill or self.gap_fill,
            self.faults(),
            owner=owner,
            shortest_seconds=shortest,
            longest_seconds=longest,
        )

    def schedule(self, now: float | None = None) -> Schedule:
        clock = time.time if now is None else lambda: now
        return Schedule(self.pool, self.connections, self.syncs, interval_seconds=900, now=clock)

    async def ask(self, resource: str, object_id: str, *, due_at: str = "now()") -> None:
        sql = f"""
        INSERT INTO refetches (connection_id, resource, object_id, reason, due_at) VALUES ($1, $2, $3, 'test', {due_at})
        ON CONFLICT (connection_id, resource, object_id) DO UPDATE SET generation = refetches.generation + 1
        """
        await self.pool.execute(sql, CONNECTION, resource, object_id)

    async def refresh(self, resource: str, object_id: str) -> dict[tuple[str, int], int]:
        connection = await self.connection()
        async with self.clients.calling(connection) as api:
            return await self.objects.refresh(connection, api, BY_NAME[resource], object_id)

    async def fill(self) -> int:
        connection = await self.connection()
        async with self.clients.calling(connection) as api:
            return await self.gap_fill.fill(connection, api)

    def completion(self, cluster: str = CLUSTER, *, now: Callable[[], float] = time.time) -> Completion:
        return Completion(self.pool, self.syncs, self.slices(cluster=cluster), log=CurrentLog(cluster), now=now)

    async def connection(self) -> Connection:
        return await self.connections.get(CONNECTION)

    async def add_connection(self, connection_id: str) -> None:
        """Add a connection of another account with the same key, into a schema of its own."""
        stores = DestinationStore(self.pool, self.settings.key_ring), self.connections
        await _connect(*stores, self.settings, connection_id, f"acct_{connection_id}", self.simulation.first_key)

    async def start(self, *resources: str) -> str:
        sync_id = await self.syncs.create(CONNECTION, Kind.BACKFILL, trigger="test", resources=resources)
        await self.completion().start_queued()
        return sync_id

    async def fetch_all(self) -> None:
        backfill = self.backfill()
        while await backfill.fetch_one():
            pass

    async def confirm_everything(self, cluster: str = CLUSTER) -> None:
        sql = """
        INSERT INTO writer_progress (cluster_id, topic, partition, next_offset)
        SELECT $1, topic, partition, max(last_offset) + 1 FROM slice_offsets GROUP BY 2, 3
        ON CONFLICT (cluster_id, topic, partition) DO UPDATE SET next_offset = excluded.next_offset
        """
        await self.pool.execute(sql, cluster)

    def published_ids(self) -> list[str | None]:
        return [parse_item(record.value).id for record in self.producer.records(SNAPSHOTS)]

    def truth(self, resource: str) -> set[str]:
        table = self.simulation.platform.store.tables[resource]
        return {table.ids[at] for at in range(len(table.ids)) if table.at(at) is not None}

    def records(self, kind: Topic = SNAPSHOTS) -> list[tuple[RecordHeaders, bytes]]:
        return [(RecordHeaders.decode(record.headers), record.value) for record in self.producer.records(kind)]

    async def key(self) -> str:
        return str((await self.control("GET", "state"))["api_key"])

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        async with self.session.request(method, f"{self.base}/_control/{path}", json=body) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def calls(self, path: str = "") -> list[dict[str, Any]]:
        made = (await self.control("GET", "requests"))["requests"]
        return [call for call in made if not path or call["path"] == path]


@asynccontextmanager
async def world(
    database_url: str, *, objects: int = 1500, share: float = 1.0, livemode: bool = True, **simulated: Any
) -> AsyncIterator[World]:
    app = create_app(Config(objects=objects, livemode=livemode, rate_limits=False, **simulated))
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        settings = WorkerSettings.model_validate(
            {
                "database_url": database_url,
                "kafka_bootstrap_servers": "127.0.0.1:1",
                "encryption_keys": make_encryption_key("test"),
                "stripe_api_base": str(server.make_url("")).rstrip("/"),
                "stripe_budget_share": share,
            }
        )
        pool = await make_pool(database_url)
        try:
            yield await _fill(pool, settings, session, app[SIMULATION])
        finally:
            await pool.close()


async def _fill(pool: Pool, settings: WorkerSettings, session: aiohttp.ClientSession, simulation: Simulation) -> World:
    connections = ConnectionStore(pool, settings.key_ring)
    destinations, account_id = DestinationStore(pool, settings.key_ring), simulation.platform.account_id
    await _connect(destinations, connections, settings, CONNECTION, account_id, simulation.first_key)
    producer = FakeProducer()
    publisher = Publisher(producer, CurrentLog(CLUSTER))  # type: ignore[arg-type]
    objects = Objects(pool, publisher)
    log = EventLog(pool)
    gap_fill = GapFill(log, connections, publisher, objects)
    clients = Clients(session, settings, pool, connections)
    syncs, base = SyncStore(pool), settings.stripe_api_base
    return World(
        pool, simulation, producer, connections, syncs, clients, objects, gap_fill, log, session, base, settings
    )


async def _connect(
    destinations: DestinationStore,
    connections: ConnectionStore,
    settings: WorkerSettings,
    connection_id: str,
    account_id: str,
    key: str,
) -> None:
    address, password = parse_postgres_url(settings.database_url.get_secret_value(), schema=f"rows_{connection_id}")
    await connections.insert(
        connection_id,
        account=(account_id, "Shop"),
        key=parse_api_key(key, allow_test=True),
        destination_ids=[await destinations.insert(connection_id, address, password, by=Actor("test"))],
        start_date=None,
        resources=SYNCED,
        by=Actor("test"),
        live_by=LiveBy.POLLING,
    )
    await connections.set_state(connection_id, State.ACTIVE)
