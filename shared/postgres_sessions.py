"""Sessions at a Postgres, with nothing relied on that a session holds where the session may not be ours.

A pooler such as PgBouncer in transaction mode lends another session of the server for each transaction. What one of
them holds (a prepared statement, a setting, a lock of the session) is not in the next, or is somebody else's there: a
statement of the same name may be another one. So behind a pooler every statement is unnamed and lies in a transaction,
and what a transaction needs it sets itself. At the server itself statements are prepared once, which is quicker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

CONNECT_TIMEOUT = 5.0  # seconds
MAX_QUERIES, IDLE_LIFETIME = 50_000, 300.0  # of a session; seconds. asyncpg's defaults
NAMES_LOST = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)
# A server may let somebody in with TLS alone, or without it alone.
WRONG_WAY = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.ProtocolViolationError,  # PgBouncer's
)
NO_TRANSACTIONS = "statement pooling"  # in the words in which PgBouncer refuses them
WHO_ANSWERS = "SELECT pg_backend_pid()"


class Session(asyncpg.Connection):  # type: ignore[misc]
    """A connection; behind a pooler each of its statements is unnamed and lies in a transaction."""

    is_shared = False
    begins_with = ""  # SQL of each transaction's beginning
    on_lost: Callable[[], Awaitable[None]] | None = None

    def get_reset_query(self) -> str:
        """Return nothing: a session is given back as it was lent, so that no round trip is needed."""
        return ""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """Execute a statement, or several that take no arguments."""
        if query.startswith("BEGIN"):  # asyncpg's transactions begin by this method
            return str(await super().execute(query + self.begins_with, timeout=timeout))
        async with self.whole():
            return str(await super().execute(query, *args, timeout=timeout))

    async def executemany(self, command: str, args: Any, *, timeout: float | None = None) -> None:
        """Execute a statement for each of the arguments."""
        async with self.whole():
            await super().executemany(command, args, timeout=timeout)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        """Return the rows."""
        async with self.whole():
            return await super().fetch(query, *args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        """Return the first row, or None."""
        async with self.whole():
            return await super().fetchrow(query, *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        """Return a value of the first row, or None."""
        async with self.whole():
            return await super().fetchval(query, *args, **options)

    @asynccontextmanager
    async def whole(self) -> AsyncIterator[None]:
        """Keep the messages of a statement at one session of the server."""
        try:
            if self.is_shared and not self.is_in_transaction():
                async with self.transaction():
                    yield
            else:
                yield
        except NAMES_LOST:
            if self.on_lost:
                await self.on_lost()
            raise


class Sessions:
    """Opens sessions at one place; once it was seen that they are shared there, they are taken as shared."""

    def __init__(
        self,
        ways: Callable[[], Awaitable[Sequence[Mapping[str, Any]]]],
        *,
        search_path: str = "",
        prepare: Callable[[Session], Awaitable[None]] | None = None,
    ) -> None:
        """`ways` gives asyncpg's arguments of each way that is tried; `prepare` makes a session ready."""
        self._ways = ways
        self._search_path = search_path
        self._prepare = prepare
        self._pools: list[asyncpg.Pool] = []
        self.is_shared = False

    async def open(self) -> Session:
        """Return a new session; raises what asyncpg raises."""
        session = await self._connect()
        try:
            if not self.is_shared and await _is_pooled(session):
                self.is_shared = True
                session.terminate()
                session = await self._connect()
            await self._make_ready(session)
        except BaseException:
            session.terminate()
            raise
        return session

    async def pool(self, *, min_size: int, max_size: int, kind: type[asyncpg.Pool] = asyncpg.Pool) -> asyncpg.Pool:
        """Return a pool of sessions, of a class of one's own; raises what asyncpg raises."""
        pool = await kind(
            min_size=min_size,
            max_size=max_size,
            max_queries=MAX_QUERIES,
            max_inactive_connection_lifetime=IDLE_LIFETIME,
            connect=lambda *_, **__: self.open(),
            connection_class=Session,
            record_class=asyncpg.Record,
            loop=asyncio.get_running_loop(),
        )
        self._pools.append(pool)
        return pool

    async def _connect(self) -> Session:
        """Try one way after the other, as long as it is the way that may be at fault."""
        cache = {"statement_cache_size": 0} if self.is_shared else {}
        *others, last = await self._ways()
        for way in others:
            try:
                return await _open(way, cache)
            except (OSError, *WRONG_WAY) as error:
                if isinstance(error, TimeoutError | asyncpg.InvalidPasswordError):
                    raise
        return await _open(last, cache)

    async def _make_ready(self, session: Session) -> None:
        session.is_shared = self.is_shared
        session.on_lost = self._expire
        if self._search_path and self.is_shared:
            session.begins_with = f" SET LOCAL search_path = {self._search_path};"
        elif self._search_path:
            await session.execute(f"SET search_path = {self._search_path}")
        if self._prepare:
            async with session.whole():
                await self._prepare(session)

    async def _expire(self) -> None:
        """Replace every open session as it comes back: names were lost, so these sessions are not ours."""
        self.is_shared = True
        for pool in self._pools:
            await pool.expire_connections()


async def _open(way: Mapping[str, Any], cache: Mapping[str, int]) -> Session:
    session: Session = await asyncpg.connect(connection_class=Session, **way, **cache)
    return session


async def _is_pooled(session: Session) -> bool:
    """Tell whether another process of the server answers than the one that greeted, as far as it said so.

    A pooler greets with a number of its own. COPY needs no prepared statement, so it leaves nothing behind.
    """
    said = bytearray()

    async def take(data: Sequence[int]) -> None:
        said.extend(data)

    await session.copy_from_query(WHO_ANSWERS, output=take, timeout=CONNECT_TIMEOUT)
    return int(said) != int(session.get_server_pid())


def refuses_transactions(error: BaseException) -> bool:
    """Tell whether a pooler says that it lends a session for one statement alone, where nothing of ours can work."""
    return isinstance(error, asyncpg.PostgresError) and NO_TRANSACTIONS in str(error)
