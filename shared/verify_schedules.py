"""When a connection's rows are compared with Stripe by themselves, and how much of Stripe a run may read.

A run that was missed, while a worker was down or the connection paused, is caught up once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo

from shared.db import Connection as Database
from shared.db import Pool, Row, database_errors
from shared.errors import PayloadError
from shared.zones import find_zone

MOST_PAGES = 20  # of each list
SUNDAY = 6

GET = "SELECT how_often, hour, zone, pages, next_run_at FROM verify_schedules WHERE connection_id = $1"
PUT = """
INSERT INTO verify_schedules AS v (connection_id, how_often, hour, zone, pages, next_run_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (connection_id) DO UPDATE SET how_often = excluded.how_often, hour = excluded.hour, zone = excluded.zone,
    pages = excluded.pages, next_run_at = excluded.next_run_at
"""
# One comparison at a time. While history is copied, what is not there yet would count as missing.
_IS_DUE = """
v.next_run_at <= $1
AND NOT EXISTS (SELECT FROM syncs y WHERE y.connection_id = v.connection_id AND y.kind IN ('verify', 'backfill')
                AND y.status IN ('queued', 'running', 'paused'))
"""
DUE = f"""
SELECT v.connection_id FROM verify_schedules v JOIN connections c ON c.id = v.connection_id AND c.state = 'active'
WHERE {_IS_DUE} ORDER BY v.next_run_at, v.connection_id LIMIT 100
"""
# Of two workers, the second waits here and finds that it is not due any more.
HOLD = "SELECT true FROM connections WHERE id = $1 AND state = 'active' FOR NO KEY UPDATE"
TAKE = f"""
SELECT how_often, hour, zone, pages, next_run_at FROM verify_schedules v WHERE {_IS_DUE} AND v.connection_id = $2
"""
MOVE = "UPDATE verify_schedules SET next_run_at = $2 WHERE connection_id = $1"
NEXT = "SELECT min(next_run_at) FROM verify_schedules WHERE next_run_at > $1"


class HowOften(StrEnum):
    """How often the rows are compared; every week means on Sundays, when shops rest."""

    NEVER = "never"
    DAILY = "daily"
    WEEKLY = "weekly"


@dataclass(frozen=True, slots=True)
class VerifySchedule:
    """When a connection is compared, and how many pages of each list a run reads at most.

    Nobody has chosen it: never. Stripe rations reads, so that a person sees the cost before any are spent.
    """

    how_often: HowOften = HowOften.NEVER
    hour: int = 2
    zone: str = "UTC"
    pages: int = 2
    next_run_at: datetime | None = None


def read_zone(name: str) -> ZoneInfo:
    """Return the zone with this name; raise `PayloadError` for one that nobody knows."""
    zone = find_zone(name)
    if zone is None:
        raise PayloadError("This time zone is not known. Give one such as `Europe/Berlin`.", field="zone")
    return zone


def next_run(now: datetime, hour: int, zone: tzinfo, how_often: HowOften) -> datetime | None:
    """Return the first moment after `now` at which a run begins, in UTC; `None` where there is none.

    An hour that a change of the clocks leaves out begins when the clocks have moved; one that it repeats counts once,
    the first time: https://peps.python.org/pep-0495/.
    """
    if how_often is HowOften.NEVER:
        return None
    today = now.astimezone(zone).date()
    for ahead in range(9):
        day = today + timedelta(days=ahead)
        if how_often is HowOften.WEEKLY and day.weekday() != SUNDAY:
            continue
        at = datetime(day.year, day.month, day.day, hour, tzinfo=zone).astimezone(UTC)
        if at > now:
            return at
    raise AssertionError("nine days have a Sunday that is to come")


class VerifyScheduleStore:
    """Reads and writes schedules; every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self, connection_id: str) -> VerifySchedule:
        """Return the connection's schedule; one that nobody has chosen says never."""
        with database_errors():
            row = await self._pool.fetchrow(GET, connection_id)
        return _schedule(row) if row else VerifySchedule()

    async def put(self, connection_id: str, wanted: VerifySchedule, *, now: datetime, db: Database) -> None:
        """Keep a schedule within the caller's transaction; when it runs next follows from `now`.

        Raises `PayloadError` for a zone that nobody knows.
        """
        at = next_run(now, wanted.hour, read_zone(wanted.zone), wanted.how_often)
        await db.execute(PUT, connection_id, wanted.how_often, wanted.hour, wanted.zone, wanted.pages, at)

    async def due(self, now: datetime) -> list[str]:
        """Return active connections that are to be compared now, those that wait the longest first."""
        with database_errors():
            return [row["connection_id"] for row in await self._pool.fetch(DUE, now)]

    async def take(self, connection_id: str, *, now: datetime, db: Database) -> VerifySchedule | None:
        """Take a run that is due and set the next one, within the caller's transaction.

        The connection is held until that ends. Returns `None` where nothing is due any more.
        """
        if not await db.fetchval(HOLD, connection_id):
            return None
        row = await db.fetchrow(TAKE, now, connection_id)
        if row is None:
            return None
        schedule = _schedule(row)
        at = next_run(now, schedule.hour, read_zone(schedule.zone), schedule.how_often)
        await db.execute(MOVE, connection_id, at)
        return schedule

    async def next_due(self, now: datetime) -> datetime | None:
        """Return when the next run after `now` is due; `None` where none is."""
        with database_errors():
            at: datetime | None = await self._pool.fetchval(NEXT, now)
        return at


def _schedule(row: Row) -> VerifySchedule:
    return VerifySchedule(**(dict(row) | {"how_often": HowOften(row["how_often"])}))
