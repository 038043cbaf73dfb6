"""Reads what lies in a Postgres destination, for a person who looks at it: read-only, few rows, a short time.

Each reading has a session of its own, in one transaction that can't write. So a statement sees one state of the rows,
and nothing of it stays behind a pooler either.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

import asyncpg
from pydantic import SecretStr

from shared.db import Connection
from shared.destination_sessions import destination_sessions
from shared.destinations import PostgresAddress
from shared.errors import DestinationUnavailableError, RejectedError, TransientError
from shared.networks import ANYWHERE, Networks
from shared.postgres_errors import MISSING_TABLE, destination_errors
from shared.postgres_tables import quote

TIME_LIMIT = 2.0  # seconds that a statement may take, and as many to reach the server
MOST_ROWS = 100
AT_ONCE = 4  # readings: a person waits for one, and destinations have other things to do

# A search path of one's own, so that a name without a schema means the destination's; times are read in UTC.
BEGIN = "SET LOCAL statement_timeout = {limit}; SET LOCAL TIME ZONE 'UTC'; SET LOCAL search_path = {schema}"


class ReadTooSlowError(TransientError):
    """The destination did not answer within two seconds."""

    code = "destination_too_slow"


class NotReadableError(RejectedError):
    """The destination's user may not read this table. Grant it SELECT on the schema's tables."""

    code = "destination_not_readable"
    status = 422


class NoTableError(RejectedError):
    """The destination has no such table yet. Tillstream makes it when the first rows are written."""

    code = "destination_table_missing"
    status = 404


class Read(Protocol):
    """Reads with one statement."""

    async def __call__(self, sql: str, *values: Any) -> Sequence[Mapping[str, Any]]:
        """Return at most `MOST_ROWS` rows, and one more where there are more."""


class Reader:
    """Opens readings, a few at a time; the others wait for their turn."""

    def __init__(self, networks: Networks = ANYWHERE, *, at_once: int = AT_ONCE) -> None:
        """`networks` are those in which a destination may lie."""
        self._networks = networks
        self._turns = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def open(self, address: PostgresAddress, password: SecretStr) -> AsyncIterator[Read]:
        """Yield what reads at the address. A statement that would write is refused by the server.

        Opening and reading raise `ReadTooSlowError`, `NotReadableError`, `NoTableError`, `DestinationUnavailableError`
        and `DestinationRejectedError`.
        """
        async with self._turns:
            with reading_errors():
                async with asyncio.timeout(TIME_LIMIT):
                    sessions = destination_sessions(address, password, self._networks, connect_timeout=TIME_LIMIT)
                    db = await sessions.open()
            try:
                with reading_errors():
                    async with db.transaction(readonly=True):
                        await db.execute(BEGIN.format(limit=int(TIME_LIMIT * 1000), schema=quote(address.schema)))
                        yield _reading(db)
            finally:
                db.terminate()


def _reading(db: Connection) -> Read:
    async def read(sql: str, *values: Any) -> Sequence[Mapping[str, Any]]:
        with reading_errors():
            # The server ends a statement that takes too long; a silent one is given up a little later.
            async with asyncio.timeout(2 * TIME_LIMIT):
                cursor = await db.cursor(sql, *values)
                return [dict(row) for row in await cursor.fetch(MOST_ROWS + 1)]

    return read


@contextmanager
def reading_errors() -> Iterator[None]:
    """Turn what goes wrong at the server into errors that say what a person can do."""
    try:
        yield
    except (asyncpg.QueryCanceledError, TimeoutError) as error:
        raise ReadTooSlowError from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise NotReadableError from error
    except asyncpg.PostgresError as error:
        if error.sqlstate in MISSING_TABLE:
            raise NoTableError from error
        with destination_errors():
            raise
    except OSError as error:
        raise DestinationUnavailableError(f"The destination does not answer: {type(error).__name__}.") from error
