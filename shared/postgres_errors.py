"""What goes wrong at a Postgres that is a destination, in our own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from shared.db import UNREACHABLE, is_transient
from shared.errors import DestinationRejectedError, DestinationUnavailableError

# A missing schema or table is made; a wrong password or missing right can be mended: the records wait meanwhile.
MISSING_TABLE = ("42P01", "3F000")
MENDABLE = ("28", "42501", "3D000", "25006")


@contextmanager
def destination_errors() -> Iterator[None]:
    """Turn asyncpg's errors into `DestinationUnavailableError` or `DestinationRejectedError`."""
    try:
        yield
    except (asyncpg.PostgresError, *UNREACHABLE) as error:
        state = getattr(error, "sqlstate", None) or ""
        # Postgres may quote a value in its message, so only its kind is passed on.
        reason = f"{type(error).__name__}{f' ({state})' if state else ''}"
        if is_transient(error) or state.startswith(MENDABLE) or state in MISSING_TABLE:
            raise DestinationUnavailableError(f"The destination can't take rows at the moment: {reason}.") from error
        raise DestinationRejectedError(f"The destination refused the record: {reason}.") from error
