"""A worker and a writer over a real Kafka and a real Postgres, beside a simulated Stripe that judges the rows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from aiohttp.test_utils import TestServer

from services.destination_writer.app import create_app as create_writer
from services.destination_writer.settings import WriterSettings
from services.sync_worker.app import create_app as create_worker
from services.sync_worker.settings import WorkerSettings
from shared.api_keys import parse_api_key
from shared.audit import Actor
from shared.catalogue import BY_NAME, RESOURCES
from shared.comparisons import SAMPLE_PAGES, ComparisonStore
from shared.connections import Connection, ConnectionStore, LiveBy, State
from shared.crypto import make_encryption_key
from shared.db import Pool, make_pool, transaction
from shared.destinations import DestinationStore, parse_postgres_url
from shared.syncs import Kind, Status, Sync, SyncStore
from simulator.app import SIMULATION, create_app
from simulator.config import Config
from simulator.shapes import API_VERSION
from simulator.simulation import Simulation
from simulator.truth import iter_children, iter_truth
from tests.eventually import eventually

CONNECTION, SCHEMA = "con_1", "copy"
EVERYTHING = tuple(row.name for row in RESOURCES if not row.is_test_only)
SYNCED = (
    "balance",
    "balance_transaction",
    "charge",
    "coupon",
    "customer",
    "invoice",
    "invoiceitem",
    "payment_intent",
    "payment_method",
    "price",
    "product",
    "refund",
    "subscription",
)
PATIENCE = 180.0  # seconds
NO_SYNC = "SELECT count(*) = 0 FROM syncs WHERE status IN ('queued', 'running') AND kind <> 'live'"


@dataclass
class Pipeline:
    """What a test looks at, and what it may damage."""

    pool: Pool
    simulation: Simulation
    connections: ConnectionStore
    destinations: DestinationStore
    syncs: SyncStore
    destination_id: str
    patience: float = PATIENCE

    async def connection(self) -> Connection:
        return await self.connections.get(CONNECTION)

    async def backfilled(self, *resources: str) -> Sync:
        """Backfill and wait until that is confirmed."""
        chosen = resources or (await self.connection()).resources
        return await self.ended(await self.syncs.create(CONNECTION, Kind.BACKFILL, trigger="test", resources=chosen))

    async def listed_again(self, *resources: str) -> Sync:
        return await self.ended(await self.syncs.resync(await self.connection(), resources))

    async def compare(self, *, is_full: bool = True, resources: list[str] | None = None) -> str:
        """Ask for a comparison with Stripe; return the sync's id."""
        connection, store = await self.connection(), ComparisonStore(self.pool)
        async with transaction(self.pool) as db:
            return await store.create(
                connection, pages=None if is_full else SAMPLE_PAGES, resources=resources, trigger="requested", db=db
            )

    async def verify(self, *, is_full: bool = True, resources: list[str] | None = None) -> Sync:
        """Compare, and return the sync once it has ended."""
        return await self.ended(await self.compare(is_full=is_full, resources=resources))

    async def ended(self, sync_id: str) -> Sync:
        """Wait until the sync has succeeded."""

        async def has_ended() -> bool:
            sync = await self.syncs.get(sync_id)
            assert sync.status is not Status.FAILED, sync.cause
            return sync.finished_at is not None

        await eventually(has_ended, within=self.patience)
        return await self.syncs.get(sync_id)

    async def searched(self) -> int:
        """Wait until all searches are done; return how many rows they have found."""
        await eventually(self.holds("SELECT count(*) = 0 FROM searches WHERE status = 'queued'"), within=PATIENCE)
        return int(await self.pool.fetchval("SELECT coalesce(sum(found), 0) FROM searches"))

    async def answered(self) -> None:
        """Wait until no question for Stripe is open."""
        await eventually(self.holds("SELECT count(*) = 0 FROM refetches"), within=PATIENCE)

    def holds(self, sql: str, *values: Any) -> Any:
        async def check() -> bool:
            return bool(await self.pool.fetchval(sql, *values))

        return check

    async def damage(self, sql: str, *values: Any) -> int:
        """Run a statement over the destination; `{}` is its schema. Returns how many rows it changed."""
        return int((await self.pool.execute(sql.replace("{}", SCHEMA), *values)).split()[-1])

    async def ids(self, resource: str, limit: int = 1) -> list[str]:
        """Return ids of live rows."""
        sql = f"SELECT id FROM {SCHEMA}.{BY_NAME[resource].table} WHERE NOT _deleted ORDER BY id LIMIT $1"
        return [row["id"] for row in await self.pool.fetch(sql, limit)]

    async def wrong(self, resources: Collection[str]) -> dict[str, list[str]]:
        """Return by table the ids whose row is not what Stripe has; empty when all is right."""
        found: dict[str, list[str]] = {}
        for resource in (BY_NAME[name] for name in resources):
            if resource.is_singleton:
                continue
            rows = iter_truth(self.simulation.platform, resource.object)
            await self._compare(found, resource.table, {r["id"]: r["object"] for _, r in rows if not r["deleted"]})
            for child in resource.children:
                sets = iter_children(self.simulation.platform, resource.object)
                truth = {row["id"]: row for _, parent in sets for row in parent["children"]}
                await self._compare(found, child.table, truth)
        return found

    async def _compare(self, found: dict[str, list[str]], table: str, truth: dict[str, Any]) -> None:
        sql = f"SELECT id, data::text AS data FROM {SCHEMA}.{table} WHERE NOT _deleted"
        rows = {row["id"]: json.loads(row["data"]) for row in await self.pool.fetch(sql)}
        if wrong := [one for one in sorted(truth.keys() | rows.keys()) if truth.get(one) != rows.get(one)]:
            found[table] = wrong


