"""What is passed on of an error: of one of Postgres' not its words, since they quote values."""

from __future__ import annotations

import asyncpg


def tell(error: BaseException) -> str:
    """Return class and words of an error; of one of Postgres' only where it happened, since its words quote values."""
    if not isinstance(error, asyncpg.PostgresError | asyncpg.DataError):
        return f"{type(error).__name__}: {error}"
    names = ((noun, getattr(error, f"{noun}_name", None)) for noun in ("table", "column", "constraint"))
    told = [f"SQLSTATE {error.sqlstate}"] if getattr(error, "sqlstate", None) else []
    told += [f"{noun} {name}" for noun, name in names if name]
    return f"{type(error).__name__} ({', '.join(told)})" if told else type(error).__name__
