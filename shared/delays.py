"""Delays: work that is tried again until it succeeds, with the reason that a person can read meanwhile.

Whoever tries again notes it here within a minute, and ends it when the work succeeds or is given up. The pages, REST
and the command line show it on the connection, the destination, the sync or the removal that the work belongs to.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.db import Connection, Pool, Row, database_errors

NOTE = """
INSERT INTO delays AS d (work, work_id, connection_id, destination_id, sync_id, code, cause, fix, next_try_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (work, work_id) DO UPDATE
SET code = excluded.code, cause = excluded.cause, fix = excluded.fix, next_try_at = excluded.next_try_at,
    attempts = d.attempts + 1
"""
END = """
DELETE FROM delays d USING (
    SELECT work_id FROM delays
    WHERE work = $1 AND work_id = ANY ($2::text[]) AND ($3::text[] IS NULL OR code = ANY ($3))
    ORDER BY work_id FOR UPDATE) ended
WHERE d.work = $1 AND d.work_id = ended.work_id
"""
COLUMNS = "work, work_id, code, cause, fix, since, attempts, next_try_at, connection_id, destination_id, sync_id"
OF_DESTINATION = f"SELECT {COLUMNS} FROM delays WHERE destination_id = $1 ORDER BY since, work, work_id"
OF_SYNC = f"SELECT {COLUMNS} FROM delays WHERE sync_id = $1 ORDER BY since, work, work_id"
# A destination that can't be written delays all its connections.
OF_CONNECTION = f"""
SELECT {COLUMNS} FROM delays
WHERE connection_id = $1
   OR (connection_id IS NULL
       AND destination_id IN (SELECT destination_id FROM connection_destinations WHERE connection_id = $1))
ORDER BY since, work, work_id
"""


class Work(StrEnum):
    """What kind of work is tried again."""

    DESTINATION = "destination"
    SLICE = "slice"
    CLEANUP = "cleanup"
    REMOVAL = "removal"
    QUESTION = "question"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """One piece of work that is tried again.

    `cause` and `fix` are sentences for people, `code` is the cause's stable name. `fix` is `None` where the work goes
    on by itself.
    """

    work: Work
    work_id: str
    code: str
    cause: str
    fix: str | None
    since: datetime
    attempts: int
    next_try_at: datetime
    connection_id: str | None
    destination_id: str | None
    sync_id: str | None


async def note_delay(
    db: Connection | Pool,
    work: Work,
    work_id: str,
    *,
    code: str,
    cause: str,
    next_try_at: datetime,
    fix: str | None = None,
    connection_id: str | None = None,
    destination_id: str | None = None,
    sync_id: str | None = None,
) -> None:
    """Note one more failed try; the first one's time stays. Raises `DatabaseUnavailableError`."""
    with database_errors():
        await db.execute(NOTE, work, work_id, connection_id, destination_id, sync_id, code, cause, fix, next_try_at)


async def end_delays(
    db: Connection | Pool, work: Work, work_ids: Collection[str], *, codes: Collection[str] | None = None
) -> None:
    """Forget the delays of work that has succeeded or was given up, of these causes alone if `codes` are given.

    Raises `DatabaseUnavailableError`.
    """
    with database_errors():
        await db.execute(END, work, list(work_ids), None if codes is None else list(codes))


async def delays_of_connection(db: Connection | Pool, connection_id: str) -> list[Delay]:
    """Return what is delayed of a connection, its destinations included, oldest first."""
    return await _read(db, OF_CONNECTION, connection_id)


async def delays_of_destination(db: Connection | Pool, destination_id: str) -> list[Delay]:
    """Return what is delayed at a destination, oldest first."""
    return await _read(db, OF_DESTINATION, destination_id)


async def delays_of_sync(db: Connection | Pool, sync_id: str) -> list[Delay]:
    """Return what is delayed of a sync, oldest first."""
    return await _read(db, OF_SYNC, sync_id)


async def _read(db: Connection | Pool, sql: str, owner: str) -> list[Delay]:
    with database_errors():
        return [_delay(row) for row in await db.fetch(sql, owner)]


def _delay(row: Row) -> Delay:
    return Delay(**{**row, "work": Work(row["work"])})
