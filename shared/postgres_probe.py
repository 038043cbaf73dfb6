"""Tries a Postgres address as the writer will use it, and says in plain words what is missing and how to fix it.

Everything that is made lies in one transaction that is rolled back: nothing is left behind, whatever happens.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import asyncpg
from pydantic import SecretStr

from shared.certificates import NEEDS_TLS
from shared.db import Connection
from shared.destination_sessions import destination_sessions
from shared.destinations import PostgresAddress
from shared.networks import ANYWHERE, NetworkRefusedError, Networks, resolve
from shared.postgres_faults import (
    Fault,
    explain_login,
    explain_statement,
    network_refused,
    no_tls,
    not_postgres,
    quote,
    too_slow,
)

OLDEST_POSTGRES = 14
TIME_LIMIT = 4.5  # seconds for all steps
REACH_TIMEOUT = 2.0  # seconds for the name, the TCP connection and the first byte
# https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)
HAS_TLS, NO_TLS = b"S", b"N"


@dataclass(frozen=True, slots=True)
class ProbeStep:
    """One thing that was tried. A failed one has a stable code and a fix; `sql` can be copied."""

    name: str
    passed: bool
    message: str
    code: str | None = None
    fix: str | None = None
    sql: str | None = None


class StepFailedError(Exception):
    """A step did not pass; it never leaves this module."""

    def __init__(self, fault: Fault) -> None:
        """Take what is wrong."""
        super().__init__(fault.message)
        self.fault = fault


async def probe(address: PostgresAddress, password: SecretStr, *, networks: Networks = ANYWHERE) -> list[ProbeStep]:
    """Return the steps reachable, login, version, schema, write and delete, up to the first that failed.

    It takes at most five seconds, raises nothing, and leaves nothing at the destination.
    """
    run = _Probe(address, password, networks)
    try:
        async with asyncio.timeout(TIME_LIMIT):
            await run.try_all()
    except TimeoutError:
        run.fail(too_slow(address))
    except StepFailedError as error:
        run.fail(error.fault)
    return run.steps


class _Probe:
    """The steps of one address."""

    def __init__(self, address: PostgresAddress, password: SecretStr, networks: Networks) -> None:
        self._address = address
        self._networks = networks
        self._password = password
        self._current = "reachable"
        self.steps: list[ProbeStep] = []

    async def try_all(self) -> None:
        """Try one step after the other; raise `StepFailedError` or `TimeoutError`."""
        place = f"{self._address.host}:{self._address.port}"
        await _reach(self._address, self._networks)
        self._pass(f"{place} answers.", following="login")
        async with _connected(self._address, self._password, self._networks) as db:
            self._pass(f"{self._address.user} may log in to {self._address.database}.", following="version")
            self._pass(_check_version(db), following="schema")
            with _statement_errors(self._address):
                await self._try_writing(db)

    async def _try_writing(self, db: Connection) -> None:
        schema, table = self._address.schema, f"tillstream_probe_{secrets.token_hex(8)}"
        qualified = f"{quote(schema)}.{quote(table)}"
        await db.execute("BEGIN; SET LOCAL client_min_messages = error")
        exists = await db.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = $1", schema)
        if not exists:
            await db.execute(f"CREATE SCHEMA {quote(schema)}")
        self._pass(f"The schema {schema} {'exists' if exists else 'can be made'}.", following="write")
        await db.execute(f"CREATE TABLE {qualified} (id text PRIMARY KEY, data jsonb)")
        await db.execute(f"INSERT INTO {qualified} VALUES ('1', '{{}}')")
        self._pass("A table can be made and written.", following="delete")
        await db.execute(f"DELETE FROM {qualified}; DROP TABLE {qualified}")
        self._pass("Rows and tables can be deleted.", following="")

    def fail(self, fault: Fault) -> None:
        """Note why the current step did not pass."""
        self.steps.append(ProbeStep(self._current, False, fault.message, fault.code, fault.fix, fault.sql))

    def _pass(self, message: str, *, following: str) -> None:
        self.steps.append(ProbeStep(self._current, True, message))
        self._current = following


async def _reach(address: PostgresAddress, networks: Networks) -> None:
    """Ask what listens whether it speaks Postgres, and TLS; raise `StepFailedError`."""
    place = f"{address.host}:{address.port}"
    try:
        async with asyncio.timeout(REACH_TIMEOUT):
            answer = await _greet(await resolve(address.host, address.port, networks), address.port)
    except NetworkRefusedError as error:
        raise StepFailedError(network_refused(address)) from error
    except (socket.gaierror, UnicodeError) as error:
        message = f"The name {address.host} is unknown."
        fix = "Check the host's spelling, and that this machine's DNS knows it."
        raise StepFailedError(Fault("destination_host_unknown", message, fix)) from error
    except TimeoutError as error:
        message = f"{place} did not answer within {REACH_TIMEOUT:g} seconds."
        fix = "Check host and port, that Postgres listens there, and whether a firewall lets this machine through."
        raise StepFailedError(Fault("destination_unreachable", message, fix)) from error
    except ConnectionResetError:
        answer = b""
    except OSError as error:
        message = f"Nothing listens at {place}."
        fix = "Check host and port, and that Postgres runs and listens on that address."
        raise StepFailedError(Fault("destination_unreachable", message, fix)) from error
    if answer not in (HAS_TLS, NO_TLS):
        raise StepFailedError(not_postgres(address))
    if answer == NO_TLS and address.sslmode in NEEDS_TLS:
        raise StepFailedError(no_tls(address))


async def _greet(hosts: Sequence[str], port: int) -> bytes:
    """Return the one byte in which Postgres says whether it has TLS; what speaks otherwise is no Postgres.

    The first of the hosts that takes a connection is asked.
    """
    *others, last = hosts
    for host in others:
        with suppress(OSError):
            return await _ask(host, port)
    return await _ask(last, port)


async def _ask(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(SSL_REQUEST)
        return await reader.read(1)
    finally:
        writer.close()


@asynccontextmanager
async def _connected(address: PostgresAddress, password: SecretStr, networks: Networks) -> AsyncIterator[Connection]:
    try:
        db = await destination_sessions(address, password, networks, connect_timeout=TIME_LIMIT).open()
    except NetworkRefusedError as error:
        raise StepFailedError(network_refused(address)) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, EOFError, ValueError) as error:
        if isinstance(error, TimeoutError):
            raise
        raise StepFailedError(explain_login(error, address)) from error
    try:
        yield db
    finally:
        db.terminate()  # an open transaction is rolled back by the server


@contextmanager
def _statement_errors(address: PostgresAddress) -> Iterator[None]:
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise StepFailedError(explain_statement(error, address)) from error


def _check_version(db: Connection) -> str:
    version = db.get_server_version()
    if version.major < OLDEST_POSTGRES:
        message = f"The server is Postgres {version.major}, which is too old."
        raise StepFailedError(Fault("destination_too_old", message, f"Use Postgres {OLDEST_POSTGRES} or newer."))
    return f"The server is Postgres {version.major}."
