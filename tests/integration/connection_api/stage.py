"""The use cases of a connection beside a simulated Stripe, with a real database that is also the destination."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from pydantic import SecretStr

from services.connection_api.life.at_stripe import AtStripe
from services.connection_api.life.connect import Connect, NewConnection
from services.connection_api.settings import ApiSettings
from services.connection_api.state import UseCases, make_use_cases
from shared.audit import Actor
from shared.connections import Connection, ConnectionStore
from shared.crypto import make_encryption_key
from shared.db import Pool, make_pool
from shared.destinations import DestinationStore, parse_postgres_url
from shared.syncs import Sync, SyncStore
from tests.fakes import FakeProducer
from tests.integration.simulator.running import Running, run_simulator

BY = Actor("token tok_test", "req_test")
PUBLIC_URL = "https://hooks.example.com"


@dataclass
class Stage:
    """The use cases, their Stripe and their database."""

    simulator: Running
    pool: Pool
    settings: ApiSettings
    producer: FakeProducer
    destination_id: str

    def connect(self, *, public_url: str | None = PUBLIC_URL, now: Callable[[], float] = time.time) -> Connect:
        settings = self._with(public_url)
        at_stripe = AtStripe(self.pool, settings, self.simulator.session)
        return Connect(pool=self.pool, settings=settings, at_stripe=at_stripe, producer=self.producer, now=now)

    def use_cases(self, *, public_url: str | None = PUBLIC_URL) -> UseCases:
        return self._made(public_url)[0]

    def at_stripe(self) -> AtStripe:
        return self._made(PUBLIC_URL)[1]

    def wanted(self, key: str | None = None, **changes: Any) -> NewConnection:
        secret = SecretStr(key or self.simulator.simulation.first_key)
        return NewConnection(**{"api_key": secret, "destination_ids": (self.destination_id,), **changes})

    async def connected(self, **changes: Any) -> Connection:
        """Connect the simulated account."""
        return await self.connection(await self.connect().connect(self.wanted(**changes), by=BY))

    async def connection(self, connection_id: str) -> Connection:
        return await self.store.get(connection_id)

    async def connections(self) -> list[Connection]:
        return await self.store.list_page()

    async def syncs(self, connection_id: str) -> list[Sync]:
        """Return the connection's syncs, newest first."""
        return await SyncStore(self.pool).list_newest(connection_id)

    async def add_destination(self, schema: str) -> str:
        url = self.settings.database_url.get_secret_value()
        return await DestinationStore(self.pool, self.settings.key_ring).insert(
            schema, *parse_postgres_url(url, schema=schema), by=BY
        )

    async def audited(self) -> list[str]:
        """Return what was done since the destinations were added, oldest first."""
        sql = "SELECT action FROM audit_log WHERE NOT starts_with(action, 'destination.') ORDER BY id"
        return [row["action"] for row in await self.pool.fetch(sql)]

    @property
    def store(self) -> ConnectionStore:
        return ConnectionStore(self.pool, self.settings.key_ring)

    def endpoints_at_stripe(self) -> int:
        return len(self.simulator.simulation.endpoints.by_id)

    def _with(self, public_url: str | None) -> ApiSettings:
        return self.settings.model_copy(update={"public_url": public_url})

    def _made(self, public_url: str | None) -> tuple[UseCases, AtStripe]:
        session: aiohttp.ClientSession = self.simulator.session
        return make_use_cases(self.pool, self._with(public_url), session, self.producer)  # type: ignore[arg-type]


@asynccontextmanager
async def set_up(database_url: str, **simulated: Any) -> AsyncIterator[Stage]:
    """Lend a stage; `simulated` are settings of the simulator."""
    pool = await make_pool(database_url)
    async with run_simulator(**{"objects": 50, "livemode": True, **simulated}) as simulator:
        settings = ApiSettings(
            database_url=database_url,
            kafka_bootstrap_servers="nowhere:9092",
            encryption_keys=make_encryption_key("k1"),
            stripe_api_base=simulator.url,
        )
        stage = Stage(simulator, pool, settings, FakeProducer(), "")
        stage.destination_id = await stage.add_destination("copy")
        yield stage
    await pool.close()
