"""Which destinations a connection delivers to, as the state database says; remembered for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.destination_writer.destinations import Account
from shared.db import Pool, database_errors

REFRESH_AFTER = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class Route:
    """Where a connection's records go."""

    connection_id: str
    account: Account
    resources: frozenset[str]
    destination_ids: tuple[str, ...]


SELECT = """
SELECT c.id, c.account_id, c.livemode, c.resources,
       ARRAY(SELECT d.destination_id FROM connection_destinations d WHERE d.connection_id = c.id ORDER BY 1)
         AS destinations
FROM connections c WHERE c.state <> 'removing'
"""


class Routes:
    """The routes of all connections."""

    def __init__(self, pool: Pool, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self._routes: Mapping[str, Route] = {}
        self._read_at = float("-inf")

    async def find(self, connection_id: str) -> Route | None:
        """Return the route; `None` when the connection is gone. Raises `DatabaseUnavailableError`."""
        is_stale = self._clock() - self._read_at > REFRESH_AFTER
        if is_stale or (connection_id not in self._routes and self._clock() - self._read_at > REFRESH_AFTER / 10):
            await self._refresh()
        return self._routes.get(connection_id)

    async def _refresh(self) -> None:
        with database_errors():
            rows = await self._pool.fetch(SELECT)
        self._routes = {
            row["id"]: Route(
                row["id"],
                Account(row["account_id"], row["livemode"]),
                frozenset(row["resources"]),
                tuple(row["destinations"]),
            )
            for row in rows
        }
        self._read_at = self._clock()
