"""Checks whether this machine can run Tillstream; each answers with a sentence, and a fix where one is needed.

No sentence holds a password: servers are named by host and port.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil  # type: ignore[import-untyped]

from local_stack.java import FIX, OLDEST, bundled_java, find_java
from local_stack.kafka import coordinates_groups
from local_stack.ports import LOOPBACK, choose_ports
from local_stack.readiness import tcp_ready
from local_stack.storage import ADVISED_FREE_BYTES, existing_part, free_bytes
from shared.db import STATEMENT_POOLING, require_address, state_sessions
from shared.errors import ConfigError
from shared.postgres_sessions import refuses_transactions

OLDEST_PYTHON = (3, 11)
OLDEST_POSTGRES = 14
ADVISED_MEMORY_BYTES = 1024**3
ADVISED_SKEW = 5.0  # seconds
LARGEST_SKEW = 300.0  # seconds; beyond it Stripe's signatures look too old or too new
TIMEOUT = 5.0  # seconds, for each server
GIB = 1024**3
NOT_CHECKED = "Not checked, since no address is given: the local stack starts its own."


class Outcome(StrEnum):
    """How a check went: `warn` may trouble later, `fail` must be fixed first, `unknown` could not be checked."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """The answer of one check; `fix` is empty when all is well."""

    name: str
    outcome: Outcome
    sentence: str
    fix: str = ""


async def examine(
    home: Path,
    environ: Mapping[str, str],
    *,
    database_url: str | None = None,
    kafka_bootstrap_servers: str | None = None,
) -> list[Check]:
    """Return all checks; a server without an address is one that the local stack would start."""
    clock, postgres = await asyncio.gather(database_clock(database_url), check_postgres(database_url))
    return [
        check_python(sys.version_info[:3]),
        await asyncio.to_thread(check_java, environ, bundled_java()),
        check_home(home),
        check_disk(home, free_bytes(home)),
        check_memory(psutil.virtual_memory().available),
        check_ports(),
        check_clock(clock, datetime.now(UTC)),
        postgres,
        await check_kafka(kafka_bootstrap_servers),
    ]


def check_python(version: tuple[int, ...]) -> Check:
    """Judge the interpreter's version."""
    found = f"Python {'.'.join(map(str, version))}."
    if version >= OLDEST_PYTHON:
        return Check("Python", Outcome.OK, found)
    return Check("Python", Outcome.FAIL, found, "Install Python 3.11 or newer.")


def check_java(environ: Mapping[str, str], bundled: Path | None) -> Check:
    """Look for a Java that can run the local Kafka."""
    try:
        java = find_java(environ, bundled)
    except ConfigError:
        missing = f"No Java {OLDEST} or newer was found, which the local Kafka needs."
        return Check("Java", Outcome.WARN, missing, FIX)
    return Check("Java", Outcome.OK, f"Java {java.version} at {java.program}.")


def check_home(home: Path) -> Check:
    """Try to write to the home folder."""
    try:
        with tempfile.TemporaryFile(dir=existing_part(home)):
            return Check("Home folder", Outcome.OK, f"{home} can be written.")
    except OSError as error:
        fix = "Give yourself write access to it, or set TILLSTREAM_HOME to a folder of yours."
        return Check("Home folder", Outcome.FAIL, f"{home} can't be written: {error.strerror}.", fix)


def check_disk(home: Path, free: int) -> Check:
    """Judge the free bytes of the disk under the home folder."""
    found = f"{free / GIB:.1f} GB are free on the disk of {home}."
    if free >= ADVISED_FREE_BYTES:
        return Check("Disk", Outcome.OK, found)
    fix = "Free at least 2 GB there, or set TILLSTREAM_HOME to a folder on another disk."
    return Check("Disk", Outcome.FAIL, found, fix)


def check_memory(available: int) -> Check:
    """Judge the bytes of memory that programs can still get."""
    found = f"{available / GIB:.1f} GB of memory are available."
    if available >= ADVISED_MEMORY_BYTES:
        return Check("Memory", Outcome.OK, found)
    return Check("Memory", Outcome.WARN, found, "Close other programs: the local stack needs about 1 GB.")


