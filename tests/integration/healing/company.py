"""All of Tillstream beside a simulated Stripe: gateway, worker and writer, a real broker, a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from services.connection_api.life.connect import NewConnection
from services.connection_api.settings import ApiSettings
from services.connection_api.state import make_use_cases
from services.console.judge import judge
from services.destination_writer.app import create_app as create_writer
from services.destination_writer.settings import WriterSettings
from services.sync_worker.app import create_app as create_worker
from services.sync_worker.settings import WorkerSettings
from services.webhook_gateway.app import create_app as create_gateway
from services.webhook_gateway.settings import GatewaySettings
from shared.audit import Actor
from shared.connections import ConnectionStore
from shared.crypto import make_encryption_key
from shared.db import Pool, make_pool
from shared.destinations import DestinationStore, parse_postgres_url
from shared.syncs import Kind, Status, Sync, SyncStore
from simulator.client import ControlClient
from simulator.webhook_endpoints import WebhookEndpoint
from tests.chaos.kafka_lag import lag
from tests.eventually import eventually
from tests.fakes import FakeProducer
from tests.integration.simulator.running import Running, run_simulator

SCHEMA = "rows"
BY = Actor("test")
LEFT = "SELECT EXISTS (SELECT FROM refetches) OR EXISTS (SELECT FROM parked_records)"
PATIENCE = 120.0  # seconds, on a busy machine


@dataclass
class Company:
    """What runs, and what can be asked of it."""

    stripe: Running
    pool: Pool
    values: dict[str, Any]
    stack: AsyncExitStack
    connection_id: str = ""
    worker: TestServer | None = None

    async def serve(self, app: web.Application) -> TestServer:
        return await self.stack.enter_async_context(TestServer(app))

    async def start_worker(self) -> None:
        self.worker = await self.serve(create_worker(WorkerSettings.model_validate(self.values)))

    async def stop_worker(self) -> None:
        assert self.worker
        await self.worker.close()

    async def connect(self) -> None:
        settings = ApiSettings.model_validate(self.values)
        cases, _ = make_use_cases(self.pool, settings, self.stripe.session, FakeProducer())  # type: ignore[arg-type]
        address = parse_postgres_url(self.values["database_url"], schema=SCHEMA)
        destination = await DestinationStore(self.pool, settings.key_ring).insert("Rows", *address, by=BY)
        key = SecretStr(self.stripe.simulation.first_key)
        self.connection_id = await cases.connect.connect(NewConnection(key, (destination,)), by=BY)
        await eventually(lambda: self.has_ended(Kind.BACKFILL), within=PATIENCE, what="the backfill's end")
        await eventually(lambda: self.has_ended(Kind.GAP_FILL), within=PATIENCE, what="the gap fill's end")

    async def change(self, seconds: float, *, rate: float = 40.0) -> None:
        """Let the business make changes for so long, and wait until Stripe has delivered what it will."""
        await self.stripe.control("POST", "business", {"changes_per_second": rate})
        await asyncio.sleep(seconds)
        await self.stripe.control("POST", "business", {"changes_per_second": 0})
        await eventually(lambda: self.stripe.simulation.deliveries.pending == 0, within=PATIENCE, what="quiet")

    async def wait_one_interval(self) -> None:
        """Return when the first comparison that begins from now on has ended, with all that follows from it."""
        known = {sync.id for sync in await self.syncs(Kind.RECONCILE)}

        async def has_compared() -> bool:
            new = [sync for sync in await self.syncs(Kind.RECONCILE) if sync.id not in known]
            return bool(new) and new[-1].status is Status.SUCCEEDED

        await eventually(has_compared, within=PATIENCE, what="a comparison")
        await eventually(self.is_idle, within=PATIENCE, what="the end of all work")

    async def is_idle(self) -> bool:
        """Tell whether nothing but the comparisons that come again and again is open, and all is written."""
        gap_fills = await self.syncs(Kind.GAP_FILL)
        if await self.pool.fetchval(LEFT) or not all(sync.finished_at for sync in gap_fills):
            return False
        # A question that is answered is still on its way to the rows: the writer has the last word.
        return await self.behind() == 0

    async def behind(self) -> int | None:
        """Return how many records the writer has not dealt with; `None` while Kafka does not tell."""
        names = {"prefix": self.values["topic_prefix"], "partitions": self.values["topic_partitions"]}
        return await lag(self.values["kafka_bootstrap_servers"], **names)

    async def differences(self) -> list[str]:
        """Return how the destination differs from Stripe, row by row; nothing when it is equal."""
        connection = await ConnectionStore(self.pool, WorkerSettings.model_validate(self.values).key_ring).get(
            self.connection_id
        )
        control = ControlClient(self.stripe.url)
        account = {"account": connection.account_id, "livemode": connection.livemode}
        verdicts = await asyncio.to_thread(
            lambda: asyncio.run(judge(self.values["database_url"], SCHEMA, control, connection.resources, **account))
        )
        return [str(verdict) for verdict in verdicts if not verdict.is_equal]

    async def has_ended(self, kind: Kind) -> bool:
        found = await self.syncs(kind)
        return bool(found) and found[0].status is Status.SUCCEEDED

    async def syncs(self, kind: Kind) -> list[Sync]:
        return await SyncStore(self.pool).list_newest(kind=kind, limit=100)

    def endpoint(self) -> WebhookEndpoint:
        [endpoint] = self.stripe.simulation.endpoints.by_id.values()
        return endpoint


@asynccontextmanager
async def company(
    database_url: str, kafka_bootstrap_servers: str, topic_prefix: str, *, interval: float, objects: int = 300
) -> AsyncIterator[Company]:
    """Run everything, with an account that is connected and backfilled; it is compared every `interval` seconds."""
    values: dict[str, Any] = {
        "database_url": database_url,
        "kafka_bootstrap_servers": kafka_bootstrap_servers,
        "topic_prefix": topic_prefix,
        "topic_partitions": 2,
        "encryption_keys": make_encryption_key("test"),
        "reconcile_seconds": interval,
        "stripe_budget_share": 1.0,
        "write_deadline_seconds": 5,
    }
    pool = await make_pool(database_url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(pool.close)
        stripe = await stack.enter_async_context(run_simulator(objects=objects, livemode=True))
        here = Company(stripe, pool, values, stack)
        gateway = await here.serve(create_gateway(GatewaySettings.model_validate(values)))
        values |= {"stripe_api_base": stripe.url, "public_url": str(gateway.make_url("")).rstrip("/")}
        await here.serve(create_writer(WriterSettings.model_validate(values)))
        await here.start_worker()
        await here.connect()
        yield here
