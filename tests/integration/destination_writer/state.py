"""A state database with connections and destinations in it, for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from services.destination_writer.settings import WriterSettings
from shared.api_keys import parse_api_key
from shared.audit import Actor
from shared.catalogue import DEFAULT_RESOURCES
from shared.connections import ConnectionStore, LiveBy
from shared.crypto import make_encryption_key
from shared.db import Pool, make_pool
from shared.destinations import DestinationStore, parse_postgres_url

KEY_OF_STRIPE = "rk_live_" + "a1B2" * 12
ACCOUNT_ID = "acct_1"


def make_settings(database_url: str, kafka: str = "127.0.0.1:1", prefix: str = "tillstream") -> WriterSettings:
    """Return a writer's settings for servers of a test."""
    return WriterSettings.model_validate(
        {
            "database_url": database_url,
            "kafka_bootstrap_servers": kafka,
            "topic_prefix": prefix,
            "topic_partitions": 2,
            "encryption_keys": make_encryption_key("test"),
            "write_deadline_seconds": 5,  # on a busy machine a first write takes its time, and would be parked
        }
    )


class State:
    """The state database, and the stores that fill it."""

    def __init__(self, pool: Pool, settings: WriterSettings) -> None:
        self.pool, self.settings = pool, settings
        self.destinations = DestinationStore(pool, settings.key_ring)
        self.connections = ConnectionStore(pool, settings.key_ring)

    async def add_destination(self, name: str, url: str | None = None) -> str:
        """Add a schema of its own, by default in the database of the test."""
        url = url or self.settings.database_url.get_secret_value()
        return await self.destinations.insert(name, *parse_postgres_url(url, schema=name), by=Actor("test"))

    async def add_connection(self, connection_id: str, *destination_ids: str) -> None:
        """Add a connection that delivers to the destinations."""
        await self.connections.insert(
            connection_id,
            account=(ACCOUNT_ID, "Ada's shop"),
            key=parse_api_key(KEY_OF_STRIPE, allow_test=False),
            destination_ids=destination_ids,
            start_date=None,
            resources=[row.name for row in DEFAULT_RESOURCES],
            by=Actor("test"),
            live_by=LiveBy.WEBHOOKS,
        )

    async def add_slice(self, connection_id: str) -> int:
        """Add a slice of a running sync; return its id."""
        sql = """
        WITH sync AS (
            INSERT INTO syncs (id, connection_id, kind, trigger, status, resources)
            VALUES ('syn_' || gen_random_uuid(), $1, 'backfill', 'test', 'running', '{customer}') RETURNING id
        )
        INSERT INTO slices (sync_id, connection_id, resource) SELECT id, $1, 'customer' FROM sync RETURNING id
        """
        return int(await self.pool.fetchval(sql, connection_id))

    async def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self.pool.fetch(sql, *values)]

    async def value(self, sql: str, *values: Any) -> Any:
        return await self.pool.fetchval(sql, *values)


@asynccontextmanager
async def open_state(settings: WriterSettings) -> AsyncIterator[State]:
    """Lend the state database of a test."""
    pool: asyncpg.Pool = await make_pool(settings.database_url.get_secret_value(), max_size=5)
    try:
        yield State(pool, settings)
    finally:
        pool.terminate()
