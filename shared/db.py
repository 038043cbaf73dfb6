"""Tillstream's own state in Postgres: the pool, the translation of its errors, and the migrations.

Migrations are numbered SQL files, forward only, applied by `tillstream migrate`, never at a service's start:
old code must still run on the new schema.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import resources
from typing import TypeAlias

import asyncpg

from shared.errors import AppError, ConfigError, DatabaseUnavailableError

SCHEMA = "tillstream"
MIGRATION_LOCK = 7_114_100  # any number, the same everywhere: two migrators take turns
CONNECT_TIMEOUT = 5.0  # seconds
COMMAND_TIMEOUT = 30.0  # seconds

# SQLSTATE classes, and single states, of a server that is away, starting, stopping, full, busy, read-only, broken, or
# does not let us in; the same statement may succeed later, and no record is to blame.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
TRANSIENT = ("08", "25", "26", "28", "40", "53", "55", "57", "58", "XX", "0A000", "3D000", "42501", "42P05")
# asyncpg reports a connection that died in the middle of a statement as an internal error of its own.
UNREACHABLE = (OSError, TimeoutError, ssl.SSLError, asyncpg.InterfaceError, asyncpg.InternalClientError)

# asyncpg declares no types: these names say what a value is, and mypy takes them as Any.
Pool: TypeAlias = asyncpg.Pool
Connection: TypeAlias = asyncpg.Connection
Row: TypeAlias = asyncpg.Record


class DuplicateRowError(AppError):
    """A row with this key exists."""

    def __init__(self, constraint: str) -> None:
        """Take the name of the constraint that refused."""
        super().__init__()
        self.constraint = constraint


class RowInUseError(AppError):
    """Other rows refer to this one."""


def is_transient(error: BaseException) -> bool:
    """Tell whether the same statement may succeed later."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(TRANSIENT)
    # A value that asyncpg can't send is no trouble of the server, though it says so by an error of the interface.
    return isinstance(error, UNREACHABLE) and not isinstance(error, asyncpg.DataError)


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn asyncpg's errors into ours; let the others pass, they are bugs.

    Raises `DatabaseUnavailableError`, `DuplicateRowError` or `RowInUseError`.
    """
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        raise DuplicateRowError(error.constraint_name or "") from error
    except asyncpg.ForeignKeyViolationError as error:
        raise RowInUseError from error
    except (asyncpg.PostgresError, *UNREACHABLE) as error:
        if not is_transient(error):
            raise
        raise DatabaseUnavailableError(f"Tillstream's database does not answer ({type(error).__name__}).") from error


async def _prepare(connection: Connection) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def make_pool(url: str, *, max_size: int = 10) -> Pool:
    """Return a pool whose connections see the schema `tillstream`; raise `DatabaseUnavailableError`."""
    with database_errors():
        return await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=max_size,
            timeout=CONNECT_TIMEOUT,
            command_timeout=COMMAND_TIMEOUT,
            server_settings={"search_path": SCHEMA, "application_name": "tillstream"},
            init=_prepare,
        )


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """Lend a connection inside one transaction; raise `DatabaseUnavailableError` when the database is away."""
    with database_errors():
        async with pool.acquire() as connection, connection.transaction():
            yield connection


def migrations() -> list[tuple[int, str, str]]:
    """Return number, name and SQL of every migration, in order."""
    files = sorted(f.name for f in resources.files("shared.migrations").iterdir() if f.name.endswith(".sql"))
    return [
        (int(name[:4]), name, resources.files("shared.migrations").joinpath(name).read_text("utf-8")) for name in files
    ]


async def migrate(url: str) -> list[str]:
    """Bring the schema up to date; return the names of the files that were applied."""
    with database_errors():
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT)
        try:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
                return await _apply_pending(connection)
        finally:
            await connection.close()


async def _apply_pending(connection: Connection) -> list[str]:
    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    await connection.execute(f"SET LOCAL search_path = {SCHEMA}")
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations"
        " (number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    applied = {row["number"] for row in await connection.fetch("SELECT number FROM migrations")}
    pending = [migration for migration in migrations() if migration[0] not in applied]
    for number, name, sql in pending:
        await connection.execute(sql)
        await connection.execute("INSERT INTO migrations (number, name) VALUES ($1, $2)", number, name)
    return [name for _, name, _ in pending]


async def require_migrated(pool: Pool) -> None:
    """Raise `ConfigError` while migrations are pending: a service refuses to start on an older schema."""
    with database_errors():
        known = await pool.fetchval("SELECT to_regclass($1)", f"{SCHEMA}.migrations")
        newest = await pool.fetchval("SELECT max(number) FROM migrations") if known else 0
    if newest < migrations()[-1][0]:
        raise ConfigError("The database's schema is older than this release. Run `tillstream migrate` first.")


async def is_ready(pool: Pool) -> bool:
    """Tell whether the database answers within a second.

    A call whose time is over takes its connection with it: asyncpg would wait for the answer of a silent server.
    """
    try:
        async with asyncio.timeout(1), pool.acquire() as db:
            try:
                await db.fetchval("SELECT 1")
            except asyncio.CancelledError:
                db.terminate()
                raise
    except (asyncpg.PostgresError, *UNREACHABLE):
        return False
    return True


def affected(status: str) -> int:
    """Return the number of rows in a command status such as `UPDATE 3`."""
    return int(status.rpartition(" ")[2])
