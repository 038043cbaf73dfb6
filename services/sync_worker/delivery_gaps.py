"""Fills the gaps of destinations that had fallen so far behind that nothing more could wait for them.

A gap is filled once nothing waits for the destination any more. Live events are read from Stripe's feed again,
whatever the event log says, and published once more; every other destination has them and changes no row. What the
feed does not show, or not any more, is listed again. A slice runs again. A question for Stripe that had waited is due.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import timedelta

from services.sync_worker.clients import Clients
from services.sync_worker.gap_fill import FEED_DAYS, OVERLAP, GapFill
from shared.catalogue import BY_NAME
from shared.connections import Connection, ConnectionStore, hold
from shared.db import Connection as Database
from shared.db import Pool, Row, database_errors, in_transaction
from shared.errors import NotFoundError, StripeUnavailableError, TerminalError, TransientError
from shared.log import get_logger
from shared.syncs import Kind, SyncStore

POLL_INTERVAL = 1.0  # seconds
LEASE = timedelta(minutes=2)  # a gap that is filled twice changes no row
TRIGGER = "destination caught up"

CLAIM = """
UPDATE delivery_gaps d SET lease_until = now() + $1::interval
FROM (
    SELECT g.destination_id, g.connection_id, g.resource, g.slice_id FROM delivery_gaps g
    WHERE (g.lease_until IS NULL OR g.lease_until < now())
      AND EXISTS (SELECT FROM connections c WHERE c.id = g.connection_id AND c.state = 'active')
      AND NOT EXISTS (SELECT FROM parked_records p
                      WHERE p.destination_id = g.destination_id AND p.connection_id = g.connection_id)
      AND NOT EXISTS (SELECT FROM slices s JOIN syncs y ON y.id = s.sync_id
                      WHERE s.id = g.slice_id AND s.status = 'planned' AND y.status IN ('queued', 'running', 'paused'))
    ORDER BY 1, 2, 3, 4 FOR UPDATE OF g SKIP LOCKED) free
WHERE (d.destination_id, d.connection_id, d.resource, d.slice_id)
    = (free.destination_id, free.connection_id, free.resource, free.slice_id)
RETURNING d.*, EXISTS (SELECT FROM connection_destinations l WHERE l.connection_id = d.connection_id
                       AND l.destination_id = d.destination_id) AS is_delivered_to
"""
_CLAIMED = """
unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
    AS u (destination_id, connection_id, resource, slice_id, version)
"""
# All that were claimed are held, in order; those that became wider meanwhile stay, and are free again.
FILLED = f"""
DELETE FROM delivery_gaps g USING (
    SELECT d.destination_id, d.connection_id, d.resource, d.slice_id, u.version AS known FROM delivery_gaps d
    JOIN {_CLAIMED} USING (destination_id, connection_id, resource, slice_id)
    ORDER BY d.destination_id, d.connection_id, d.resource, d.slice_id FOR UPDATE OF d) held
WHERE g.destination_id = held.destination_id AND g.connection_id = held.connection_id AND g.resource = held.resource
  AND g.slice_id = held.slice_id AND g.version = held.known
"""
WIDENED = f"""
UPDATE delivery_gaps g SET lease_until = NULL FROM {_CLAIMED}
WHERE g.destination_id = u.destination_id AND g.connection_id = u.connection_id AND g.resource = u.resource
  AND g.slice_id = u.slice_id AND g.version <> u.version AND g.lease_until IS NOT NULL
"""
DUE = """
UPDATE refetches r SET due_at = now() FROM (
    SELECT resource, object_id FROM refetches
    WHERE connection_id = $1 AND resource = ANY ($2::text[]) AND due_at = 'infinity'
    ORDER BY resource, object_id FOR UPDATE) held
