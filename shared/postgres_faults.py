"""What can be wrong with a Postgres destination: each fault's stable code, its sentence, its fix, and the SQL to copy.

Postgres' own messages may quote what was sent, so only its codes count.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from shared.certificates import EXPIRED, NEEDS_TLS, UNKNOWN_CA, WRONG_NAME
from shared.destinations import PostgresAddress
from shared.postgres_sessions import refuses_transactions


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
    if isinstance(error, ssl.SSLCertVerificationError):
        return wrong_certificate(error.verify_code, address)
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


def network_refused(_address: PostgresAddress) -> Fault:
    """Return that the host may not be reached: one answer, whatever is there."""
    return Fault(
        "destination_network_refused",
        "Rows may not be sent to the network in which this host lies.",
        "Choose another host, or let whoever runs Tillstream allow its network with TILLSTREAM_DESTINATION_NETWORKS.",
    )


def no_tls(address: PostgresAddress) -> Fault:
    """Return that the server has no TLS where it is needed."""
    return Fault(
        "destination_tls",
        f"The server at {address.host}:{address.port} has no TLS, which sslmode={address.sslmode} asks for.",
        "Turn on TLS at the server (ssl = on). Only if the network between is your own, write ?sslmode=disable at the "
        "end of the address.",
    )


def wrong_tls(address: PostgresAddress) -> Fault:
    """Return that TLS could not be agreed on."""
    return Fault(
        "destination_tls",
        f"No session with TLS could be opened at {address.host}:{address.port}.",
        "Check that the server, or what stands before it, takes TLS 1.2 or newer.",
    )


def wrong_certificate(verify_code: int, address: PostgresAddress) -> Fault:
    """Return why a certificate did not pass, by OpenSSL's code; a CA that is not known is no fault of the server."""
    if verify_code in UNKNOWN_CA:
        known = "the given CA has not signed" if address.ca else "no CA is known here that has signed"
        return Fault(
            "destination_ca_unknown",
            f"sslmode={address.sslmode} checks the server's certificate, and {known} it.",
            "Give the certificate of the server's CA, in PEM, with the destination; your provider offers it for "
            "download.",
        )
    if verify_code in WRONG_NAME:
        return Fault(
            "destination_tls",
            f"The server's certificate is for another name than {address.host}.",
            "Give the name that the certificate is for as the host, or write sslmode=verify-ca.",
        )
    if verify_code in EXPIRED:
        return Fault(
            "destination_tls",
            "The server's certificate has expired, or is not valid yet.",
            "Renew it at the server, and check this machine's clock.",
        )
    return Fault(
        "destination_tls",
        f"The server's certificate does not pass the check of sslmode={address.sslmode} (code {verify_code}).",
        "Check the server's certificate.",
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
        f"CREATE DATABASE {quote(address.database)} OWNER {quote(address.user)} ENCODING 'UTF8' TEMPLATE template0;",
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
