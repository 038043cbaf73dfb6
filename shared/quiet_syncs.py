"""Comparisons with Stripe that found nothing: a hundred a day of each connection, so they are told by the day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from shared.db import Pool, database_errors

# A comparison that has ended well and found nothing to write.
IS_QUIET = "kind IN ('gap_fill', 'reconcile') AND status = 'succeeded' AND inserted + updated + deleted + failed = 0"
_DAYS = f"""
SELECT (created_at AT TIME ZONE $1::text)::date AS day, count(*) AS number, max(created_at) AS newest_at
FROM syncs WHERE {IS_QUIET} AND %s GROUP BY 1
HAVING max(created_at) >= coalesce($2, '-infinity'::timestamptz)
   AND max(created_at) < coalesce($3, 'infinity'::timestamptz)
ORDER BY 1 DESC
"""
_DAY = "date_trunc('day', {} AT TIME ZONE $1::text)"
WANTED = (
    "connection_id = {}",
    "created_at >= {}",
    "created_at < {}",
    f"created_at >= {_DAY.format('{}::timestamptz')} AT TIME ZONE $1::text",
    f"created_at < ({_DAY.format('{}::timestamptz')} + interval '1 day') AT TIME ZONE $1::text",
)


@dataclass(frozen=True, slots=True)
class QuietDay:
    """A day's comparisons that found nothing to write."""

    day: date
    number: int
    newest_at: datetime

    @property
    def day_text(self) -> str:
        """The day as people read it."""
        return f"{self.day:%-d %b %Y}"


async def quiet_days(
    pool: Pool,
    zone: str,
    *,
    connection_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    newest_from: datetime | None = None,
    newest_before: datetime | None = None,
) -> list[QuietDay]:
    """Return the days of a time zone with comparisons that found nothing, newest first.

    Those whose newest one was made at or after `newest_from` and before `newest_before`, so that a day stands on one
    page of a list; each is counted as a whole within `since` and `until`. Raises `DatabaseUnavailableError`.
    """
    values: list[object] = [zone, newest_from, newest_before]
    conditions = ["true"]
    for condition, value in zip(WANTED, (connection_id, since, until, newest_from, newest_before), strict=True):
        if value is not None:
            values.append(value)
            conditions.append(condition.format(f"${len(values)}"))
    with database_errors():
        rows = await pool.fetch(_DAYS % " AND ".join(conditions), *values)
    return [QuietDay(row["day"], row["number"], row["newest_at"]) for row in rows]