@asynccontextmanager
async def pipeline(
    database_url: str,
    kafka: str,
    prefix: str,
    *,
    resources: Collection[str] = SYNCED,
    share: float = 1.0,
    patience: float = PATIENCE,
    **simulated: Any,
) -> AsyncIterator[Pipeline]:
    """Run all of it, with everything backfilled; `share` is that of Stripe's limits."""
    config = {"objects": 600, "livemode": True, "rate_limits": False, "account_version": API_VERSION} | simulated
    app = create_app(Config(**config))
    async with TestServer(app) as stripe:
        common = {
            "database_url": database_url,
            "kafka_bootstrap_servers": kafka,
            "topic_prefix": prefix,
            "topic_partitions": 2,
            "encryption_keys": make_encryption_key("test"),
            "write_deadline_seconds": 10,
            "stripe_api_base": str(stripe.make_url("")).rstrip("/"),
            "stripe_budget_share": share,
            "poll_seconds": 0.5,
            "poll_seconds_quiet": 2.0,
        }
        settings = WorkerSettings.model_validate(common)
        pool: asyncpg.Pool = await make_pool(database_url, max_size=5)
        connections = ConnectionStore(pool, settings.key_ring)
        destinations = DestinationStore(pool, settings.key_ring)
        address, password = parse_postgres_url(database_url, schema=SCHEMA)
        destination_id = await destinations.insert("Warehouse", address, password, by=Actor("test"))
        await connections.insert(
            CONNECTION,
            account=(app[SIMULATION].platform.account_id, "Shop"),
            key=parse_api_key(app[SIMULATION].first_key, allow_test=True),
            destination_ids=[destination_id],
            start_date=None,
            resources=list(resources),
            by=Actor("test"),
            live_by=LiveBy.POLLING,
        )
        writer = create_writer(WriterSettings.model_validate(common))
        made = Pipeline(pool, app[SIMULATION], connections, destinations, SyncStore(pool), destination_id, patience)
        # First of all a backfill: the schedule reconciles a connection that has none.
        first = await made.syncs.create(CONNECTION, Kind.BACKFILL, trigger="test", resources=list(resources))
        await connections.set_state(CONNECTION, State.ACTIVE)
        try:
            async with TestServer(create_worker(settings)), TestServer(writer):
                await made.ended(first)
                # The comparison with the event feed that follows would bring back what a test damages.
                await eventually(made.holds(NO_SYNC), within=PATIENCE)
                yield made
        finally:
            pool.terminate()
