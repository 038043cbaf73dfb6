"""What is chosen for the whole installation: the zone in which times are shown."""

from __future__ import annotations

from shared.audit import Actor, append
from shared.db import Pool, database_errors, transaction
from shared.errors import PayloadError
from shared.zones import find_zone

ZONE = "time_zone"
SUBJECT = "installation"  # as the audit log calls it
GET = "SELECT value FROM choices WHERE name = $1"
SET = """
INSERT INTO choices (name, value) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = now()
"""
CLEAR = "DELETE FROM choices WHERE name = $1"


class Installation:
    """Every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def time_zone(self) -> str | None:
        """Return the zone that was chosen; `None` where each browser's own counts."""
        with database_errors():
            name: str | None = await self._pool.fetchval(GET, ZONE)
        return name

    async def choose_time_zone(self, name: str | None, *, by: Actor) -> None:
        """Show times in a zone from now on, `None` for each browser's own; raise `PayloadError` for an unknown one."""
        if name is not None and find_zone(name) is None:
            raise PayloadError("There is no such time zone. Give one such as Europe/Berlin.", field=ZONE)
        async with transaction(self._pool) as db:
            if name is None:
                await db.execute(CLEAR, ZONE)
            else:
                await db.execute(SET, ZONE, name)
            await append(db, by, "settings.changed", SUBJECT, time_zone=name)