def check_ports() -> Check:
    """Try to listen on the loopback address."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            choose_ports(Path(folder) / "ports.json", ("any",))
    except ConfigError as error:
        return Check("Loopback", Outcome.FAIL, error.message, "Bring up the loopback interface.")
    return Check("Loopback", Outcome.OK, f"Servers can listen on {LOOPBACK}.")


def check_clock(reference: datetime | None, now: datetime) -> Check:
    """Compare our clock with one from elsewhere, if there is any."""
    if reference is None:
        return Check("Clock", Outcome.UNKNOWN, "The clock was not compared: no other clock is at hand.")
    skew = abs((now - reference).total_seconds())
    found = f"This machine's clock and the database's differ by {skew:.1f} s."
    if skew <= ADVISED_SKEW:
        return Check("Clock", Outcome.OK, found)
    outcome = Outcome.WARN if skew <= LARGEST_SKEW else Outcome.FAIL
    return Check("Clock", outcome, found, "Turn on time synchronisation (NTP) on both machines.")


async def check_postgres(url: str | None) -> Check:
    """Ask the database for its version."""
    if not url:
        return Check("Postgres", Outcome.UNKNOWN, NOT_CHECKED)
    try:
        require_address(url)
    except ConfigError as error:
        return Check("Postgres", Outcome.FAIL, error.message)
    try:
        connection = await state_sessions(url).open()
        async with connection.transaction():
            await connection.fetchval("SELECT 1")
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if refuses_transactions(error):
            return Check("Postgres", Outcome.FAIL, STATEMENT_POOLING)
        fix = "Check TILLSTREAM_DATABASE_URL, and that the server runs and lets you in."
        return Check("Postgres", Outcome.FAIL, _why_not(url, error), fix)
    version = connection.get_server_version()
    await connection.close()
    found = f"PostgreSQL {version.major}.{version.minor} answers at {address_of(url)}."
    if version.major >= OLDEST_POSTGRES:
        return Check("Postgres", Outcome.OK, found)
    return Check("Postgres", Outcome.FAIL, found, f"Use PostgreSQL {OLDEST_POSTGRES} or newer.")


async def check_kafka(bootstrap_servers: str | None) -> Check:
    """Ask the broker who coordinates consumer groups."""
    if not bootstrap_servers:
        return Check("Kafka", Outcome.UNKNOWN, NOT_CHECKED)
    if await _kafka_answers(bootstrap_servers):
        return Check("Kafka", Outcome.OK, f"Kafka answers at {bootstrap_servers}.")
    fix = "Check TILLSTREAM_KAFKA_BOOTSTRAP_SERVERS, and that the broker runs."
    return Check("Kafka", Outcome.FAIL, f"Kafka does not answer at {bootstrap_servers}.", fix)


async def database_clock(url: str | None) -> datetime | None:
    """Return the time by the database's clock; None if it can't be had."""
    if not url:
        return None
    try:
        connection = await state_sessions(url).open()
        try:
            now: datetime = await connection.fetchval("SELECT clock_timestamp()")
        finally:
            await connection.close()
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError, ConfigError):
        return None
    return now


async def _kafka_answers(bootstrap_servers: str) -> bool:
    addresses = [server.rpartition(":") for server in bootstrap_servers.split(",")]
    # First without the client, which would write its own complaint to the terminal.
    listening = [await tcp_ready(host, int(port))() for host, _, port in addresses if port.isdigit()]
    if not any(listening):
        return False
    try:
        async with asyncio.timeout(TIMEOUT):
            return await coordinates_groups(bootstrap_servers)
    except TimeoutError:
        return False


def address_of(url: str) -> str:
    """Return host, port and database of a database's address, without user and password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 5432}{parts.path}"


def _why_not(url: str, error: Exception) -> str:
    match error:
        case asyncpg.InvalidAuthorizationSpecificationError():
            reason = "refuses the user or the password"
        case asyncpg.InvalidCatalogNameError():
            reason = "has no such database"
        case _:
            reason = "does not answer"
    return f"Postgres at {address_of(url)} {reason}."
