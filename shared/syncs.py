"""Syncs in the state database: each run of work that a person can see, with its progress and its counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from shared.catalogue import BY_NAME, WEBHOOK_ENDPOINT
from shared.connections import CALLED, Connection, LiveBy
from shared.crypto import make_id
from shared.db import Connection as Database
from shared.db import Pool, Row, database_errors
from shared.errors import ConflictError, NotFoundError, PayloadError
from shared.quiet_syncs import IS_QUIET
from shared.sync_progress import (
    COUNT_FIELDS,
    PROGRESS,
    STRIPE_BEGAN,
    SUMS,
    Counts,
    ResourceProgress,
    bounded,
    counts_of,
    resource_progress,
)
from shared.sync_queue import find_queued


class Kind(StrEnum):
    """What a sync does."""

    BACKFILL = "backfill"
    GAP_FILL = "gap_fill"
    RECONCILE = "reconcile"
    LIVE = "live"
    MANUAL = "manual"
    VERIFY = "verify"


class Status(StrEnum):
    """How far a sync is."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Outcome(StrEnum):
    """How a sync stands, in a word that says more than its status: what succeeded may have failed in part."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"  # Stripe refuses the key
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"  # some records could not be written, or some rows not be compared
    DIFFERENCES = "differences"  # a comparison found some
    FAILED = "failed"
    CANCELLED = "cancelled"


EVENT_FEED = "event"  # among a sync's resources: the comparison with /v1/events
# A balance transaction becomes available within days, an invoice item waits for its invoice for a month.
SILENT_WINDOW = timedelta(days=35)
NEWEST_WINDOW = timedelta(hours=2)
EXPORT_BATCH = 500  # syncs that an export reads at a time

WAITING = (Status.QUEUED, Status.RUNNING)
OPEN = (*WAITING, Status.PAUSED)
# How a status reads in a sentence.
SPOKEN = {
    Status.QUEUED: "is waiting for its turn",
    Status.RUNNING: "is running",
    Status.PAUSED: "is paused",
    Status.SUCCEEDED: "has succeeded",
    Status.FAILED: "has failed",
    Status.CANCELLED: "was cancelled",
}


@dataclass(frozen=True, slots=True)
class Sync:
    """One run of work."""

    id: str
    connection_id: str
    kind: Kind
    trigger: str
    status: Status
    resources: tuple[str, ...]
    object_id: str | None
    range_start: datetime | None
    range_end: datetime | None
    cause_code: str | None
    cause: str | None
    stripe_calls: int
    rate_limited: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    read: int
    share: float  # of the time range that is covered and confirmed, from 0 to 1
    counts: Counts
    is_stopped: bool = False  # Stripe refuses the connection's key, which is the cause; another key lets it go on
    differences: int = 0  # rows that a comparison found not to be what Stripe has
    skipped: int = 0  # rows that it could not compare
    connection_name: str = ""
    account_id: str = ""
    account_name: str = ""

    @property
    def outcome(self) -> Outcome:
        """How it stands."""
        if self.is_stopped:
            return Outcome.STOPPED
        if self.status is not Status.SUCCEEDED:
            return Outcome(self.status)
        if self.differences:
            return Outcome.DIFFERENCES
        return Outcome.PARTIAL if self.counts.failed or self.skipped else Outcome.SUCCEEDED


# Of a sync that has ended, and of an hour of live changes, the row itself has the counts.
_OPEN = "CASE WHEN y.finished_at IS NULL AND y.kind <> 'live' THEN y.id END"
# Nothing is read with a key that Stripe refuses. What has been read is written all the same, and so are live changes.
_STOPS = """
c.id = y.connection_id AND c.state = 'action_required' AND y.kind <> 'live'
AND (y.status = 'queued'
     OR y.status = 'running' AND EXISTS (SELECT FROM slices s WHERE s.sync_id = y.id AND s.status = 'planned'))
"""
_SELECT = f"""
SELECT y.id, y.connection_id, y.kind, y.trigger, y.status, y.resources, y.object_id, y.range_start, y.range_end,
       c.id IS NOT NULL AS is_stopped, coalesce(y.cause_code, c.cause_code) AS cause_code,
       coalesce(y.cause, c.cause) AS cause, y.stripe_calls, y.rate_limited, y.created_at, y.started_at, y.finished_at,
       coalesce(p.share, y.share) AS share, coalesce(p.read, y.records) AS read,
       {", ".join(f"coalesce(p.{field}, y.{field}) AS {field}" for field in COUNT_FIELDS)},
       coalesce(k.differences, 0) AS differences, coalesce(k.skipped, 0) AS skipped,
       {CALLED.format("o")} AS connection_name,
       o.account_id, o.account_name
