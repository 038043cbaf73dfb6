"""What comparisons of an account's rows with Stripe have found: the last one, and the row of scheduled runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.db import Pool, Row, database_errors
from shared.verify_schedules import HowOften

SHOWN = 30  # runs
NIGHT_ENDS, NIGHT_BEGINS = 6, 20  # hours of the day
COUNTS = """
SELECT coalesce(sum(compared), 0)::bigint AS compared,
       coalesce(sum(different + missing + extra), 0)::bigint AS differences,
       coalesce(sum(skipped), 0)::bigint AS skipped
"""
RUNS = f"""
SELECT y.id AS sync_id, y.trigger, y.finished_at, k.*
FROM (SELECT id, trigger, finished_at, created_at FROM syncs
      WHERE connection_id = $1 AND kind = 'verify' AND status = 'succeeded' AND trigger = $2
      ORDER BY created_at DESC, id DESC LIMIT $3) y
CROSS JOIN LATERAL ({COUNTS} FROM comparisons WHERE sync_id = y.id) k
ORDER BY y.created_at DESC, y.id DESC
"""
# The newest one of each card: an index leads to it.
NEWEST = f"""
SELECT c.id AS connection_id, y.id AS sync_id, y.trigger, y.finished_at, k.*
FROM unnest($1::text[]) AS c (id)
CROSS JOIN LATERAL (SELECT id, trigger, finished_at FROM syncs
                    WHERE connection_id = c.id AND kind = 'verify' AND status = 'succeeded'
                    ORDER BY created_at DESC, id DESC LIMIT 1) y
CROSS JOIN LATERAL ({COUNTS} FROM comparisons WHERE sync_id = y.id) k
"""
# One that failed since the last that came to its end: it compared nothing that can be relied on.
FAILED = """
SELECT id AS sync_id, finished_at FROM syncs
WHERE connection_id = $1 AND kind = 'verify' AND status = 'failed'
  AND created_at > coalesce((SELECT max(created_at) FROM syncs
                             WHERE connection_id = $1 AND kind = 'verify' AND status = 'succeeded'), '-infinity')
ORDER BY created_at DESC, id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A comparison that came to no end."""

    sync_id: str
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Run:
    """One comparison that has come to its end; rows count at each destination."""

    sync_id: str
    trigger: str
    finished_at: datetime
    compared: int
    differences: int
    skipped: int  # rows that could not be compared: the destination did not answer

    @property
    def is_clean(self) -> bool:
        """Whether all that it looked at was equal."""
        return self.compared > 0 and not self.differences and not self.skipped


@dataclass(frozen=True, slots=True)
class Verified:
    """The last comparison, and the last ones that a schedule began."""

    last: Run | None
    scheduled: tuple[Run, ...]  # the newest first, all of one rhythm
    failed: FailedRun | None  # one that has failed since
    noun: str  # what a run of the schedule stands for: night, day or week

    @property
    def differences(self) -> int:
        """How many differences the scheduled runs have found together."""
        return sum(run.differences for run in self.scheduled)

    @property
    def skipped(self) -> int:
        """How many rows the scheduled runs could not compare."""
        return sum(run.skipped for run in self.scheduled)


def noun_of(how_often: HowOften, hour: int) -> str:
    """Return what a run stands for; one by day is no night."""
    if how_often is HowOften.WEEKLY:
        return "week"
    return "day" if NIGHT_ENDS <= hour < NIGHT_BEGINS else "night"


async def read_verified(pool: Pool, connection_id: str, *, how_often: HowOften, hour: int) -> Verified:
    """Return what a connection's comparisons have found; those of another rhythm are no part of the row.

    Raises `DatabaseUnavailableError`.
    """
    last = (await read_last_runs(pool, [connection_id])).get(connection_id)
    with database_errors():
        rows = await pool.fetch(RUNS, connection_id, how_often, SHOWN)
        failed = await pool.fetchrow(FAILED, connection_id)
    return Verified(
        last=last,
        scheduled=tuple(map(_run, rows)),
        failed=FailedRun(**failed) if failed else None,
        noun=noun_of(how_often, hour),
    )


async def read_last_runs(pool: Pool, connection_ids: Sequence[str]) -> dict[str, Run]:
    """Return the last comparison of each connection that had one; raise `DatabaseUnavailableError`."""
    with database_errors():
        rows = await pool.fetch(NEWEST, list(connection_ids))
    return {row["connection_id"]: _run(row) for row in rows}


def _run(row: Row) -> Run:
    return Run(**{name: row[name] for name in Run.__slots__})
