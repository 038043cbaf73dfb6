"""Tries a Postgres address as the writer will use it, and says in plain words what is missing and how to fix it.

Everything that is made lies in one transaction that is rolled back: nothing is left behind, whatever happens.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
from pydantic import SecretStr

from shared.db import Connection
from shared.destinations import PostgresAddress

OLDEST_POSTGRES = 14
TIME_LIMIT = 4.5  # seconds for all steps
REACH_TIMEOUT = 2.0  # seconds for the name, the TCP connection and the first byte
# https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)
HAS_TLS, NO_TLS = b"S", b"N"
NEEDS_TLS = frozenset({"require", "verify-ca", "verify-full"})


@dataclass(frozen=True, slots=True)
class ProbeStep:
    """One thing that was tried. A failed one has a stable code and a fix; `sql` can be copied."""

    name: str
    passed: bool
    message: str
    code: str | None = None
    fix: str | None = None
    sql: str | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, why, and what to do."""

    code: str
    message: str
    fix: str
    sql: str | None = None


class StepFailedError(Exception):
    """A step did not pass; it never leaves this module."""

    def __init__(self, fault: Fault) -> None:
        """Take what is wrong."""
        super().__init__(fault.message)
        self.fault = fault


async def probe(address: PostgresAddress, password: SecretStr) -> list[ProbeStep]:
    """Return the steps reachable, login, version, schema, write and delete, up to the first that failed.

    It takes at most five seconds, raises nothing, and leaves nothing at the destination.
    """
    run = _Probe(address, password)
    try:
        async with asyncio.timeout(TIME_LIMIT):
            await run.try_all()
    except TimeoutError:
        run.fail(_too_slow(address))
    except StepFailedError as error:
        run.fail(error.fault)
    return run.steps


class _Probe:
    """The steps of one address."""

    def __init__(self, address: PostgresAddress, password: SecretStr) -> None:
        self._address = address
        self._password = password
        self._current = "reachable"
        self.steps: list[ProbeStep] = []

    async def try_all(self) -> None:
        """Try one step after the other; raise `StepFailedError` or `TimeoutError`."""
        place = f"{self._address.host}:{self._address.port}"
        await _reach(self._address)
        self._pass(f"{place} answers.", following="login")
        async with _connected(self._address, self._password) as db:
            self._pass(f"{self._address.user} may log in to {self._address.database}.", following="version")
            self._pass(_check_version(db), following="schema")
            await self._try_writing(db)

    async def _try_writing(self, db: Connection) -> None:
        schema, table = self._address.schema, f"tillstream_probe_{secrets.token_hex(8)}"
        qualified = f"{_quote(schema)}.{_quote(table)}"
        await self._execute(db, "BEGIN", "SET LOCAL client_min_messages = error")
        exists = await db.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = $1", schema)
        if not exists:
            await self._execute(db, f"CREATE SCHEMA {_quote(schema)}")
        self._pass(f"The schema {schema} {'exists' if exists else 'can be made'}.", following="write")
        await self._execute(
            db,
            f"CREATE TABLE {qualified} (id text PRIMARY KEY, data jsonb)",
            f"INSERT INTO {qualified} VALUES ('1', '{{}}')",
        )
        self._pass("A table can be made and written.", following="delete")
        await self._execute(db, f"DELETE FROM {qualified}", f"DROP TABLE {qualified}")
        self._pass("Rows and tables can be deleted.", following="")

    async def _execute(self, db: Connection, *statements: str) -> None:
        try:
            for statement in statements:
                await db.execute(statement)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise StepFailedError(_explain_statement(error, self._address)) from error

    def fail(self, fault: Fault) -> None:
        """Note why the current step did not pass."""
        self.steps.append(ProbeStep(self._current, False, fault.message, fault.code, fault.fix, fault.sql))

    def _pass(self, message: str, *, following: str) -> None:
        self.steps.append(ProbeStep(self._current, True, message))
        self._current = following


async def _reach(address: PostgresAddress) -> None:
    """Ask what listens whether it speaks Postgres, and TLS; raise `StepFailedError`."""
    place = f"{address.host}:{address.port}"
    try:
        async with asyncio.timeout(REACH_TIMEOUT):
            answer = await _greet(address)
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
        raise StepFailedError(_not_postgres(address))
    if answer == NO_TLS and address.sslmode in NEEDS_TLS:
        raise StepFailedError(_wrong_tls(address))


