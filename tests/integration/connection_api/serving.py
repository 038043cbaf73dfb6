"""The API with a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tests.eventually import eventually
from tests.unit.connection_api.serving import Client, make_settings, running


@asynccontextmanager
async def ready(database_url: str, **values: Any) -> AsyncIterator[Client]:
    """Lend a client of an API that has reached its database."""
    async with running(make_settings(database_url=database_url, **values)) as client:

        async def is_ready() -> bool:
            return (await client.get("/readyz")).status == 200

        await eventually(is_ready, what="the API is ready")
        yield client


async def execute(database_url: str, sql: str, *values: Any) -> list[asyncpg.Record]:
    """Run a statement beside the API."""
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "tillstream, public"})
    try:
        return await connection.fetch(sql, *values)
    finally:
        await connection.close()
