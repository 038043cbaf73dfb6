"""The id of this installation, made once with its state database. A copy of that database is the same installation."""

from __future__ import annotations

from shared.db import Pool, database_errors


async def installation_id(pool: Pool) -> str:
    """Return the id, such as `ins_5f3c…`; raise `DatabaseUnavailableError`."""
    with database_errors():
        return str(await pool.fetchval("SELECT id FROM installation"))