async def _greet(address: PostgresAddress) -> bytes:
    """Return the one byte in which Postgres says whether it has TLS; what speaks otherwise is no Postgres."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(SSL_REQUEST)
        return await reader.read(1)
    finally:
        writer.close()


@asynccontextmanager
async def _connected(address: PostgresAddress, password: SecretStr) -> AsyncIterator[Connection]:
    try:
        db = await asyncpg.connect(
            host=address.host,
            port=address.port,
            database=address.database,
            user=address.user,
            password=password.get_secret_value(),
            ssl=address.sslmode,
            timeout=TIME_LIMIT,
            server_settings={"application_name": "tillstream"},
        )
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, EOFError, ValueError) as error:
        if isinstance(error, TimeoutError):
            raise
        raise StepFailedError(_explain_login(error, address)) from error
    try:
        yield db
    finally:
        db.terminate()  # an open transaction is rolled back by the server


def _check_version(db: Connection) -> str:
    version = db.get_server_version()
    if version.major < OLDEST_POSTGRES:
        message = f"The server is Postgres {version.major}, which is too old."
        raise StepFailedError(Fault("destination_too_old", message, f"Use Postgres {OLDEST_POSTGRES} or newer."))
    return f"The server is Postgres {version.major}."


def _explain_login(error: BaseException, address: PostgresAddress) -> Fault:
    """Return why logging in failed; Postgres' own text may quote what was sent, so only its code counts."""
    state = getattr(error, "sqlstate", None) or ""
    if explain := LOGIN_FAULTS.get(state):
        return explain(address)
    if isinstance(error, ssl.SSLError):
        return _wrong_tls(address)
    if state:
        return Fault(
            "destination_refused",
            f"Postgres refused the connection with its code {state}.",
            "The server's log has the reason; try again once it is mended.",
        )
    return _not_postgres(address)


def _explain_statement(error: BaseException, address: PostgresAddress) -> Fault:
    state = getattr(error, "sqlstate", None) or ""
    if explain := STATEMENT_FAULTS.get(state):
        return explain(address)
    return Fault(
        "destination_refused",
        f"Postgres refused to write with its code {state or type(error).__name__}.",
        "The server's log has the reason; try again once it is mended.",
    )


def _not_postgres(address: PostgresAddress) -> Fault:
    return Fault(
        "destination_not_postgres",
        f"What answers at {address.host}:{address.port} does not speak Postgres' protocol.",
        "Check the port: Postgres listens on 5432 unless it was told otherwise.",
    )


def _wrong_tls(address: PostgresAddress) -> Fault:
    return Fault(
        "destination_tls",
        f"The server's TLS does not fit sslmode={address.sslmode}.",
        "Check the server's certificate, or choose another sslmode at the end of the address.",
    )


def _too_slow(address: PostgresAddress) -> Fault:
    return Fault(
        "destination_too_slow",
        f"{address.host}:{address.port} did not finish within five seconds.",
        "Check that this is Postgres, that it is not overloaded, and that no other session holds locks for long.",
    )


def _wrong_password(address: PostgresAddress) -> Fault:
    return Fault(
        "destination_login_failed",
        f"Postgres refused the password of {address.user}.",
        "Check user and password; characters such as @ : / in them have to be percent-encoded.",
    )


def _not_allowed_in(address: PostgresAddress) -> Fault:
    return Fault(
        "destination_login_failed",
        f"Postgres does not let {address.user} log in to {address.database} from this machine.",
        "Check that the user exists and may log in, and that pg_hba.conf allows this machine.",
        f"ALTER ROLE {_quote(address.user)} LOGIN;",
    )


def _no_database(address: PostgresAddress) -> Fault:
    return Fault(
        "destination_database_missing",
        f"There is no database {address.database}.",
        "Check the database's name, or make it.",
        f"CREATE DATABASE {_quote(address.database)} OWNER {_quote(address.user)};",
    )


def _no_connect(address: PostgresAddress) -> Fault:
    return Fault(
        "destination_no_rights",
        f"{address.user} may not connect to the database {address.database}.",
        "Let an administrator of the database run:",
        f"GRANT CONNECT ON DATABASE {_quote(address.database)} TO {_quote(address.user)};",
    )


def _busy(_address: PostgresAddress) -> Fault:
    return Fault(
        "destination_busy",
        "Postgres takes no more connections at the moment.",
        "Try again in a minute, or raise max_connections.",
    )


def _no_rights(address: PostgresAddress) -> Fault:
    schema, user = _quote(address.schema), _quote(address.user)
    return Fault(
        "destination_no_rights",
        f"{address.user} may not make the schema {address.schema} and tables in it.",
        "Let an administrator of the database run:",
        f"CREATE SCHEMA IF NOT EXISTS {schema}; GRANT USAGE, CREATE ON SCHEMA {schema} TO {user};",
    )


def _read_only(address: PostgresAddress) -> Fault:
    return Fault(
        "destination_read_only",
        f"The database {address.database} can only be read.",
        "Give the address of the primary server, not of a replica, and of a user who may write.",
    )


# By SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
Explain = Callable[[PostgresAddress], Fault]
LOGIN_FAULTS: dict[str, Explain] = {
    "28P01": _wrong_password,
    "28000": _not_allowed_in,
    "3D000": _no_database,
    "42501": _no_connect,
    "53300": _busy,
    "57P03": _busy,
}
STATEMENT_FAULTS: dict[str, Explain] = {"42501": _no_rights, "25006": _read_only}


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
