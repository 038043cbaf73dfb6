"""Live without webhooks: asks for Stripe's events, often while things happen and rarely when it is quiet."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from services.sync_worker.clients import Clients
from services.sync_worker.faults import Faults
from services.sync_worker.gap_fill import GapFill
from services.sync_worker.retrying import FEED, Retrying
from shared.catalogue import WEBHOOK_ENDPOINT
from shared.connections import Connection, ConnectionStore, LiveBy, State
from shared.db import Pool, RowInUseError, database_errors
from shared.delays import Work
from shared.errors import KeyInvalidError, StripeRefusedError, TerminalError, TransientError
from shared.log import get_logger
from shared.refusals import Refusals, find_refusals
from shared.syncs import EVENT_FEED

LEASE = timedelta(seconds=30)  # beyond the next poll
SLOWER = 1.5  # factor by which the pause grows while nothing happens

# One worker polls a connection at a time; the lease passes on when it stops.
TAKE = """
INSERT INTO leases AS l (name, owner, until)
SELECT 'poll:' || id, $2, now() + $3::interval FROM connections WHERE id = $1 AND state = 'active'
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
WHERE l.owner = excluded.owner OR l.until < now() RETURNING 1
"""

NOTE = """
INSERT INTO polls (connection_id, polled_at, pause_seconds) SELECT id, now(), $2 FROM connections WHERE id = $1
ON CONFLICT (connection_id) DO UPDATE SET polled_at = excluded.polled_at, pause_seconds = excluded.pause_seconds
"""


def next_pause(pause: float, *, found: int, shortest: float, longest: float) -> float:
    """Return the pause in seconds before the next poll: the shortest after news, else longer and longer."""
    return shortest if found else min(longest, pause * SLOWER)


class Polling:
    """Polls for every connection without a webhook endpoint, or with one that can't be repaired or is refused.

    Refusals that anybody may have caused make it look for some minutes, as rarely as for a quiet account.
    """

    def __init__(
        self,
        pool: Pool,
        connections: ConnectionStore,
        clients: Clients,
        gap_fill: GapFill,
        faults: Faults,
        *,
        owner: str,
        shortest_seconds: float,
        longest_seconds: float,
    ) -> None:
        self._pool = pool
        self._connections = connections
        self._clients = clients
        self._gap_fill = gap_fill
        self._faults = faults
        self._owner = owner
        self._shortest = shortest_seconds
        self._longest = longest_seconds
        self._due: dict[str, tuple[float, float]] = {}  # connection → when it is due, and its pause
        self._busy: set[str] = set()
        self._retrying: dict[str, Retrying] = {}  # connection → its delay, if it has one

    async def run(self) -> None:
        """Poll what is due, for ever; one connection that is slow keeps no other waiting."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    for connection in await self._find_due():
                        tasks.create_task(self._poll(connection))
                except TransientError as error:
                    get_logger().warning("polling_delayed", reason=error.message)
                await asyncio.sleep(self._shortest / 4)

    async def poll_due(self) -> None:
        """Poll each connection whose pause is over and that no other worker polls."""
        await asyncio.gather(*(self._poll(connection) for connection in await self._find_due()))

    async def _find_due(self) -> list[Connection]:
        clock = asyncio.get_running_loop().time()
        active = await self._connections.list_in_state(State.ACTIVE)
        refused = await find_refusals(self._pool)
        polled = [c for c in active if _is_polled(c, refused.get(c.id))]
        for one in polled:
            suspected = refused.get(one.id)
            if suspected and not suspected.proven_at and one.live_by is LiveBy.WEBHOOKS:
                self._due.setdefault(one.id, (0.0, self._longest))
        return [c for c in polled if c.id not in self._busy and self._due.get(c.id, (0.0, 0.0))[0] <= clock]

    async def _poll(self, connection: Connection) -> None:
        _, pause = self._due.get(connection.id, (0.0, self._shortest))
        self._busy.add(connection.id)
        retrying = self._retrying.get(connection.id) or Retrying(
            self._pool, Work.SLICE, FEED + connection.id, connection_id=connection.id, is_delayed=True
        )
        self._retrying[connection.id] = retrying
        try:
            found = await self._poll_once(connection, pause, retrying)
        except TransientError as error:
            get_logger().warning("poll_delayed", connection=connection.id, reason=error.message)
            await retrying.failed(error, pause * SLOWER)
            found = 0
        except TerminalError as error:
            get_logger().warning("poll_failed", connection=connection.id, reason=error.message)
            found = 0
        finally:
            self._busy.discard(connection.id)
        if found is not None:
            pause = next_pause(pause, found=found, shortest=self._shortest, longest=self._longest)
            self._due[connection.id] = (asyncio.get_running_loop().time() + pause, pause)
            await self._note(connection.id, pause)

    async def _poll_once(self, connection: Connection, pause: float, retrying: Retrying) -> int | None:
        """Return how much was found; `None` when another worker polls the connection."""
        if not await self._has_lease(connection.id, pause * SLOWER):
            return None
        found = await self._fill(connection, retrying)
        await retrying.went_on()
        return found

    async def _fill(self, connection: Connection, retrying: Retrying) -> int:
        async with self._clients.calling(connection, on_failure=retrying.call_failed) as api:
            try:
                found = await self._gap_fill.fill(connection, api)
            except KeyInvalidError:
                raise
            except StripeRefusedError as error:
                await self._faults.note(connection, EVENT_FEED, error)
                return 0
        return found

    async def _note(self, connection_id: str, pause: float) -> None:
        """Note the pace, for people."""
        try:
            with database_errors():
                await self._pool.execute(NOTE, connection_id, pause)
        except (TransientError, RowInUseError) as error:
            get_logger().info("pace_unnoted", connection=connection_id, reason=error.message)

    async def _has_lease(self, connection_id: str, pause: float) -> bool:
        lease = LEASE + timedelta(seconds=pause)
        with database_errors():
            taken = await self._pool.fetchval(TAKE, connection_id, self._owner, lease)
        return bool(taken)


def _is_polled(connection: Connection, refusals: Refusals | None) -> bool:
    """Tell whether no webhook tells its changes, or those that come are refused, and its key may read the feed."""
    is_refused = refusals is not None and (refusals.proven_at is not None or refusals.is_recent)
    faults = {fault.resource for fault in connection.faults}
    has_no_webhooks = connection.live_by is LiveBy.POLLING or WEBHOOK_ENDPOINT in faults or is_refused
    return has_no_webhooks and EVENT_FEED not in faults
