"""Tillstream's own state in Postgres: the pool, the translation of its errors, and the migrations.

A task holds one connection of a pool at a time: whoever waited for a second one within a transaction would wait for
others who do the same. ARCHITECTURE.md says in which order rows are locked.

Migrations are numbered SQL files, forward only, applied by `tillstream migrate`, never at a service's start:
old code must still run on the new schema.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import resources
from typing import Any, TypeAlias, TypeVar

import asyncpg

from shared.addresses import AddressError, check_address
from shared.errors import AppError, ConfigError, DatabaseUnavailableError
from shared.heartbeat import beat
from shared.log import get_logger
from shared.postgres_sessions import CONNECT_TIMEOUT, Session, Sessions, refuses_transactions
from shared.retries import pause_seconds

SCHEMA = "tillstream"
MIGRATION_LOCK = 7_114_100  # any number, the same everywhere: two migrators take turns
COMMAND_TIMEOUT = 30.0  # seconds
ACQUIRE_TIMEOUT = 5.0  # seconds until a pool whose connections are all in use counts as a database that is away
DEADLOCK_TRIES = 6  # of one statement or transaction
UNUSABLE = "TILLSTREAM_DATABASE_URL can't be used: a part of it is wrong, or a file that it names can't be read."
STATEMENT_POOLING = (
    "Between Tillstream and its database stands a pooler that allows no transactions. Set its pool_mode to transaction "
    "or session, or give the server's own address as TILLSTREAM_DATABASE_URL."
)

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
T = TypeVar("T")


class DuplicateRowError(AppError):
    """A row with this key exists."""

    def __init__(self, constraint: str) -> None:
        """Take the name of the constraint that refused."""
        super().__init__()
        self.constraint = constraint


class RowInUseError(AppError):
    """Other rows refer to this one."""


class SecondConnectionError(RuntimeError):
    """Code within a transaction asks its pool for another connection: it has to use the one that it has."""


@dataclass(slots=True)
class _Held:
    """The connection that a task and those it has started hold for a transaction."""

    pool: Pool
    is_open: bool = True


_held: ContextVar[_Held | None] = ContextVar("held", default=None)


async def _past_deadlocks(call: Callable[[], Awaitable[T]]) -> T:
    """Return what `call` returns; when the server ended it for others to go on, call again at once."""
    for attempt in range(DEADLOCK_TRIES - 1):
        try:
            return await call()
        except asyncpg.DeadlockDetectedError:
            get_logger().warning("database_deadlock", attempt=attempt)
            await asyncio.sleep(pause_seconds(attempt, base=0.02, cap=0.5))
    return await call()


class _Pool(asyncpg.Pool):  # type: ignore[misc]
    """A pool that nobody waits for without an end, and whose single statements survive a deadlock."""

    def acquire(self, *, timeout: float | None = None) -> Any:
        """Lend a connection; raise `TimeoutError` when none is free for long."""
        held = _held.get()
        if held and held.pool is self and held.is_open:
            raise SecondConnectionError
        return super().acquire(timeout=ACQUIRE_TIMEOUT if timeout is None else timeout)

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> Any:
        return await _past_deadlocks(lambda: super(_Pool, self).execute(query, *args, timeout=timeout))

    async def executemany(self, command: str, args: Any, *, timeout: float | None = None) -> Any:
        return await _past_deadlocks(lambda: super(_Pool, self).executemany(command, args, timeout=timeout))

    async def fetch(self, *args: Any, **options: Any) -> Any:
        return await _past_deadlocks(lambda: super(_Pool, self).fetch(*args, **options))

    async def fetchval(self, *args: Any, **options: Any) -> Any:
        return await _past_deadlocks(lambda: super(_Pool, self).fetchval(*args, **options))

    async def fetchrow(self, *args: Any, **options: Any) -> Any:
        return await _past_deadlocks(lambda: super(_Pool, self).fetchrow(*args, **options))


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
    beat()
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


async def _prepare(session: Session) -> None:
    await session.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


def state_sessions(url: str) -> Sessions:
    """Return what opens sessions that see the schema `tillstream`; raise `ConfigError` for what is no address."""
    require_address(url)

    async def ways() -> Sequence[dict[str, Any]]:
        return [
            {
                "dsn": url,
                "timeout": CONNECT_TIMEOUT,
                "command_timeout": COMMAND_TIMEOUT,
                "server_settings": {"application_name": "tillstream"},
            }
        ]

    return Sessions(ways, search_path=SCHEMA, prepare=_prepare)


def require_address(url: str) -> None:
    """Raise `ConfigError` that quotes nothing of it if the state database's address does not parse."""
    try:
        check_address(url)
    except AddressError as error:
        raise ConfigError(f"TILLSTREAM_DATABASE_URL can't be used. {error}") from None


@contextmanager
def opening_errors() -> Iterator[None]:
    """Turn what goes wrong when a session of the state database is opened into ours.

    Raises `ConfigError` where waiting does not help, else `DatabaseUnavailableError`.
    """
    try:
        with database_errors():
            yield
    except (ValueError, DatabaseUnavailableError) as error:
        cause = error.__cause__ or error
        # Without the cause: it may quote the address.
        if isinstance(cause, ValueError) and not isinstance(cause, ssl.SSLError):
            raise ConfigError(UNUSABLE) from None
        if refuses_transactions(cause):
            raise ConfigError(STATEMENT_POOLING) from None
        raise


async def make_pool(url: str, *, max_size: int = 10) -> Pool:
    """Return a pool whose connections see the schema `tillstream`.

    Raises `DatabaseUnavailableError`, and `ConfigError` where the address or a pooler can't be used.
    """
    with opening_errors():
        return await state_sessions(url).pool(min_size=1, max_size=max_size, kind=_Pool)


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """Lend a connection inside one transaction; raise `DatabaseUnavailableError` when the database is away.

    Within it the pool lends no other: what is called there takes this one.
    """
    with database_errors():
        async with _begun(pool) as connection:
            yield connection


async def in_transaction(pool: Pool, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Return what `work` returns, run in one transaction; after a deadlock it begins anew, at once.

    Raises `DatabaseUnavailableError` when the database is away.
    """

    async def once() -> T:
        async with _begun(pool) as connection:
            return await work(connection)

    with database_errors():
        return await _past_deadlocks(once)


@asynccontextmanager
async def _begun(pool: Pool) -> AsyncIterator[Connection]:
    async with pool.acquire() as connection, connection.transaction():
        before, held = _held.get(), _Held(pool)
        _held.set(held)
        try:
            yield connection
        finally:
            held.is_open = False
            _held.set(before)


def migrations() -> list[tuple[int, str, str]]:
    """Return number, name and SQL of every migration, in order."""
    files = sorted(f.name for f in resources.files("shared.migrations").iterdir() if f.name.endswith(".sql"))
    return [
        (int(name[:4]), name, resources.files("shared.migrations").joinpath(name).read_text("utf-8")) for name in files
    ]


async def migrate(url: str) -> list[str]:
    """Bring the schema up to date; return the names of the files that were applied. Raises as `make_pool` does."""
    with opening_errors():
        connection = await state_sessions(url).open()
    with database_errors():
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
