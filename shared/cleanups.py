"""What a writer has to take out of a destination: rows of a connection, or fields of its rows.

Only writers hold the destinations, so whoever wants something gone notes it here, and a writer does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.crypto import make_id
from shared.db import Connection, Pool, Row, database_errors, transaction
from shared.delays import Work, end_delays, note_delay

# A batch that came before the change is done by then, also a large one at a slow destination.
AFTER_A_CHANGE = timedelta(seconds=15)
LEASE = timedelta(seconds=30)

INSERT = """
INSERT INTO cleanups (id, connection_id, destination_id, account_id, livemode, kind, created_before, resources, fields,
                      not_before)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() + $10::interval)
"""
CLAIM = """
UPDATE cleanups SET lease_until = now() + $1::interval WHERE id = (
    SELECT x.id FROM cleanups x WHERE x.status = 'queued' AND x.not_before <= now()
      AND (x.lease_until IS NULL OR x.lease_until < now())
      AND EXISTS (SELECT FROM connections c WHERE c.id = x.connection_id)
    ORDER BY x.not_before LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING *
"""
# The rows of its account may be those of another connection by now.
FORGET_ORPHANS = """
DELETE FROM cleanups WHERE id IN (
    SELECT x.id FROM cleanups x WHERE NOT EXISTS (SELECT FROM connections c WHERE c.id = x.connection_id)
    ORDER BY x.id FOR UPDATE SKIP LOCKED)
"""
# Counts add up, so a cleanup that was cut off goes on counting.
NOTE = """
UPDATE cleanups SET lease_until = now() + $3::interval, cause = CASE WHEN status = 'queued' THEN NULL ELSE cause END,
    affected = (SELECT coalesce(jsonb_object_agg(key, n), '{}') FROM (
        SELECT key, sum(value::bigint) AS n FROM (
            SELECT * FROM jsonb_each_text(affected) UNION ALL SELECT * FROM jsonb_each_text($2)) u GROUP BY key) s)
WHERE id = $1
"""
# A person can give one up while a writer is at it: then it stays as the person has left it.
FINISH = """
UPDATE cleanups SET status = 'done', finished_at = now(), lease_until = NULL, cause = $2
WHERE id = $1 AND status = 'queued'
"""
# Rows of the same account, in the same place by what the server says of it, that another connection still delivers.
KEPT = """
SELECT unnest(c.resources) AS resource, min(c.account_name || ' through ' || d.name) AS by
FROM destinations own JOIN destinations d ON d.place = own.place AND d.id <> own.id
JOIN connection_destinations l ON l.destination_id = d.id AND l.account_id = $2 AND l.livemode = $3
JOIN connections c ON c.id = l.connection_id AND c.state <> 'removing'
WHERE own.id = $1 GROUP BY 1
"""
POSTPONE = """
UPDATE cleanups SET lease_until = NULL, not_before = now() + $2::interval, cause = $3
WHERE id = $1 AND status = 'queued' RETURNING connection_id, destination_id, not_before
"""
GIVE_UP = """
UPDATE cleanups SET status = 'done', finished_at = now(), lease_until = NULL,
    cause = 'A person gave up taking rows out of ' || destination_id || ', so they were left there.'
WHERE connection_id = $1 AND status = 'queued' RETURNING id, destination_id
"""
OF_CONNECTION = "SELECT * FROM cleanups WHERE connection_id = $1 ORDER BY created_at, id"


class Kind(StrEnum):
    """What is taken out."""

    ROWS = "rows"
    FIELDS = "fields"
    DELETED = "deleted"  # rows of objects that Stripe has not any more


@dataclass(frozen=True, slots=True)
class Cleanup:
    """One thing that has to go from one destination."""

    id: str
    connection_id: str
    destination_id: str
    account_id: str
    livemode: bool
    kind: Kind
    created_before: datetime | None
    resources: tuple[str, ...]
    fields: Mapping[str, Sequence[str]]
    is_done: bool
    affected: Mapping[str, int]
    cause: str | None


async def request_cleanup(
    db: Connection,
    connection_id: str,
    destination_id: str,
    account: tuple[str, bool],
    *,
    kind: Kind = Kind.ROWS,
    resources: Sequence[str],
    created_before: datetime | None = None,
    fields: Mapping[str, Sequence[str]] | None = None,
    after: timedelta = AFTER_A_CHANGE,
) -> str:
    """Note a cleanup within the caller's transaction and return its id; `account` is its id and mode.

    It begins once no writer works by what held before the transaction.
    """
    cleanup_id = make_id("cln")
    values = (*account, kind, created_before, list(resources), dict(fields or {}), after)
    await db.execute(INSERT, cleanup_id, connection_id, destination_id, *values)
    return cleanup_id


async def give_up_cleanups(db: Connection, connection_id: str) -> list[str]:
    """Give up what has not been taken out of the connection's destinations yet, within the caller's transaction.

    Returns the ids of the destinations whose rows were left.
    """
    rows = await db.fetch(GIVE_UP, connection_id)
    await end_delays(db, Work.CLEANUP, [row["id"] for row in rows])
    return sorted({row["destination_id"] for row in rows})


class CleanupStore:
    """Reads and writes cleanups; every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self) -> Cleanup | None:
        """Return one that is due, lent for half a minute; `None` when there is none.

        A cleanup whose connection is gone is never lent.
        """
        with database_errors():
            row = await self._pool.fetchrow(CLAIM, LEASE)
        return _cleanup(row) if row else None

    async def note(self, cleanup_id: str, affected: Mapping[str, int]) -> None:
        """Add rows per table to its counts, and keep it lent."""
        with database_errors():
            await self._pool.execute(NOTE, cleanup_id, dict(affected), LEASE)

    async def finish(self, cleanup_id: str, *, left: str | None = None) -> None:
        """Note that nothing is left to take out; `left` says what was left there and why."""
        async with transaction(self._pool) as db:
            await db.execute(FINISH, cleanup_id, left)
            await end_delays(db, Work.CLEANUP, [cleanup_id])

    async def kept_by_others(self, cleanup: Cleanup) -> Mapping[str, str]:
        """Return the resources whose rows stay, since another connection writes them to the same place; and which."""
        with database_errors():
            rows = await self._pool.fetch(KEPT, cleanup.destination_id, cleanup.account_id, cleanup.livemode)
        return {row["resource"]: row["by"] for row in rows}

    async def postpone(self, cleanup_id: str, *, seconds: float, code: str, cause: str) -> None:
        """Let it be tried again later, for a cause that people may read."""
        async with transaction(self._pool) as db:
            row = await db.fetchrow(POSTPONE, cleanup_id, timedelta(seconds=seconds), cause)
            if row:
                whose = {"connection_id": row["connection_id"], "destination_id": row["destination_id"]}
                told = {"code": code, "cause": cause, "next_try_at": row["not_before"]}
                await note_delay(db, Work.CLEANUP, cleanup_id, **told, **whose)

    async def forget_orphans(self) -> None:
        """Forget the cleanups of connections that are gone."""
        with database_errors():
            await self._pool.execute(FORGET_ORPHANS)

    async def of_connection(self, connection_id: str) -> list[Cleanup]:
        """Return all that were asked for, in order."""
        with database_errors():
            return [_cleanup(row) for row in await self._pool.fetch(OF_CONNECTION, connection_id)]


def _cleanup(row: Row) -> Cleanup:
    return Cleanup(
        row["id"],
        row["connection_id"],
        row["destination_id"],
        row["account_id"],
        row["livemode"],
        Kind(row["kind"]),
        row["created_before"],
        tuple(row["resources"]),
        row["fields"],
        row["status"] == "done",
        row["affected"],
        row["cause"],
    )
