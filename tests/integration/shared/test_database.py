"""The pool of the state database: one connection at a time, a limit to each wait, and an end to deadlocks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg
import pytest

from shared import db as database
from shared.db import Connection, Pool, SecondConnectionError, in_transaction, make_pool, transaction
from shared.errors import DatabaseUnavailableError
from tests.eventually import eventually

LOCK = "SELECT FROM leases WHERE name = $1 FOR UPDATE"


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    made = await make_pool(database_url, max_size=3)
    await made.execute("INSERT INTO leases SELECT n, 'test', now() FROM unnest('{a,b}'::text[]) AS n")
    yield made
    made.terminate()


async def test_within_a_transaction_the_pool_lends_no_second_connection(pool: Pool) -> None:
    async with transaction(pool) as db:
        assert await db.fetchval("SELECT 1") == 1
        with pytest.raises(SecondConnectionError):
            await pool.fetchval("SELECT 1")
        with pytest.raises(SecondConnectionError):
            await asyncio.gather(pool.fetchval("SELECT 1"))  # in a task of its own it waits just so
    assert await pool.fetchval("SELECT 1") == 1


async def test_task_that_outlives_the_transaction_gets_its_connection(pool: Pool) -> None:
    ended = asyncio.Event()

    async def later() -> int:
        await ended.wait()
        return int(await pool.fetchval("SELECT 1"))

    async with transaction(pool):
        task = asyncio.create_task(later())
    ended.set()
    assert await task == 1


async def test_full_pool_counts_as_a_database_that_is_away(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "ACQUIRE_TIMEOUT", 0.05)
    taken = [await pool.acquire(timeout=30) for _ in range(3)]
    with pytest.raises(DatabaseUnavailableError):
        async with transaction(pool):
            raise AssertionError
    for connection in taken:
        await pool.release(connection)
    async with transaction(pool) as db:
        assert await db.fetchval("SELECT 1") == 1


async def test_transaction_that_ends_in_a_deadlock_begins_anew(pool: Pool) -> None:
    """Each takes what the other has: the server ends one of them, and in the end both are done."""
    tries, both = [0], asyncio.Barrier(2)

    async def take(first: str, second: str) -> str:
        async def work(db: Connection) -> str:
            tries[0] += 1
            await db.execute(LOCK, first)
            if tries[0] <= 2:
                await both.wait()
            await db.execute(LOCK, second)
            return first

        return await in_transaction(pool, work)

    assert await asyncio.gather(take("a", "b"), take("b", "a")) == ["a", "b"]
    assert tries[0] >= 3


async def test_single_statement_that_ends_in_a_deadlock_is_sent_again(pool: Pool) -> None:
    """It holds `a` and waits for `b`, whose transaction then waits for `a`: the server ends one of them."""
    asked = asyncio.Event()

    async def by_statement() -> None:
        await asked.wait()
        await pool.execute("UPDATE leases SET owner = 'statement' WHERE name = ANY ('{a,b}')")

    async def work(db: Connection) -> None:
        await db.execute(LOCK, "b")
        asked.set()
        pid = await db.fetchval("SELECT pg_backend_pid()")
        await eventually(lambda: is_waited_for(pool, pid))
        await db.execute(LOCK, "a")

    statement = asyncio.create_task(by_statement())
    async with pool.acquire() as db:
        with suppress(asyncpg.DeadlockDetectedError):  # if it is this one
            async with db.transaction():
                await work(db)
    await statement
    assert {row["owner"] for row in await pool.fetch("SELECT owner FROM leases")} == {"statement"}


async def is_waited_for(pool: Pool, pid: int) -> bool:
    """Tell whether somebody waits for a row that the process `pid` of the server holds."""
    return bool(await pool.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE $1 = ANY (pg_blocking_pids(pid)))", pid))
