"""Who did what, over REST."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import structlog

from shared.audit import Actor, AuditLog, append
from shared.crypto import KeyRing, make_encryption_key, parse_key_ring
from shared.db import Pool, make_pool, transaction
from tests.integration.connection_api.serving import ready
from tests.unit.connection_api.serving import BEARER, Client

ENCRYPTION_KEYS = make_encryption_key("k1")
KEYS = parse_key_ring(ENCRYPTION_KEYS)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await make_pool(database_url, max_size=2)
    async with transaction(pool) as db:
        for number in range(7):
            await append(db, Actor("session", "req_1"), "thing.changed", f"thing_{number % 2}", number=number)
    yield pool
    pool.terminate()


@pytest.fixture
async def api(database_url: str, pool: Pool) -> AsyncIterator[Client]:
    async with ready(database_url, encryption_keys=ENCRYPTION_KEYS) as client:
        yield client


async def sealed(pool: Pool, keys: KeyRing) -> None:
    """Seal the log, unless the service has done so already."""
    await pool.execute("DELETE FROM audit_seals")
    assert await AuditLog(pool, keys).seal() == 7


async def tamper(database_url: str, sql: str) -> None:
    """Change the table as its owner could: the triggers that keep the services from it are off."""
    connection = await asyncpg.connect(
        database_url,
        server_settings={"search_path": "tillstream, public", "session_replication_role": "replica"},
    )
    await connection.execute(sql)
    await connection.close()


async def get(api: Client, path: str, **query: str | int) -> Any:
    answer = await api.get(path, params=query, headers=BEARER)
    assert answer.status == 200, await answer.text()
    return await answer.json()


async def test_entries_are_walked_newest_first(api: Client) -> None:
    first = await get(api, "/v1/audit-log", limit=4)
    rest = await get(api, "/v1/audit-log", limit=4, cursor=first["next_cursor"])
    assert [entry["id"] for entry in (*first["data"], *rest["data"])] == [7, 6, 5, 4, 3, 2, 1]
    assert rest["next_cursor"] is None
    newest = first["data"][0]
    assert (newest["actor"], newest["action"], newest["details"]) == ("session", "thing.changed", {"number": 6})
    assert newest["previous_hash"] == first["data"][1]["hash"]


async def test_entries_about_one_thing_are_found(api: Client) -> None:
    found = await get(api, "/v1/audit-log", subject="thing_1", limit=2)
    assert [entry["id"] for entry in found["data"]] == [6, 4]
    rest = await get(api, "/v1/audit-log", subject="thing_1", limit=2, cursor=found["next_cursor"])
    assert [entry["id"] for entry in rest["data"]] == [2]


async def test_cursor_of_another_list_is_refused(api: Client) -> None:
    cursor = (await get(api, "/v1/audit-log", limit=1))["next_cursor"]
    for bad in (cursor[:-4] + "AAAA", "WyJ4Il0", "WyI5OTk5OTk5OTk5OTk5OTk5OTk5OSJd"):
        answer = await api.get("/v1/audit-log", params={"cursor": bad}, headers=BEARER)
        assert (answer.status, (await answer.json())["field"]) == (422, "cursor")


@pytest.mark.parametrize(
    ("sql", "broken_at"),
    [
        ("UPDATE audit_log SET subject = 'thing_9' WHERE id = 3", 3),
        ("UPDATE audit_log SET details = '{}' WHERE id = 7", 7),
        ("DELETE FROM audit_log WHERE id = 5", 5),
        ("SELECT", None),
        ("DELETE FROM audit_log WHERE id > 4", 5),
        ("DELETE FROM audit_log", 1),
        ("UPDATE audit_log SET person = 'Mallory' WHERE id = 2", 2),
    ],
)
async def test_change_of_an_entry_is_found(
    api: Client, pool: Pool, database_url: str, sql: str, broken_at: int | None
) -> None:
    await sealed(pool, KEYS)
    await tamper(database_url, sql)
    entries = broken_at - 1 if broken_at else 7
    sealed_to = None if broken_at else 7
    verification = {"entries": entries, "broken_at": broken_at, "sealed_to": sealed_to}
    assert await get(api, "/v1/audit-log/verification") == verification


async def test_chain_that_was_computed_anew_does_not_fit_the_seal(api: Client, pool: Pool, database_url: str) -> None:
    await sealed(pool, KEYS)
    await tamper(database_url, "DELETE FROM audit_log")
    async with transaction(pool) as db:
        for number in range(7):
            await append(db, Actor("somebody else", "req_1"), "thing.changed", "thing_0", number=number)
    assert (await get(api, "/v1/audit-log/verification"))["broken_at"] == 7


async def test_seal_that_somebody_else_made_proves_nothing(api: Client, pool: Pool) -> None:
    await sealed(pool, parse_key_ring(make_encryption_key("k1")))
    answer = await get(api, "/v1/audit-log/verification")
    assert (answer["broken_at"], answer["sealed_to"]) == (None, None)


async def test_head_is_sealed_once_and_told_to_the_log(pool: Pool) -> None:
    log = AuditLog(pool, KEYS)
    with structlog.testing.capture_logs() as logs:
        assert [await log.seal(), await log.seal()] == [7, None]
    newest = (await log.list_newest())[0]
    assert [(one["event"], one["entry"], one["hash"]) for one in logs] == [("audit_log_sealed", 7, newest.hash.hex())]


@pytest.mark.parametrize("sql", ["UPDATE audit_log SET subject = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"])
async def test_no_service_can_change_an_entry(pool: Pool, sql: str) -> None:
    with pytest.raises(asyncpg.RestrictViolationError, match="only ever added to"):
        await pool.execute(sql)
    assert await pool.fetchval("SELECT count(*) FROM audit_log") == 7
