"""What can be wrong with a Postgres destination: each fault's stable code, its sentence, its fix, and the SQL to copy.

Postgres' own messages may quote what was sent, so only its codes count.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from shared.destinations import PostgresAddress
from shared.postgres_sessions import refuses_transactions

NEEDS_TLS = frozenset({"require", "verify-ca", "verify-full"})


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, why, and what to do."""

    code: str
    message: str
    fix: str
    sql: str | None = None


def explain_login(error: BaseException, address: PostgresAddress) -> Fault:
    """Return why logging in failed at what had greeted like Postgres."""
    state = getattr(error, "sqlstate", None) or ""
    if explain := LOGIN_FAULTS.get(state):
        return explain(address)
    if isinstance(error, ssl.SSLError) or (not state and address.sslmode in NEEDS_TLS):
        return wrong_tls(address)
    if state:
        return Fault(
            "destination_refused",
            f"Postgres refused the connection with its code {state}.",
            "The server's log has the reason; try again once it is mended.",
        )
    return not_postgres(address)


def explain_statement(error: BaseException, address: PostgresAddress) -> Fault:
    """Return why a statement of the probe failed."""
    if refuses_transactions(error):
        return Fault(
            "destination_pooler",
            f"{address.host}:{address.port} is a pooler that allows no transactions.",
            "Set its pool_mode to transaction or session, or give the address of the server itself.",
        )
    state = getattr(error, "sqlstate", None) or ""
    if explain := STATEMENT_FAULTS.get(state):
        return explain(address)
    return Fault(
        "destination_refused",
        f"Postgres refused to write with its code {state or type(error).__name__}.",
        "The server's log has the reason; try again once it is mended.",
    )


def not_postgres(address: PostgresAddress) -> Fault:
    """Return that something else listens."""
    return Fault(
        "destination_not_postgres",
        f"What answers at {address.host}:{address.port} does not speak Postgres' protocol.",
        "Check the port: Postgres listens on 5432 unless it was told otherwise.",
    )


def wrong_tls(address: PostgresAddress) -> Fault:
    """Return that TLS was wanted or checked in vain."""
    return Fault(
        "destination_tls",
        f"The server's TLS does not fit sslmode={address.sslmode}.",
        "Check the server's certificate, or choose another sslmode at the end of the address.",
    )


def too_slow(address: PostgresAddress) -> Fault:
    """Return that the time for all steps was over."""
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
        f"ALTER ROLE {quote(address.user)} LOGIN;",
    )


def _no_database(address: PostgresAddress) -> Fault:
    return Fault(
        "destination_database_missing",
        f"There is no database {address.database}.",
        "Check the database's name, or make it.",
        f"CREATE DATABASE {quote(address.database)} OWNER {quote(address.user)};",
    )


def _no_connect(address: PostgresAddress) -> Fault:
    return Fault(
        "destination_no_rights",
        f"{address.user} may not connect to the database {address.database}.",
        "Let an administrator of the database run:",
        f"GRANT CONNECT ON DATABASE {quote(address.database)} TO {quote(address.user)};",
    )


def _busy(_address: PostgresAddress) -> Fault:
    return Fault(
        "destination_busy",
        "Postgres takes no more connections at the moment.",
        "Try again in a minute, or raise max_connections.",
    )


def _no_rights(address: PostgresAddress) -> Fault:
    schema, user = quote(address.schema), quote(address.user)
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


def quote(name: str) -> str:
    """Return the name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
