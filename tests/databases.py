"""Databases for tests: one that a test has left is emptied for the next, which is quicker than making one.

It is dropped instead if the test changed more than rows: what it holds then has to be as in a new one.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from shared.db import SCHEMA, migrate
from shared.postgres_tables import quote

T = TypeVar("T")
LARGE = 30_000_000  # bytes: emptied, such a database would still be slower than a new one
WAIT_FOR_END = 5000  # milliseconds for a connection that the test has left open

END_CONNECTIONS = f"""
SELECT pg_terminate_backend(pid, {WAIT_FOR_END}) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_OURS = f"(SELECT oid FROM pg_namespace WHERE nspname IN ('{SCHEMA}', 'public'))"
FOREIGN_SCHEMAS = f"""
SELECT nspname FROM pg_namespace WHERE nspname NOT IN ('{SCHEMA}', 'public', 'information_schema') AND nspname !~ '^pg_'
"""
# Whoever changes a table, a trigger or a setting writes a row of the catalogue, which has another xmin then.
_CATALOGUE = (
    f"pg_class WHERE relnamespace IN {_OURS}",
    f"pg_attribute WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace IN {_OURS})",
    f"pg_attrdef WHERE adrelid IN (SELECT oid FROM pg_class WHERE relnamespace IN {_OURS})",
    f"pg_constraint WHERE connamespace IN {_OURS}",
    "pg_trigger",
    f"pg_proc WHERE pronamespace IN {_OURS}",
    "pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())",
)
SHAPE = "SELECT " + ", ".join(
    f"(SELECT count(*) || ' ' || coalesce(sum(xmin::text::bigint), 0) FROM {part})" for part in _CATALOGUE
)
TABLES = f"SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace IN {_OURS}"
HELD = "SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {} t"
# As a replica, since then no foreign key and no trigger has a say.
DELETE_ALL = f"""
SET session_replication_role = replica;
DO $$ DECLARE name text;
BEGIN FOR name IN {TABLES} LOOP
    IF name NOT IN ({{}}) THEN EXECUTE 'DELETE FROM ' || name; END IF;
END LOOP; END $$;
"""
RESTART_SEQUENCES = f"SELECT setval(oid, 1, false) FROM pg_class WHERE relkind = 'S' AND relnamespace IN {_OURS}"
SIZE = "SELECT pg_database_size(current_database())"


class Databases:
    """The databases of one worker on one server, all of them copies of one."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._idle: list[str] = []
        self._template = ""
        self._shape: tuple[str, ...] = ()
        self._seeds: dict[str, str] = {}  # what tables that have rows from the beginning hold

    @contextmanager
    def lend(self) -> Iterator[str]:
        """Lend the address of a database of one's own with all migrations."""
        if not self._template:
            self._template = make_name()
            run(self._make_template())
        name = self._idle.pop() if self._idle else run(create(self._server_url, self._template))
        yield address_of(self._server_url, name)
        if run(self._empty(name)):
            self._idle.append(name)
        else:
            run(drop(self._server_url, name))

    def close(self) -> None:
        """Drop all of them."""
        for name in filter(None, (*self._idle, self._template)):
            run(drop(self._server_url, name))

    async def _make_template(self) -> None:
        await create(self._server_url, "template1", name=self._template)
        url = address_of(self._server_url, self._template)
        await migrate(url)
        async with connected(url) as db:
            self._shape = tuple(await db.fetchrow(SHAPE))
            held = {table: await db.fetchval(HELD.format(table)) for (table,) in await db.fetch(TABLES)}
        self._seeds = {table: rows for table, rows in held.items() if rows}

    async def _empty(self, name: str) -> bool:
        """Tell whether the database is as new."""
        async with connected(address_of(self._server_url, name)) as db:
            await db.execute(END_CONNECTIONS)
            if await db.fetchval(SIZE) > LARGE:
                return False
            for (schema,) in await db.fetch(FOREIGN_SCHEMAS):
                await db.execute(f"DROP SCHEMA {quote(schema)} CASCADE")
            if tuple(await db.fetchrow(SHAPE)) != self._shape:
                return False
            for table, rows in self._seeds.items():
                if await db.fetchval(HELD.format(table)) != rows:
                    return False
            await db.execute(DELETE_ALL.format(", ".join(f"'{table}'" for table in self._seeds)))
            await db.execute(RESTART_SEQUENCES)
        return True


@contextmanager
def empty_database(server_url: str) -> Iterator[str]:
    """Lend the address of a database with nothing in it."""
    name = run(create(server_url, "template1"))
    yield address_of(server_url, name)
    run(drop(server_url, name))


def make_name() -> str:
    return f"test_{uuid.uuid4().hex[:16]}"


def address_of(server_url: str, name: str) -> str:
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


async def create(server_url: str, template: str, *, name: str = "") -> str:
    """Make a database and return its name."""
    name = name or make_name()
    await execute(server_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return name


async def drop(server_url: str, name: str) -> None:
    await execute(server_url, f'DROP DATABASE "{name}" WITH (FORCE)')


async def execute(url: str, *statements: str) -> None:
    async with connected(url) as db:
        for statement in statements:
            await db.execute(statement)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def run(coroutine: Coroutine[object, object, T]) -> T:
    """Run `coroutine` in a loop of its own, away from the loop of the test that asked for the fixture."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
