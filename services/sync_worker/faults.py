"""What Stripe refuses to list: a resource stops alone, is tried again, and then gets what it missed.

A permission may be missing, or Stripe says something that stands in no row of `shared/stripe_refusals.py`.

Our webhook endpoint is one of them while it can't be repaired; its changes are polled for meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from services.sync_worker.clients import Clients
from services.sync_worker.completion import CLOCK_SLACK
from services.sync_worker.endpoint_check import EndpointCheck, EndpointRefusedError
from services.sync_worker.planning import Plan, list_parameters, plan
from services.sync_worker.slices import BEGIN, add_slices
from shared.broker_log import CurrentLog
from shared.catalogue import BY_NAME, WEBHOOK_ENDPOINT, permission_of
from shared.connections import Connection, ConnectionStore, hold
from shared.db import Connection as Database
from shared.db import Pool, Row, RowInUseError, database_errors, transaction
from shared.errors import (
    KeyInvalidError,
    NotFoundError,
    PermissionMissingError,
    ResourceUnavailableError,
    StripeRefusedError,
    TerminalError,
    TransientError,
)
from shared.key_check import Checked, Grant, describe_missing
from shared.log import get_logger
from shared.stripe_api import StripeApi
from shared.syncs import EVENT_FEED, SILENT_WINDOW, Kind, SyncStore

POLL_INTERVAL = 1.0  # seconds
FIRST_PAUSE = timedelta(seconds=60)
LONGEST_PAUSE = timedelta(minutes=15)
MEANWHILE = "Changes are found in Stripe's event feed meanwhile."
UNLISTED = (EVENT_FEED, WEBHOOK_ENDPOINT)  # what has faults and is not among a connection's resources
IS_BACK = "permission is back"  # what triggers the sync of what was missed

# Only of the key that is the connection's now, and of what is still synced; a fault keeps its beginning.
NOTE = """
INSERT INTO resource_faults (connection_id, resource, code, cause, permission, next_try_at)
SELECT c.id, $3, $4, $5, $6, now() + $7::interval FROM connections c
WHERE c.id = $1 AND c.key_version = $2 AND c.state <> 'removing' AND ($3 = ANY ($8::text[]) OR $3 = ANY (c.resources))
ON CONFLICT (connection_id, resource) DO UPDATE
SET code = excluded.code, cause = excluded.cause, permission = excluded.permission
"""
FORGET_UNSYNCED = """
DELETE FROM resource_faults WHERE (connection_id, resource) IN (
    SELECT f.connection_id, f.resource FROM resource_faults f JOIN connections c ON c.id = f.connection_id
    WHERE NOT f.resource = ANY ($1::text[]) AND NOT f.resource = ANY (c.resources)
    ORDER BY 1, 2 FOR UPDATE OF f SKIP LOCKED)
"""
# The next try is noted before this one is made, so that a worker that dies in between costs no call more.
CLAIM = """
UPDATE resource_faults
SET next_try_at = now() + least($1::interval * 2 ^ least(tries + 1, 10), $2::interval), tries = tries + 1
WHERE (connection_id, resource) = (
    SELECT f.connection_id, f.resource FROM resource_faults f JOIN connections c ON c.id = f.connection_id
    WHERE c.state = 'active' AND f.next_try_at <= now() ORDER BY f.next_try_at LIMIT 1 FOR UPDATE OF f SKIP LOCKED)
RETURNING connection_id, resource
"""
LIFT = "DELETE FROM resource_faults WHERE connection_id = $1 AND resource = $2 RETURNING since"
# What was given up while the fault stood: a sync that waits for Stripe's answer ends only then.
MISSED = """
SELECT s.id, s.walk, s.range_start, s.object_id FROM slices s JOIN syncs y ON y.id = s.sync_id
WHERE y.connection_id = $1 AND y.status = 'failed' AND y.kind <> 'verify' AND y.finished_at >= $3
  AND s.resource = $2 AND s.status = 'failed'
  AND s.cause_code IN ('missing_permissions', 'stripe_refused', 'stripe_not_found')
"""
# It goes on behind its checkpoint, unless the log that held the pages before it is lost.
CARRY = """
INSERT INTO slices (sync_id, connection_id, resource, walk, range_start, range_end, cursor, cursor_created, read_at,
                    object_id)
SELECT $1, connection_id, resource, walk, range_start, range_end, CASE WHEN cluster_id = $3 THEN cursor END,
       CASE WHEN cluster_id = $3 THEN cursor_created END, CASE WHEN cluster_id = $3 THEN read_at END, object_id
