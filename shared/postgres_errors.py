"""What goes wrong at a Postgres that is a destination, in our own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from shared.db import UNREACHABLE, is_transient
from shared.errors import DestinationRejectedError, DestinationUnavailableError

MISSING_TABLE = ("42P01", "3F000")  # it is made again: the records wait meanwhile

# What a code means for a record. Postgres may quote a value in its own message, so that is passed on only where it
# holds nothing but names of columns and types.
MEANINGS = {
    "22P05": "a text holds a character that the database's encoding has not",
    "22021": "a text holds a character that the database's encoding has not",
    "22003": "a number is larger than Postgres can keep",
    "22008": "a date lies outside of what Postgres can keep",
    "22007": "a date can't be read",
    "22P02": "a value can't be read as its column's type",
    "22001": "a text is longer than its column",
    "23502": "a value is missing that its column requires",
    "23505": "a row with the same value is there, which a constraint of the table forbids",
    "23514": "a constraint of the table forbids a value",
    "54001": "the object is nested too deeply",
    "54000": "the object is larger than Postgres can keep",
}
NAMES_ONLY = frozenset({"42804", "42703"})


@contextmanager
def destination_errors() -> Iterator[None]:
    """Turn asyncpg's errors into `DestinationUnavailableError` or `DestinationRejectedError`."""
    try:
        yield
    except (asyncpg.PostgresError, *UNREACHABLE) as error:
        state = getattr(error, "sqlstate", None) or ""
        if is_transient(error) or state in MISSING_TABLE:
            reason = f"{type(error).__name__}{f' ({state})' if state else ''}"
            raise DestinationUnavailableError(f"The destination can't take rows at the moment: {reason}.") from error
        raise DestinationRejectedError(f"{_meaning(error, state)}.") from error


def _meaning(error: Exception, state: str) -> str:
    """Say what a code means, with the column or constraint that Postgres names; never a value."""
    # Two things have this code; whatever the server's language, the detail of the one has the escape.
    if state == "22P05" and "\\u0000" in (getattr(error, "detail", None) or ""):
        meaning = "a text holds a NUL character, which Postgres can't keep"
    elif state in NAMES_ONLY:
        meaning = str(getattr(error, "message", "")).replace('"', "")
    else:
        meaning = MEANINGS.get(state, type(error).__name__)
    for noun in ("column", "constraint"):
        name = getattr(error, f"{noun}_name", None)
        meaning = f"{noun} {name}: {meaning}" if name else meaning
    return f"{meaning} (SQLSTATE {state})" if state else meaning
