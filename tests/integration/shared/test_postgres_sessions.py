"""Sessions that are not ours: the state database behind a real PgBouncer, and names that are lost at the server."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import asyncpg
import pytest

from shared.db import Pool, is_ready, make_pool, migrate, migrations, require_migrated, state_sessions, transaction
from shared.errors import ConfigError, DatabaseUnavailableError
from tests.databases import connected
from tests.integration.connection_api.serving import ready
from tests.pooler import pooled
from tests.unit.connection_api.serving import BEARER

KEEP = "INSERT INTO destinations (id, name, kind, settings, secret, address) VALUES ($1, $1, 'postgres', $2, $3, $1)"


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with pooled(database_url) as url:
        pool = await make_pool(url)
        yield pool
        pool.terminate()


async def test_lone_statements_and_transactions_work_whichever_session_is_lent(pool: Pool) -> None:
    async def keep(number: int) -> None:
        await pool.execute(KEEP, f"dst_{number}", {"host": "a"}, b"sealed")
        assert await pool.fetchval("SELECT settings FROM destinations WHERE id = $1", f"dst_{number}") == {"host": "a"}
        async with transaction(pool) as db:
            await db.execute("UPDATE destinations SET settings = $2 WHERE id = $1", f"dst_{number}", {"n": number})
            async with db.transaction():
                assert await db.fetchval("SELECT count(*) FROM destinations WHERE id = $1", f"dst_{number}") == 1

    await asyncio.gather(*(keep(number) for number in range(100)))
    rows = await pool.fetch("SELECT settings FROM destinations")
    assert sorted(row["settings"]["n"] for row in rows) == list(range(100))
    await pool.executemany("DELETE FROM destinations WHERE id = $1", [(f"dst_{number}",) for number in range(100)])
    assert await pool.fetchrow("SELECT count(*) FROM destinations") == (0,)
    assert await is_ready(pool)


async def test_statement_that_fails_alone_leaves_no_transaction_behind(pool: Pool) -> None:
    for _ in range(20):
        with pytest.raises(asyncpg.DivisionByZeroError):
            await pool.fetchval("SELECT 1 / $1::int", 0)
    assert await asyncio.gather(*(pool.fetchval("SELECT $1::int", n) for n in range(50))) == list(range(50))


async def test_nothing_is_prepared_behind_a_pooler(pool: Pool) -> None:
    for number in range(20):
        await pool.fetchval("SELECT $1::int", number)
    assert await pool.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0


async def test_statements_are_prepared_once_at_the_server_itself(database_url: str) -> None:
    pool = await make_pool(database_url, max_size=1)
    for number in range(3):
        assert await pool.fetchval("SELECT $1::int", number) == number
    prepared = await pool.fetch("SELECT statement FROM pg_prepared_statements")
    assert [row["statement"] for row in prepared].count("SELECT $1::int") == 1
    pool.terminate()


async def test_the_next_statement_works_after_names_were_lost(database_url: str) -> None:
    pool = await make_pool(database_url, max_size=1)
    assert await pool.fetchval("SELECT $1::int", 1) == 1
    await pool.execute("DEALLOCATE ALL")
    with pytest.raises(DatabaseUnavailableError):
        async with transaction(pool) as db:
            await db.fetchval("SELECT $1::int", 2)
    for number in range(3):
        assert await pool.fetchval("SELECT $1::int", number) == number
    assert await pool.fetchval("SELECT count(*) FROM destinations") == 0
    assert await pool.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0
    pool.terminate()


async def test_commands_and_a_service_work_through_a_pooler(empty_database_url: str) -> None:
    async with pooled(empty_database_url) as url:
        for _ in range(3):  # each process counts its statements from one
            assert await run("migrate", url) == 0
        assert await migrate(url) == []
        async with connected(empty_database_url) as db:
            assert await db.fetchval("SELECT max(number) FROM tillstream.migrations") == migrations()[-1][0]
        pool = await make_pool(url)
        await require_migrated(pool)
        pool.terminate()
        async with ready(url) as api:
            for path in ("connections", "destinations", "syncs", "dead-letters", "events"):
                assert (await api.get(f"/v1/{path}", headers=BEARER)).status == 200


async def test_pooler_that_allows_no_transactions_is_refused_with_its_reason(database_url: str) -> None:
    async with pooled(database_url, mode="statement") as url:
        for opens in (make_pool, migrate):
            with pytest.raises(ConfigError, match="Set its pool_mode to transaction"):
                await opens(url)
        assert await run("migrate", url) == 2
        assert await run("doctor", url) == 1


async def test_pooler_of_whole_sessions_is_taken_as_shared(database_url: str) -> None:
    async with pooled(database_url, mode="session") as url:
        sessions = state_sessions(url)
        session = await sessions.open()
        assert sessions.is_shared
        assert await session.fetchval("SELECT count(*) FROM destinations") == 0
        await session.close()


async def run(command: str, url: str) -> int | None:
    """Run a command of the command line and return its exit code."""
    environ = os.environ | {"TILLSTREAM_DATABASE_URL": url}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services", command, env=environ, stdout=asyncio.subprocess.DEVNULL
    )
    return await process.wait()
