"""Live without a public URL: asks for Stripe's events, often while things happen and rarely when it is quiet."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from services.sync_worker.clients import Clients
from services.sync_worker.gap_fill import GapFill
from shared.connections import Connection, ConnectionStore, LiveBy, State
from shared.db import Pool, database_errors
from shared.errors import TerminalError, TransientError
from shared.log import get_logger

LEASE = timedelta(seconds=30)  # beyond the next poll
SLOWER = 1.5  # factor by which the pause grows while nothing happens

# One worker polls a connection at a time; the lease passes on when it stops.
TAKE = """
INSERT INTO leases AS l (name, owner, until) VALUES ($1, $2, now() + $3::interval)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
WHERE l.owner = excluded.owner OR l.until < now() RETURNING 1
"""


def next_pause(pause: float, *, found: int, shortest: float, longest: float) -> float:
    """Return the pause in seconds before the next poll: the shortest after news, else longer and longer."""
    return shortest if found else min(longest, pause * SLOWER)


class Polling:
    """Polls for every connection that has no webhook endpoint."""

    def __init__(
        self,
        pool: Pool,
        connections: ConnectionStore,
        clients: Clients,
        gap_fill: GapFill,
        *,
        owner: str,
        shortest_seconds: float,
        longest_seconds: float,
    ) -> None:
        self._pool = pool
        self._connections = connections
        self._clients = clients
        self._gap_fill = gap_fill
        self._owner = owner
        self._shortest = shortest_seconds
        self._longest = longest_seconds
        self._due: dict[str, tuple[float, float]] = {}  # connection → when it is due, and its pause

    async def run(self) -> None:
        """Poll what is due, for ever."""
        while True:
            try:
                await self.poll_due()
            except TransientError as error:
                get_logger().warning("polling_delayed", reason=error.message)
            await asyncio.sleep(self._shortest / 4)

    async def poll_due(self) -> None:
        """Poll each connection whose pause is over and that no other worker polls."""
        for connection in await self._connections.list_in_state(State.ACTIVE):
            if connection.live_by is LiveBy.POLLING:
                await self._poll_if_due(connection)

    async def _poll_if_due(self, connection: Connection) -> None:
        clock = asyncio.get_running_loop().time()
        due, pause = self._due.get(connection.id, (0.0, self._shortest))
        if clock < due or not await self._has_lease(connection.id, pause * SLOWER):
            return
        found = 0
        try:
            async with self._clients.calling(connection) as api:
                _, found = await self._gap_fill.fill(connection, api)
        except (TerminalError, TransientError) as error:
            get_logger().warning("poll_failed", connection=connection.id, reason=error.message)
        pause = next_pause(pause, found=found, shortest=self._shortest, longest=self._longest)
        self._due[connection.id] = (clock + pause, pause)

    async def _has_lease(self, connection_id: str, pause: float) -> bool:
        lease = LEASE + timedelta(seconds=pause)
        with database_errors():
            taken = await self._pool.fetchval(TAKE, f"poll:{connection_id}", self._owner, lease)
        return bool(taken)
