"""Destinations over REST, and the probe against real and false servers."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from shared.destinations import parse_postgres_url
from shared.postgres_mark import SETUP_LOCK
from shared.postgres_probe import ProbeStep, probe
from shared.postgres_tables import ROW_TABLES, create_sql
from tests.eventually import eventually
from tests.integration.connection_api.serving import execute, ready
from tests.unit.connection_api.serving import BEARER, Client

STEPS = ["reachable", "login", "version", "settings", "schema", "tables", "owner", "write", "delete"]
LEFT_BEHIND = """
SELECT nspname FROM pg_namespace WHERE nspname = 'probed'
UNION ALL SELECT relname FROM pg_class WHERE relname LIKE 'tillstream_probe%'
"""
# Snapshots of statistics last as long as the transaction, but for those of locks.
WAITING = """
SELECT count(*) FROM pg_locks WHERE NOT granted
AND (database = (SELECT oid FROM pg_database WHERE datname = $1) OR locktype = 'transactionid')
"""


USE = """
WITH c AS (
    INSERT INTO connections (id, account_id, account_name, livemode, state, key_hint, resources, live_by)
    VALUES ('con_1', 'acct_1', 'Ada', true, 'active', 'rk', '{}', 'polling') RETURNING id
)
INSERT INTO connection_destinations SELECT id, $1, 'acct_1', true FROM c
"""


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Client]:
    async with ready(database_url) as client:
        yield client


async def probed(url: str, schema: str = "probed") -> list[ProbeStep]:
    began = time.monotonic()
    steps = await probe(*parse_postgres_url(url, schema=schema))
    assert time.monotonic() - began < 5.0
    assert all(step.passed for step in steps[:-1])
    return steps


async def failure(url: str, schema: str = "probed") -> ProbeStep:
    step = (await probed(url, schema))[-1]
    assert not step.passed
    assert step.fix
    return step


def replaced(url: str, **parts: str) -> str:
    """Return the address with another user, password, port or database."""
    known = urlsplit(url)
    user, password = parts.get("user", known.username), parts.get("password", known.password)
    port, database = parts.get("port", known.port), parts.get("database", known.path.lstrip("/"))
    return f"postgresql://{user}:{password}@{known.hostname}:{port}/{database}{parts.get('query', '')}"


@asynccontextmanager
async def role(database_url: str) -> AsyncIterator[str]:
    """Lend a user who may log in and nothing else; give the address with it."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    await execute(database_url, f"CREATE ROLE {name} LOGIN PASSWORD 'weak'")
    try:
        yield replaced(database_url, user=name, password="weak")
    finally:
        await execute(database_url, f"DROP OWNED BY {name} CASCADE")
        await execute(database_url, f"DROP ROLE {name}")


@asynccontextmanager
async def silent_server(*, hangs_up: bool) -> AsyncIterator[str]:
    """Lend the address of what takes connections and says nothing, or hangs up."""

    talks: list[asyncio.Task[None] | None] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.current_task())
        while not hangs_up and await reader.read(1000):
            pass
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield f"postgresql://ada:pw@127.0.0.1:{server.sockets[0].getsockname()[1]}/rows"
    await asyncio.gather(*filter(None, talks), return_exceptions=True)


async def test_good_address_passes_every_step_and_nothing_is_left(database_url: str) -> None:
    steps = await probed(database_url)
    assert [(step.name, step.passed) for step in steps] == [(name, True) for name in STEPS]
    assert await execute(database_url, LEFT_BEHIND) == []


async def test_schema_that_existed_stays(database_url: str) -> None:
    await execute(database_url, "CREATE SCHEMA probed")
    assert (await probed(database_url))[-1].passed
    assert [row[0] for row in await execute(database_url, LEFT_BEHIND)] == ["probed"]


async def test_tables_that_a_writer_is_making_do_not_clash_with_the_probe(database_url: str) -> None:
    writer = await asyncpg.connect(database_url)
    async with writer.transaction():
        await writer.execute("SELECT pg_advisory_xact_lock($1)", SETUP_LOCK)
        await writer.execute("CREATE SCHEMA probed")
        for table in ROW_TABLES.values():
            await writer.execute(";".join(create_sql("probed", table)))
        trial = asyncio.create_task(probe(*parse_postgres_url(database_url, schema="probed")))

        async def is_waiting() -> bool:
            return bool(await writer.fetchval(WAITING, database_url.rpartition("/")[2])) or trial.done()

        await eventually(is_waiting)
    await writer.close()
    assert [step.name for step in await trial if step.passed] == STEPS


async def test_port_without_a_listener_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    step = await failure(f"postgresql://ada:pw@127.0.0.1:{port}/rows")
    assert (step.name, step.code) == ("reachable", "destination_unreachable")
    assert f"127.0.0.1:{port}" in step.message


async def test_unknown_host_is_named() -> None:
    step = await failure("postgresql://ada:pw@no-such-host.invalid/rows")
    assert (step.name, step.code) == ("reachable", "destination_host_unknown")


async def test_wrong_password_is_told_and_not_repeated(database_url: str) -> None:
    step = await failure(replaced(database_url, password="not-the-password"))
    assert (step.name, step.code) == ("login", "destination_login_failed")
    assert "not-the-password" not in f"{step}"


async def test_unknown_user_is_told(database_url: str) -> None:
    assert (await failure(replaced(database_url, user="nobody_here"))).code == "destination_login_failed"


async def test_missing_database_comes_with_its_statement(database_url: str) -> None:
    step = await failure(replaced(database_url, database="no_such_rows"))
    assert (step.name, step.code) == ("login", "destination_database_missing")
    assert step.sql
    assert step.sql.startswith('CREATE DATABASE "no_such_rows"')
    assert step.sql.endswith("ENCODING 'UTF8' TEMPLATE template0;")