FROM (SELECT * FROM syncs WHERE %s) y
LEFT JOIN LATERAL ({SUMS.replace("$1", _OPEN)}) p ON true
LEFT JOIN LATERAL (
    SELECT sum(different + missing + extra)::bigint AS differences, sum(skipped)::bigint AS skipped
    FROM comparisons WHERE sync_id = y.id AND y.kind = 'verify'
) k ON true
LEFT JOIN connections c ON {_STOPS}
JOIN connections o ON o.id = y.connection_id
ORDER BY y.created_at DESC, y.id DESC
"""
_INSERT = """
INSERT INTO syncs (id, connection_id, kind, trigger, status, resources, object_id, range_start, range_end, not_before)
VALUES ($1, $2, $3, $4, 'queued', $5, $6, $7, $8, now() + $9::interval)
"""
_MOVE = """
UPDATE syncs SET status = CASE WHEN $2 = 'running' AND started_at IS NULL THEN 'queued' ELSE $2 END
WHERE id = $1 AND status = ANY ($3::text[]) AND kind <> 'live'
"""


def _sync(row: Row) -> Sync:
    status = Status(row["status"])
    return Sync(
        id=row["id"],
        connection_id=row["connection_id"],
        kind=Kind(row["kind"]),
        trigger=row["trigger"],
        status=status,
        resources=tuple(row["resources"]),
        object_id=row["object_id"],
        range_start=row["range_start"],
        range_end=row["range_end"],
        cause_code=row["cause_code"],
        cause=row["cause"],
        stripe_calls=row["stripe_calls"],
        rate_limited=row["rate_limited"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        read=row["read"],
        share=1.0 if status is Status.SUCCEEDED else bounded(row["share"]),
        counts=counts_of(row),
        is_stopped=row["is_stopped"],
        differences=row["differences"],
        skipped=row["skipped"],
        connection_name=row["connection_name"],
        account_id=row["account_id"],
        account_name=row["account_name"],
    )


class SyncStore:
    """Reads and writes syncs; every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(
        self,
        connection_id: str,
        kind: Kind,
        *,
        trigger: str,
        resources: Sequence[str],
        object_id: str | None = None,
        range_start: datetime | None = None,
        range_end: datetime | None = None,
        after: timedelta | None = None,
        joins: bool = False,
        db: Database | None = None,
    ) -> str:
        """Queue a sync and return its id. A sync worker takes it up, also when no command wakes it.

        With `object_id` it is about that object of its one resource; `after` is how long it waits; with `db` it is
        queued within the caller's transaction. One that `joins` is not made where `find_queued` finds the same.
        """
        if joins and (
            waiting := await find_queued(
                db or self._pool, connection_id, kind, resources=resources, object_id=object_id, range_start=range_start
            )
        ):
            return waiting
        sync_id = make_id("syn")
        values = (connection_id, kind, trigger, list(resources), object_id, range_start, range_end, after)
        with database_errors():
            await (db or self._pool).execute(_INSERT, sync_id, *values)
        return sync_id

    async def reconcile(
        self,
        connection: Connection,
        *,
        trigger: str,
        now: float,
        window: timedelta = SILENT_WINDOW,
        joins: bool = False,
        db: Database | None = None,
    ) -> str:
        """Queue a comparison with Stripe: its event feed, our endpoint, the lists of what changes without an event.

        `window` says how far back those lists are read, at a call for every 100 objects. What the key may not read is
        left out: it is read from the beginning of its fault on, once the permission is back.
        """
        own = (EVENT_FEED, WEBHOOK_ENDPOINT) if connection.live_by is LiveBy.WEBHOOKS else (EVENT_FEED,)
        since, faulty = datetime.fromtimestamp(now, UTC) - window, {fault.resource for fault in connection.faults}
        silent = (n for n in connection.resources if not BY_NAME[n].is_in_event_feed or BY_NAME[n].changes_silently)
        return await self.create(
            connection.id,
            Kind.RECONCILE,
            trigger=trigger,
            resources=[name for name in (*own, *silent) if name not in faulty],
            range_start=max(since, connection.start_date) if connection.start_date else since,
            joins=joins,
            db=db,
        )

    async def resync(self, connection: Connection, resources: Sequence[str], *, db: Database | None = None) -> str:
        """Queue a new reading of `resources` from the start date on, or join one. Raises `PayloadError`."""
        if missing := [name for name in resources if name not in connection.resources]:
            raise PayloadError(f"`{missing[0]}` is not synced by this connection.", field="resources")
        return await self.create(
            connection.id,
            Kind.MANUAL,
            trigger="requested",
            resources=list(dict.fromkeys(resources)),
            range_start=connection.start_date,
            joins=True,
            db=db,
        )

    async def resync_object(
        self, connection: Connection, resource: str, object_id: str, *, db: Database | None = None
    ) -> str:
        """Queue a new reading of one object, or join one; raise `PayloadError` when its resource is not synced."""
        if resource not in connection.resources:
            raise PayloadError(f"`{resource}` is not synced by this connection.", field="object")
        return await self.create(
            connection.id,
            Kind.MANUAL,
            trigger="requested",
            resources=[resource],
            object_id=object_id,
            joins=True,
            db=db,
        )

    async def pause(self, sync_id: str, *, db: Database | None = None) -> bool:
        """Let the sync wait from its next checkpoint on; tell whether that is new, or raise `ConflictError`."""
        return await self._move(sync_id, (Status.PAUSED,), WAITING, "paused", db)

    async def resume(self, sync_id: str, *, db: Database | None = None) -> bool:
        """Let a paused sync go on from its checkpoints; tell or raise as `pause` does."""
        return await self._move(sync_id, (Status.RUNNING, Status.QUEUED), (Status.PAUSED,), "resumed", db)

    async def cancel(self, sync_id: str, *, db: Database | None = None) -> bool:
        """Give the sync up for good; what it has written stays. Tell or raise as `pause` does."""
        return await self._move(sync_id, (Status.CANCELLED,), OPEN, "cancelled", db)

    async def get(self, sync_id: str, *, db: Database | None = None) -> Sync:
        """Return the sync, with `db` as the caller's transaction sees it; raise `NotFoundError`."""
        with database_errors():
            row = await (db or self._pool).fetchrow(_SELECT % "id = $1", sync_id)
        if row is None:
            raise NotFoundError(f"There is no sync {sync_id}.")
        return _sync(row)

    async def list_newest(
        self,
        connection_id: str | None = None,
        *,
        kind: Kind | None = None,
        status: Status | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        with_quiet: bool = True,
        before: tuple[datetime, str] | None = None,
        limit: int = 25,
    ) -> list[Sync]:
        """Return syncs, newest first; `before` is time and id of the last one on the page before.

        Those of the connection, kind and status, if given, that were made at or after `since` and before `until`;
        comparisons that found nothing only `with_quiet`.
        """
        # Only what is asked for stands in the statement: with it, each set of filters is served by an index.
        wanted = {
            "connection_id = {}": connection_id,
            "kind = {}": kind,
            "status = {}": status,
            "created_at >= {}": since,
            "created_at < {}": until,
        }
        given = {condition: value for condition, value in wanted.items() if value is not None}
        conditions = [condition.format(f"${number}") for number, condition in enumerate(given, start=1)]
        values: list[object] = list(given.values())
        if not with_quiet:
            conditions.append(f"NOT ({IS_QUIET})")
        if before:
            conditions.append(f"(created_at, id) < (${len(values) + 1}, ${len(values) + 2})")
            values += before
        page = f"{' AND '.join(conditions) or 'true'} ORDER BY created_at DESC, id DESC LIMIT ${len(values) + 1}"
        with database_errors():
            rows = await self._pool.fetch(_SELECT % page, *values, limit)
        return [_sync(row) for row in rows]

    async def iterate(
        self,
        connection_id: str | None = None,
        *,
        kind: Kind | None = None,
        status: Status | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        batch: int = EXPORT_BATCH,
    ) -> AsyncIterator[Sync]:
        """Yield all that `list_newest` would return page by page, `batch` at a time, however many they are."""
        before: tuple[datetime, str] | None = None
        while True:
            page = await self.list_newest(
                connection_id, kind=kind, status=status, since=since, until=until, before=before, limit=batch
            )
            for sync in page:
                yield sync
            if len(page) < batch:
                return
            before = (page[-1].created_at, page[-1].id)

    async def progress(self, sync_id: str) -> list[ResourceProgress]:
        """Return how far the sync is with each of its resources."""
        with database_errors():
            rows = await self._pool.fetch(PROGRESS, sync_id, STRIPE_BEGAN)
        return [resource_progress(row) for row in rows]

    async def _move(
        self, sync_id: str, to: Sequence[Status], allowed: Sequence[Status], done: str, db: Database | None
    ) -> bool:
        with database_errors():
            if await (db or self._pool).execute(_MOVE, sync_id, to[0], list(allowed)) == "UPDATE 1":
                return True
        sync = await self.get(sync_id, db=db)
        if sync.kind is Kind.LIVE:
            raise ConflictError(f"An hour of live changes can't be {done}. Pause the connection instead.")
        if sync.status in to:
            return False
        raise ConflictError(f"This sync {SPOKEN[sync.status]}, so it can't be {done}.")
