"""What goes wrong at a Postgres: what waits, what is a dead letter. Only data can be to blame for a dead letter.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import asyncio
import ssl

import asyncpg
import pytest

from shared.db import database_errors, is_transient
from shared.errors import DatabaseUnavailableError, DestinationRejectedError, DestinationUnavailableError
from shared.postgres_errors import NAMES_ONLY, destination_errors

# Away, starting, stopping, full, busy, read-only, or not letting us in.
WAITS = {
    "08000": "connection exception",
    "08006": "connection failure",
    "0A000": "cached plan must not change result type: somebody altered a table",
    "25006": "read-only transaction: a standby, or a full disk",
    "25P02": "in a failed transaction",
    "25P03": "idle in transaction for too long",
    "26000": "a prepared statement is gone, behind a pooler",
    "28000": "invalid authorization",
    "28P01": "wrong password",
    "3D000": "database missing",
    "40001": "serialization failure",
    "40P01": "deadlock",
    "42501": "missing right",
    "42P05": "a prepared statement is there already, behind a pooler",
    "53100": "disk full",
    "53200": "out of memory",
    "53300": "too many connections",
    "53400": "configuration limit exceeded",
    "55006": "object in use",
    "55P03": "lock not available",
    "57014": "statement timeout",
    "57P01": "admin shutdown",
    "57P02": "crash shutdown",
    "57P03": "cannot connect now: it starts, or it recovers",
    "57P04": "database dropped",
    "57P05": "idle session timeout",
    "58000": "system error",
    "58030": "I/O error",
    "XX000": "internal error",
    "XX001": "data corrupted",
    "XX002": "index corrupted",
}
# A destination's tables are made again.
MADE_AGAIN = {"42P01": "table missing", "3F000": "schema missing"}
# The record, or what somebody has made of the table.
NEVER = {
    "21000": "cardinality violation",
    "22001": "string too long",
    "22003": "number out of range",
    "22021": "character not in repertoire",
    "22P02": "invalid text representation",
    "22P05": "untranslatable character",
    "23502": "not null violation",
    "23505": "unique violation",
    "23514": "check violation",
    "42703": "column missing",
    "42804": "datatype mismatch",
    "44000": "with check option violation",
    "54000": "program limit exceeded",
    "54001": "statement too complex",
    "P0001": "raised by somebody's trigger",
}
UNREACHABLE = (
    OSError(),
    TimeoutError(),
    ssl.SSLError(),
    asyncpg.InterfaceError("closed"),
    asyncpg.InternalClientError(),
)


def error_of(state: str) -> asyncpg.PostgresError:
    return asyncpg.PostgresError.new({"C": state, "M": "value 4711", "S": "ERROR", "V": "ERROR"})


@pytest.mark.parametrize("state", [*WAITS, *MADE_AGAIN])
def test_trouble_at_a_destination_waits(state: str) -> None:
    with pytest.raises(DestinationUnavailableError), destination_errors():
        raise error_of(state)


@pytest.mark.parametrize("state", NEVER)
def test_record_that_a_destination_refuses_is_rejected_without_its_values(state: str) -> None:
    with pytest.raises(DestinationRejectedError, match=state) as refused, destination_errors():
        raise error_of(state)
    assert state in NAMES_ONLY or "4711" not in refused.value.message


@pytest.mark.parametrize("state", WAITS)
def test_trouble_at_the_state_database_waits(state: str) -> None:
    """It is nobody's fault whose batch is under way."""
    with pytest.raises(DatabaseUnavailableError), database_errors():
        raise error_of(state)


@pytest.mark.parametrize("error", UNREACHABLE, ids=lambda error: type(error).__name__)
def test_postgres_that_can_not_be_reached_waits(error: Exception) -> None:
    with pytest.raises(DestinationUnavailableError), destination_errors():
        raise error


def test_value_that_can_not_be_sent_is_no_trouble_of_the_server() -> None:
    error = asyncpg.DataError("invalid input for query argument $1: value out of int64 range")
    assert not is_transient(error)
    with pytest.raises(DestinationRejectedError), destination_errors():
        raise error


def test_cancellation_is_no_failure() -> None:
    with pytest.raises(asyncio.CancelledError), destination_errors():
        raise asyncio.CancelledError


def test_every_class_of_errors_is_judged() -> None:
    """Classes that a newer asyncpg brings show up here; those of cursors and foreign tables we don't use."""
    unused = {"00", "01", "02", "03", "09", "0B", "0F", "0L", "0P", "0Z", "10", "20", "24", "27", "2B", "2D", "2F"}
    unused |= {"34", "38", "39", "3B", "72", "F0", "HV"}
    found = {
        error.sqlstate[:2]
        for error in vars(asyncpg.exceptions).values()
        if isinstance(error, type) and issubclass(error, asyncpg.PostgresError) and error.sqlstate
    }
    assert found - unused == {state[:2] for state in (*WAITS, *MADE_AGAIN, *NEVER)}
