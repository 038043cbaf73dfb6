"""Comparisons of a connection's rows with what Stripe has (syncs of the kind `verify`), and the differences found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.catalogue import BY_NAME
from shared.connections import Connection
from shared.crypto import make_id
from shared.db import Connection as Database
from shared.db import Pool, Row, affected, database_errors
from shared.errors import ConflictError, PayloadError
from shared.sync_queue import find_queued
from shared.syncs import Kind, SyncStore

SAMPLE_PAGES = 5  # of each list, unless all of it is wanted
KEPT = 1000  # differences that are named of a sync; all are counted
COUNT_FIELDS = ("compared", "equal", "newer", "different", "missing", "extra", "skipped")
DIFFERENCE_FIELDS = ("different", "missing", "extra")

INSERT = """
INSERT INTO syncs (id, connection_id, kind, trigger, status, resources, range_start, sample_pages)
VALUES ($1, $2, 'verify', $3, 'queued', $4, $5, $6)
"""
COUNTS = f"""
SELECT c.resource, c.destination_id, coalesce(d.name, c.destination_id) AS destination, {", ".join(COUNT_FIELDS)}
FROM comparisons c LEFT JOIN destinations d ON d.id = c.destination_id
WHERE c.sync_id = $1 ORDER BY c.resource, destination, c.destination_id
"""
LIST = """
SELECT f.id, f.destination_id, d.name AS destination, f.resource, f.object_id, f.kind, f.fields, f.repaired_at,
       EXISTS (SELECT FROM parked_records p WHERE (p.destination_id, p.connection_id, p.resource, p.object_id)
               = (f.destination_id, f.connection_id, f.resource, f.object_id)) AS is_waiting
FROM differences f JOIN destinations d ON d.id = f.destination_id
WHERE f.sync_id = $1 AND f.status = 'confirmed' AND f.id > $2 ORDER BY f.id LIMIT $3
"""
WAITING = """
SELECT f.destination_id, d.name AS destination, count(*) AS objects
FROM differences f JOIN destinations d ON d.id = f.destination_id
JOIN parked_records p USING (destination_id, connection_id, resource, object_id)
WHERE f.sync_id = $1 AND f.status = 'confirmed' GROUP BY f.destination_id, d.name ORDER BY d.name
"""
# Asked again although it was repaired before: the answer to the first question may have been lost.
REPAIR = """
WITH wanted AS (
    UPDATE differences SET repaired_at = now() WHERE sync_id = $1 AND status = 'confirmed'
    RETURNING connection_id, resource, object_id
)
INSERT INTO refetches AS r (connection_id, resource, object_id, reason, due_at)
SELECT DISTINCT w.connection_id, w.resource, w.object_id, 'repair', now()
FROM wanted w JOIN connections c ON c.id = w.connection_id AND w.resource = ANY (c.resources)
ORDER BY 1, 2, 3
ON CONFLICT (connection_id, resource, object_id) DO UPDATE
SET generation = r.generation + 1, due_at = least(r.due_at, excluded.due_at), told_by = NULL
"""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the rows of one resource at one destination compare with what Stripe has."""

    resource: str
    destination_id: str
    destination: str
    compared: int
    equal: int
    newer: int
    different: int
    missing: int
    extra: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not what Stripe has."""

    id: int
    destination_id: str
    destination: str
    resource: str
    object_id: str
    kind: str
    fields: tuple[str, ...]
    repaired_at: datetime | None
    is_waiting: bool  # a record of it waits for the destination, so that it may be right soon


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many of the objects that differ wait for a destination."""

    destination_id: str
    destination: str
    objects: int


def is_comparable(resource: str) -> bool:
    """Tell whether a comparison means anything: what there is one of and changes with every payment is always late."""
    row = BY_NAME.get(resource)
    return row is not None and not (row.is_singleton and row.changes_silently)


def comparable(connection: Connection, resources: Sequence[str]) -> list[str]:
    """Return those of the resources that are compared: not what the key may not read."""
    faulty = {fault.resource for fault in connection.faults}
    return [name for name in resources if is_comparable(name) and name not in faulty]


def most_calls(connection: Connection, pages: int) -> int:
    """Return how many calls to Stripe a comparison of so many pages of each list makes at most.

    One object of each list is read alone as well, since a list may show less of it.
    """
    lists = sum(BY_NAME[name].walk_count for name in comparable(connection, connection.resources))
    return lists * (pages + 1)


class ComparisonStore:
    """Reads and queues comparisons; every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(
        self,
        connection: Connection,
        *,
        pages: int | None,
        resources: Sequence[str] | None,
        trigger: str,
        db: Database,
    ) -> str:
        """Queue a comparison within the caller's transaction, or join one; return its sync's id.

        It reads so many `pages` of each list, or all of them. Raises `PayloadError` for a resource that is not synced.
        """
        chosen = list(dict.fromkeys(resources or connection.resources))
        if missing := [name for name in chosen if name not in connection.resources]:
            raise PayloadError(f"`{missing[0]}` is not synced by this connection.", field="resources")
        wanted = comparable(connection, chosen)
        since = connection.start_date
        if waiting := await find_queued(
            db, connection.id, Kind.VERIFY, resources=wanted, range_start=since, sample_pages=pages
        ):
            return waiting
        sync_id = make_id("syn")
        await db.execute(INSERT, sync_id, connection.id, trigger, wanted, since, pages)
        return sync_id

    async def is_full(self, sync_id: str) -> bool:
        """Tell whether everything is compared, and not only a sample."""
        with database_errors():
            return bool(await self._pool.fetchval("SELECT sample_pages IS NULL FROM syncs WHERE id = $1", sync_id))

    async def counts(self, sync_id: str) -> list[Comparison]:
        """Return the counts by resource and destination; none of a sync that compares nothing."""
        with database_errors():
            rows = await self._pool.fetch(COUNTS, sync_id)
        return [Comparison(**dict(row)) for row in rows]

    async def differences(self, sync_id: str, *, after: int = 0, limit: int = 25) -> list[Difference]:
        """Return confirmed differences in the order in which they were found, after the one with the id `after`."""
        with database_errors():
            rows = await self._pool.fetch(LIST, sync_id, after, limit)
        return [_difference(row) for row in rows]

    async def waiting(self, sync_id: str) -> list[Waiting]:
        """Return how many of the differences wait for each destination, without those for which none does."""
        with database_errors():
            rows = await self._pool.fetch(WAITING, sync_id)
        return [Waiting(**row) for row in rows]

    async def repair(self, sync_id: str, *, db: Database) -> int:
        """Ask Stripe for every object that differs, within the caller's transaction; return how many there are.

        Raises `NotFoundError`, and `ConflictError` for a sync that compares nothing or has not ended.
        """
        sync = await SyncStore(self._pool).get(sync_id, db=db)
        if sync.kind is not Kind.VERIFY:
            raise ConflictError("Only a comparison has differences that can be repaired.")
        if sync.finished_at is None:
            raise ConflictError("The comparison has not ended yet.")
        return affected(await db.execute(REPAIR, sync_id))


def _difference(row: Row) -> Difference:
    return Difference(**(dict(row) | {"fields": tuple(row["fields"])}))