FROM slices WHERE id = ANY ($2::bigint[]) ORDER BY id
"""


class Faults:
    """Notes what the key may not read, and takes it up again once it may."""

    def __init__(
        self,
        pool: Pool,
        connections: ConnectionStore,
        clients: Clients,
        syncs: SyncStore,
        endpoint: EndpointCheck,
        *,
        log: CurrentLog,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._connections = connections
        self._clients = clients
        self._syncs = syncs
        self._endpoint = endpoint
        self._log = log
        self._now = now

    async def note(
        self, connection: Connection, resource: str, error: StripeRefusedError | EndpointRefusedError
    ) -> None:
        """Note that Stripe refuses `resource` to the connection: a name, the event feed, or our webhook endpoint."""
        cause, slug = _explain(resource, error)
        values = (connection.id, connection.key_version, resource, error.code, cause, slug, FIRST_PAUSE, UNLISTED)
        get_logger().warning("fault_noted", connection=connection.id, resource=resource, reason=error.message)
        with database_errors():
            await self._pool.execute(NOTE, *values)

    async def run(self) -> None:
        """Try what is due, for ever."""
        while True:
            try:
                busy = await self.try_one()
            except TransientError as error:
                get_logger().warning("fault_try_delayed", reason=error.message)
                busy = False
            if not busy:
                await asyncio.sleep(POLL_INTERVAL)

    async def try_one(self) -> bool:
        """Try a resource that is due, with one call; tell whether there was one."""
        with database_errors():
            await self._pool.execute(FORGET_UNSYNCED, UNLISTED)
            row = await self._pool.fetchrow(CLAIM, FIRST_PAUSE, LONGEST_PAUSE)
        if row is None:
            return False
        try:
            connection = await self._connections.get(row["connection_id"])
            if await self._is_readable(connection, row["resource"]):
                await self._lift(connection, row["resource"])
        except (NotFoundError, TerminalError, RowInUseError) as error:
            get_logger().info("fault_left", connection=row["connection_id"], reason=error.message)
        return True

    async def _is_readable(self, connection: Connection, resource: str) -> bool:
        async with self._clients.calling(connection) as api:
            if resource == WEBHOOK_ENDPOINT:
                return await self._is_repaired(connection, api)
            try:
                await self._read_one(connection, api, resource)
            except KeyInvalidError:
                raise
            except ResourceUnavailableError:
                return True  # its slice will tell
            except StripeRefusedError as error:
                await self.note(connection, resource, error)  # perhaps for another reason by now
                return False
        return True

    async def _read_one(self, connection: Connection, api: StripeApi, resource: str) -> None:
        """Make the cheapest call that a slice of the resource would make."""
        if resource == EVENT_FEED:
            await api.list_page("/v1/events", [("limit", "1")])
        elif BY_NAME[resource].is_singleton:
            await api.retrieve(BY_NAME[resource].retrieve_path)
        else:
            has_dates = BY_NAME[resource].has_created_filter
            start, end = (connection.start_seconds, int(self._now()) + CLOCK_SLACK) if has_dates else (None, None)
            parameters = list_parameters(resource, 0, start=start, end=end, cursor=None)
            await api.list_page(BY_NAME[resource].list_path, [*parameters, ("limit", "1")])

    async def _is_repaired(self, connection: Connection, api: StripeApi) -> bool:
        try:
            await self._endpoint.check(connection, api)
        except (PermissionMissingError, EndpointRefusedError) as error:
            await self.note(connection, WEBHOOK_ENDPOINT, error)
            return False
        return True

    async def _lift(self, connection: Connection, resource: str) -> None:
        """Forget the fault and queue what was missed, together or not at all."""
        async with transaction(self._pool) as db:
            await hold(db, [connection.id])
            since = await db.fetchval(LIFT, connection.id, resource)
            if since is None:
                return  # nobody syncs it any more
            get_logger().info("permission_is_back", connection=connection.id, resource=resource)
            if resource == WEBHOOK_ENDPOINT:
                return  # a repair queues what follows from it
            if resource == EVENT_FEED:
                await self._syncs.create(connection.id, Kind.GAP_FILL, trigger=IS_BACK, resources=[resource], db=db)
            else:
                await self._take_up(db, connection, resource, since)

    async def _take_up(self, db: Database, connection: Connection, resource: str, since: datetime) -> None:
        missed = await db.fetch(MISSED, connection.id, resource, since)
        end = int(self._now()) + CLOCK_SLACK
        window = _window(connection, resource, since, missed, end=end)
        starts = [row["range_start"] for row in missed] + [one.range_start for one in window]
        sync_id = await self._syncs.create(
            connection.id,
            Kind.BACKFILL,
            trigger=IS_BACK,
            resources=[resource],
            range_start=None if None in starts else datetime.fromtimestamp(min(starts), UTC),
            db=db,
        )
        await db.fetchval(BEGIN, sync_id, end)
        await db.execute(CARRY, sync_id, [row["id"] for row in missed], self._log.id)
        await add_slices(db, sync_id, connection.id, window)


def _window(connection: Connection, resource: str, since: datetime, missed: Sequence[Row], *, end: int) -> list[Plan]:
    """Return the slices of what was made or changed silently while the fault stood.

    A list that can't be cut by date is read whole once, be it for this or for what was given up.
    """
    row = BY_NAME[resource]
    reach = SILENT_WINDOW if row.changes_silently or not row.is_in_event_feed else timedelta(seconds=CLOCK_SLACK)
    start = max(int((since - reach).timestamp()), connection.start_seconds or 0)
    read = {one["walk"] for one in missed if one["object_id"] is None} if not row.has_created_filter else set()
    return [one for one in plan([resource], start=start, end=end) if one.walk not in read]


def _explain(resource: str, error: StripeRefusedError | EndpointRefusedError) -> tuple[str, str | None]:
    """Return the cause in words for people, and the permission that is missing, if it is one."""
    needed = permission_of(resource)
    if isinstance(error, EndpointRefusedError):
        return f"Webhook missing: {error.message} {MEANWHILE}", None
    if not isinstance(error, PermissionMissingError):
        what = "its events" if resource == EVENT_FEED else BY_NAME[resource].table.replace("_", " ")
        return f"Stripe refuses to give {what}, and says: {error.message}", None
    if resource != WEBHOOK_ENDPOINT:
        slug = error.permission or needed.slug
        return describe_missing([Checked(needed, Grant.MISSING, slug)]), slug
    named = f"{needed.toggle} ({needed.slug})"
    return f"Webhook missing: without the permission {named} it can't be checked or repaired. {MEANWHILE}", needed.slug
