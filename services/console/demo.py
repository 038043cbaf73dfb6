"""The demo: a simulated Stripe account is connected, backfilled and followed live, in front of one's eyes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg

from services.console.client import ApiClient
from services.console.running import PROGRAM, Running, Watchers, running
from simulator.client import ControlClient

DATABASE = "demo_destination"
SCHEMA = "stripe"
EXAMPLE_QUERY = "SELECT id, amount, currency, status, created FROM stripe.v_charges ORDER BY created DESC LIMIT 5"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How large and how lively the simulated business is, and what else is to be different."""

    objects: int = 22_000
    seed: int = 7
    changes_per_second: float = 5.0
    simulator: tuple[str, ...] = ()  # further arguments of the simulator
    settings: Mapping[str, str] = field(default_factory=dict)  # TILLSTREAM_ variables of the services
    program: tuple[str, ...] = PROGRAM


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo that runs."""

    running: Running
    api: ApiClient
    control: ControlClient
    destination_url: str
    connection_id: str
    account: str
    livemode: bool
    resources: tuple[str, ...]


@asynccontextmanager
async def demo_running(
    home: Path, environ: Mapping[str, str], options: DemoOptions, watchers: Watchers
) -> AsyncIterator[Demo]:
    """Start everything with a simulator and connect its account; what an earlier demo left is removed first."""
    simulator = (
        *("--objects", str(options.objects), "--seed", str(options.seed), "--live"),
        *("--rate", str(options.changes_per_second)),
        *options.simulator,
    )
    async with (
        running(
            home,
            environ,
            watchers=watchers,
            settings=options.settings,
            simulator=simulator,
            prepare=_start_anew,
            program=options.program,
        ) as stack,
        aiohttp.ClientSession() as session,
    ):
        api = ApiClient(session, stack.api_url, stack.api_token)
        control = ControlClient(stack.simulator_url)
        state = await asyncio.to_thread(control.get, "state")
        url = database_url(stack.stack.database_url, DATABASE)
        stack.stack.publish(destination_url=url)
        destination = await api.post("/v1/destinations", {"name": "Demo warehouse", "url": url, "schema": SCHEMA})
        connection = await api.post(
            "/v1/connections", {"api_key": state["api_key"], "destination_ids": [destination["id"]]}
        )
        yield Demo(
            stack,
            api,
            control,
            url,
            connection["id"],
            connection["account_id"],
            connection["livemode"],
            tuple(connection["resources"]),
        )


def database_url(url: str, database: str) -> str:
    """Return the address of another database of the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


async def _start_anew(url: str) -> None:
    """Each run has a business of its own, so the state and the rows of the last one are of no use."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DROP SCHEMA IF EXISTS tillstream CASCADE")
        await connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()


async def newest_sync(api: ApiClient, connection_id: str, kind: str) -> dict[str, Any] | None:
    """Return the newest sync of a kind, with its progress per resource."""
    page = await api.get(f"/v1/connections/{connection_id}/syncs")
    found = next((sync for sync in page["data"] if sync["kind"] == kind), None)
    return await api.get(f"/v1/syncs/{found['id']}") if found else None