async def test_server_without_tls_is_told(database_url: str) -> None:
    step = await failure(replaced(database_url, query="?sslmode=require"))
    assert (step.name, step.code) == ("reachable", "destination_tls")


async def test_user_without_rights_is_helped_by_the_statement(database_url: str) -> None:
    async with role(database_url) as weak:
        step = await failure(weak)
        assert (step.name, step.code) == ("schema", "destination_no_rights")
        await execute(database_url, "CREATE SCHEMA probed")
        step = await failure(weak)
        assert (step.name, step.code) == ("write", "destination_no_rights")
        for statement in (step.sql or "").split(";"):
            if statement.strip():
                await execute(database_url, statement)
        assert [one.name for one in await probed(weak) if one.passed] == STEPS


async def test_database_that_can_only_be_read_is_told(database_url: str) -> None:
    async with role(database_url) as weak:
        name = urlsplit(weak).username
        await execute(database_url, f"ALTER ROLE {name} SET default_transaction_read_only = on")
        await execute(database_url, f"CREATE SCHEMA probed AUTHORIZATION {name}")
        assert (await failure(weak)).code == "destination_read_only"


async def test_web_server_is_no_postgres() -> None:
    async with TestServer(web.Application()) as server:
        step = await failure(f"postgresql://ada:pw@127.0.0.1:{server.port}/rows")
    assert (step.name, step.code) == ("reachable", "destination_not_postgres")


async def test_server_that_hangs_up_is_no_postgres() -> None:
    async with silent_server(hangs_up=True) as url:
        assert (await failure(url)).code == "destination_not_postgres"


async def test_server_that_says_nothing_is_given_up() -> None:
    async with silent_server(hangs_up=False) as url:
        step = await failure(url)
    assert (step.name, step.code) == ("reachable", "destination_unreachable")


async def test_destination_is_kept_shown_and_removed_without_its_password(api: Client, database_url: str) -> None:
    made = await api.post("/v1/destinations", json={"name": "Rows", "url": database_url}, headers=BEARER)
    text = await made.text()
    assert made.status == 201, text
    destination, known = json.loads(text), urlsplit(database_url)
    assert destination["host"] == known.hostname
    assert (destination["port"], destination["schema"]) == (known.port, "stripe")
    assert "url" not in destination
    assert f":{known.password}@" not in text
    path = f"/v1/destinations/{destination['id']}"
    assert await (await api.get(path, headers=BEARER)).json() == destination
    assert (await api.delete(path, headers=BEARER)).status == 204
    assert (await api.get(path, headers=BEARER)).status == 404


async def test_same_place_or_name_twice_is_refused(api: Client, database_url: str) -> None:
    first = {"name": "Rows", "url": database_url}
    assert (await api.post("/v1/destinations", json=first, headers=BEARER)).status == 201
    for again, code in ((first | {"name": "Others"}, "destination_taken"), (first | {"schema": "other"}, "conflict")):
        answer = await api.post("/v1/destinations", json=again, headers=BEARER)
        assert (answer.status, (await answer.json())["code"]) == (409, code)


async def test_address_that_fails_is_not_kept_and_says_why(api: Client, database_url: str) -> None:
    body = {"name": "Rows", "url": replaced(database_url, password="wrong")}
    answer = await api.post("/v1/destinations", json=body, headers=BEARER)
    problem = await answer.json()
    assert (answer.status, problem["code"], problem["field"]) == (422, "destination_login_failed", "url")
    assert (await (await api.get("/v1/destinations", headers=BEARER)).json())["data"] == []


async def test_test_answers_step_by_step(api: Client, database_url: str) -> None:
    good = await (await api.post("/v1/destinations/test", json={"url": database_url}, headers=BEARER)).json()
    assert (good["passed"], [step["name"] for step in good["steps"]]) == (True, STEPS)
    bad = {"url": replaced(database_url, database="no_such_rows")}
    answer = await (await api.post("/v1/destinations/test", json=bad, headers=BEARER)).json()
    assert (answer["passed"], answer["steps"][-1]["code"]) == (False, "destination_database_missing")


async def test_destination_in_use_is_not_removed(api: Client, database_url: str) -> None:
    made = await api.post("/v1/destinations", json={"name": "Rows", "url": database_url}, headers=BEARER)
    destination_id = (await made.json())["id"]
    await execute(database_url, USE, destination_id)
    answer = await api.delete(f"/v1/destinations/{destination_id}", headers=BEARER)
    assert (answer.status, (await answer.json())["code"]) == (409, "conflict")


async def test_what_becomes_of_deleted_rows_is_chosen_and_changed(api: Client, database_url: str) -> None:
    """A change that removes them lets a writer take out those that are marked; the other change takes nothing out."""
    body = {"name": "Rows", "url": database_url, "schema": "kept", "deleted_rows": "removed"}
    made = await (await api.post("/v1/destinations", json=body, headers=BEARER)).json()
    assert made["deleted_rows"] == "removed"
    await execute(database_url, USE, made["id"])
    for choice, cleanups in (("marked", 0), ("removed", 1), ("removed", 1)):
        answer = await api.patch(f"/v1/destinations/{made['id']}", json={"deleted_rows": choice}, headers=BEARER)
        assert (await answer.json())["deleted_rows"] == choice
        assert len(await execute(database_url, "SELECT FROM cleanups WHERE kind = 'deleted'")) == cleanups
    bad = await api.patch(f"/v1/destinations/{made['id']}", json={"deleted_rows": "burnt"}, headers=BEARER)
    assert bad.status == 422