WHERE r.connection_id = $1 AND r.resource = held.resource AND r.object_id = held.object_id
"""
# Its records were confirmed nowhere, so all of it counts anew.
RUN_AGAIN = """
UPDATE slices s SET status = 'planned', cursor = NULL, cursor_created = NULL, pages = 0, records = 0
FROM syncs y WHERE y.id = s.sync_id AND y.status IN ('running', 'paused') AND s.status = 'published' AND s.id = $1
RETURNING s.id
"""
FORGET_OFFSETS = "DELETE FROM slice_offsets WHERE slice_id = $1"
FORGET_COUNTS = "DELETE FROM slice_counts WHERE slice_id = $1"
GIVEN_UP = """
SELECT s.resource FROM slices s JOIN syncs y ON y.id = s.sync_id WHERE s.id = $1 AND y.status <> 'cancelled'
"""


class DeliveryGaps:
    """The loop over gaps."""

    def __init__(
        self,
        pool: Pool,
        connections: ConnectionStore,
        clients: Clients,
        gap_fill: GapFill,
        syncs: SyncStore,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._connections = connections
        self._clients = clients
        self._gap_fill = gap_fill
        self._syncs = syncs
        self._now = now

    async def run(self, wake: asyncio.Event) -> None:
        """Fill what can be filled, for ever; sets `wake` when there is something to fetch."""
        while True:
            try:
                if await self.fill_ready():
                    wake.set()
            except TransientError as error:
                get_logger().warning("delivery_gap_delayed", reason=error.message)
            await asyncio.sleep(POLL_INTERVAL)

    async def fill_ready(self) -> int:
        """Fill the gaps of destinations that have caught up; return how many there were."""
        with database_errors():
            rows = await self._pool.fetch(CLAIM, LEASE)
        by_connection: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            by_connection[row["connection_id"]].append(row)
        for connection_id, gaps in by_connection.items():
            try:
                await self._fill(await self._connections.get(connection_id), gaps)
            except (NotFoundError, TerminalError, StripeUnavailableError) as error:  # of this connection alone
                get_logger().warning("delivery_gap_delayed", connection=connection_id, reason=error.message)
        return len(rows)

    async def _fill(self, connection: Connection, gaps: Sequence[Row]) -> None:
        wanted = [gap for gap in gaps if gap["is_delivered_to"] and gap["resource"] in connection.resources]
        events = [gap for gap in wanted if not gap["slice_id"] and gap["since"] is not None]
        relist = await self._publish_again(connection, events)

        async def work(db: Database) -> None:
            await hold(db, [connection.id])
            again = set(relist)
            for slice_id in sorted({gap["slice_id"] for gap in wanted} - {0}):
                if await db.fetchval(RUN_AGAIN, slice_id):
                    await db.execute(FORGET_OFFSETS, slice_id)
                    await db.execute(FORGET_COUNTS, slice_id)
                elif resource := await db.fetchval(GIVEN_UP, slice_id):
                    again.add(resource)
            await db.execute(DUE, connection.id, [gap["resource"] for gap in wanted])
            if again:
                start = connection.start_date
                await self._syncs.create(
                    connection.id, Kind.MANUAL, trigger=TRIGGER, resources=sorted(again), range_start=start, db=db
                )
            names = ("destination_id", "connection_id", "resource", "slice_id", "version")
            columns = [[gap[name] for gap in gaps] for name in names]
            await db.execute(FILLED, *columns)
            await db.execute(WIDENED, *columns)

        await in_transaction(self._pool, work)
        get_logger().info("delivery_gap_filled", connection=connection.id, gaps=len(gaps))

    async def _publish_again(self, connection: Connection, gaps: Sequence[Row]) -> set[str]:
        """Publish the events of the gaps once more; return the resources that have to be listed instead."""
        oldest = int(self._now()) - FEED_DAYS * 86_400 + OVERLAP
        in_feed = [g for g in gaps if BY_NAME[g["resource"]].is_in_event_feed and g["since"] > oldest]
        if in_feed:
            since, until = min(g["since"] for g in in_feed), max(g["until"] for g in in_feed)
            async with self._clients.calling(connection) as api:
                await self._gap_fill.publish_again(connection, api, since=since, until=until)
        return {gap["resource"] for gap in gaps} - {gap["resource"] for gap in in_feed}
