"""Tries a Postgres address as the writer will use it, and says in plain words what is missing and how to fix it.

Everything that is made lies in one transaction that is rolled back: nothing is left behind, whatever happens.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import asyncpg
from pydantic import SecretStr

from shared.certificates import NEEDS_TLS
from shared.db import Connection, affected
from shared.destination_sessions import destination_sessions
from shared.destinations import PostgresAddress
from shared.errors import DestinationRejectedError, DestinationUnavailableError
from shared.networks import ANYWHERE, NetworkRefusedError, Networks, resolve
from shared.postgres_errors import destination_errors
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
from shared.postgres_mark import SETUP_LOCK, Claimant, Rival, claim, find_rival
from shared.postgres_survey import Survey, look, merge, row_security_fault
from shared.postgres_tables import MARK, ROW_TABLES, TOMBSTONES, WRITTEN_WITH, create_sql

OLDEST_POSTGRES = 14
TIME_LIMIT = 4.5  # seconds for all steps
REACH_TIMEOUT = 2.0  # seconds for the name, the TCP connection and the first byte
# https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)
NEEDED = (*ROW_TABLES.values(), MARK)
EVERY_TABLE = (*NEEDED, TOMBSTONES)
PROBED = "tillstream_probe"  # no account of Stripe is called so
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


async def probe(
    address: PostgresAddress,
    password: SecretStr,
    claimant: Claimant | None = None,
    *,
    take_over: bool = False,
    networks: Networks = ANYWHERE,
) -> list[ProbeStep]:
    """Return the steps from reachable to delete, up to the first that failed.

    `claimant` is who wants to write there: a schema that another one fills fails, unless it is taken over. It takes at
    most five seconds and leaves nothing at the destination. Raises `DatabaseUnavailableError` when the claimant's
    registry does.
    """
    run = _Probe(address, password, claimant, networks, take_over=take_over)
    try:
        async with asyncio.timeout(TIME_LIMIT):
            await run.try_all()
    except TimeoutError:
        run.fail(too_slow(address))
    except StepFailedError as error:
        run.fail(error.fault)
    return run.steps


async def claim_place(
    address: PostgresAddress,
    password: SecretStr,
    claimant: Claimant,
    *,
    take_over: bool = False,
    networks: Networks = ANYWHERE,
) -> Rival | None:
    """Leave the claimant's mark at a place that passed its probe; return who stands in the way, if anybody does.

    Raises `DestinationUnavailableError` when the place can't be marked now; a writer does it later.
    """
    try:
        async with asyncio.timeout(TIME_LIMIT), _connected(address, password, networks) as db:
            with destination_errors():
                async with db.transaction():
                    return await claim(db, address.schema, claimant, take_over=take_over)
    except (TimeoutError, StepFailedError, DestinationRejectedError) as error:
        raise DestinationUnavailableError("The destination can't be marked at the moment.") from error


class _Probe:
    """The steps of one address."""

    def __init__(
        self,
        address: PostgresAddress,
        password: SecretStr,
        claimant: Claimant | None,
        networks: Networks,
        *,
        take_over: bool,
    ) -> None:
        self._address = address
        self._networks = networks
        self._password = password
        self._claimant = claimant
        self._take_over = take_over
        self._current = "reachable"
        self.steps: list[ProbeStep] = []

    async def try_all(self) -> None:
        """Try one step after the other; raise `StepFailedError` or `TimeoutError`."""
        place = f"{self._address.host}:{self._address.port}"
        await _reach(self._address, self._networks)
        self._pass(f"{place} answers.", following="login")
        async with _connected(self._address, self._password, self._networks) as db:
            self._pass(f"{self._address.user} may log in to {self._address.database}.", following="version")
            self._pass(_check_version(db), following="settings")
            with _statement_errors(self._address):
                await db.execute("BEGIN; SET LOCAL client_min_messages = error")
                await self._look_around(db)

    async def _look_around(self, db: Connection) -> None:
        survey = await self._survey(db)
        _require_none(survey.place_fault())
        self._pass("The database keeps text in UTF8, and lets statements run long enough.", following="schema")
        if not survey.has_schema:
            await db.execute(f"CREATE SCHEMA {quote(survey.schema)}")
        made = "exists" if survey.has_schema else "can be made"
        self._pass(f"The schema {survey.schema} {made}.", following="tables")
        _require_none(merge(survey, survey.table_faults(EVERY_TABLE)))
        there = len([name for name in survey.relations if name in ROW_TABLES])
        self._pass(
            f"{there} tables of Tillstream are there, and whole." if there else "No table is in the way.",
            following="owner",
        )
        await self._require_free(db)
        self._pass("Nobody else fills this schema.", following="write")
        await self._try_writing(db, survey)

    async def _survey(self, db: Connection) -> Survey:
        survey = await look(db, self._address.schema, EVERY_TABLE)
        if survey.has_schema and not survey.missing(NEEDED):
            return survey
        # A writer may be making them: what is tried then would clash with it.
        await db.execute("SELECT pg_advisory_xact_lock($1)", SETUP_LOCK)
        return await look(db, self._address.schema, EVERY_TABLE)

    async def _require_free(self, db: Connection) -> None:
        if self._claimant and not self._take_over:
            rival = await find_rival(db, self._address.schema, self._claimant)
            _require_none(rival.fault(self._address.schema) if rival else None)

    async def _try_writing(self, db: Connection, survey: Survey) -> None:
        """Make a table if any is missing, and write a row that nobody sees to it and to those with policies."""
        if missing := survey.missing(NEEDED):
            await db.execute(";\n".join(create_sql(survey.schema, missing[0])))
        tables = [missing[0].name] if missing and missing[0] is not MARK else [next(iter(ROW_TABLES))]
        guarded = [one.name for one in survey.relations.values() if one.has_row_security and one.name in ROW_TABLES]
        refused = [table for table in dict.fromkeys([*guarded, *tables]) if not await _takes_rows(db, survey, table)]
        _require_none(merge(survey, [row_security_fault(survey, table) for table in refused]))
        self._pass("Tables can be made and written.", following="delete")
        for table in tables:
            await db.execute(f"DELETE FROM {quote(survey.schema)}.{quote(table)} WHERE _account = '{PROBED}'")
        self._pass("Rows can be deleted.", following="")

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


async def _takes_rows(db: Connection, survey: Survey, table: str) -> bool:
    """Tell whether a row can be written, seen and changed; what forbids it is row-level security."""
    name, parent = f"{quote(survey.schema)}.{quote(table)}", WRITTEN_WITH[table] != table
    columns, values = ("_parent, ", "'', ") if parent else ("", "")
    await db.execute("SAVEPOINT untouched")
    try:
        await db.execute(
            f"INSERT INTO {name} (_account, _livemode, id, {columns}data, _stamp, _listed) "
            f"VALUES ('{PROBED}', false, '{PROBED}', {values}'{{}}', 0, true)"
        )
        changed = await db.execute(f"UPDATE {name} SET _stamp = 1 WHERE _account = '{PROBED}'")
    except asyncpg.InsufficientPrivilegeError:
        if table not in survey.relations:
            raise
        await db.execute("ROLLBACK TO SAVEPOINT untouched")
        return False
    return affected(changed) == 1


def _require_none(fault: Fault | None) -> None:
    if fault:
        raise StepFailedError(fault)


def _check_version(db: Connection) -> str:
    version = db.get_server_version()
    if version.major < OLDEST_POSTGRES:
        message = f"The server is Postgres {version.major}, which is too old."
        raise StepFailedError(Fault("destination_too_old", message, f"Use Postgres {OLDEST_POSTGRES} or newer."))
    return f"The server is Postgres {version.major}."
