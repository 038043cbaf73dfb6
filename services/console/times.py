"""Times as people read and write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from services.console.task import WrongUseError

MINUTE, HOUR, DAY = 60, 3600, 86_400  # seconds
PERIOD = re.compile(r"(\d{1,4})([hdwy])\Z")
HOURS = {"h": 1, "d": 24, "w": 24 * 7}


def moment(iso: str | None) -> str:
    """Return a time as people read it, in their own zone."""
    return _local(iso, "%Y-%m-%d %H:%M:%S %Z")


def minute(iso: str | None) -> str:
    """Return a time where a table has no place for its seconds, in the reader's own zone."""
    return _local(iso, "%Y-%m-%d %H:%M %Z")


def clock(iso: str) -> str:
    """Return the time of day."""
    return _local(iso, "%H:%M:%S")


def _local(iso: str | None, form: str) -> str:
    return datetime.fromisoformat(iso).astimezone().strftime(form) if iso else ""


def utc_moment(iso: str) -> str:
    """Return a time to the second in UTC, as dates that decide are shown; a day's beginning as the day."""
    at = datetime.fromisoformat(iso).astimezone(UTC)
    return at.strftime("%Y-%m-%d" if at.time() == at.min.time() else "%Y-%m-%d %H:%M:%S UTC")


def ago(iso: str | None, now: datetime) -> str:
    """Return how long ago something was; what is older than a month, by its date."""
    if iso is None:
        return "never"
    seconds = max(0.0, (now - datetime.fromisoformat(iso)).total_seconds())
    return f"{_rounded(seconds)} ago" if seconds < 30 * DAY else _local(iso, "%Y-%m-%d")


def span(length: timedelta) -> str:
    """Return a length of time in its largest unit, rounded down."""
    return _rounded(length.total_seconds())


def _rounded(seconds: float) -> str:
    for limit, size, unit in ((MINUTE, 1, "s"), (HOUR, MINUTE, "min"), (2 * DAY, HOUR, "h")):
        if seconds < limit:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds // DAY:.0f} days"


def parse_start_date(text: str, now: datetime) -> str | None:
    """Return what the API takes for `all`, `today`, `90d`, `2y` or an ISO date: a time in UTC, or null for all.

    A period ends today and begins at 00:00 UTC. Raises `WrongUseError`.
    """
    if text.strip().lower() == "all":
        return None
    at = _parse(text, now.astimezone(UTC))
    if at is None:
        raise WrongUseError(
            f"The start date “{text}” can't be read: give all, today, 90d, 2y, or a date such as 2025-01-31 "
            "or 2025-01-31T12:00:00Z.",
            field="start_date",
        )
    is_period = PERIOD.match(text.strip().lower()) is not None
    return _iso(at.replace(hour=0, minute=0, second=0, microsecond=0) if is_period else at)


def parse_moment(text: str, now: datetime, *, field: str) -> str:
    """Return what the API takes for `today`, `24h`, `7d` or an ISO time: a time in UTC. Raises `WrongUseError`."""
    at = _parse(text, now.astimezone(UTC))
    if at is None:
        raise WrongUseError(
            f"--{field} “{text}” can't be read: give today, 24h, 7d, or a time such as 2025-01-31T12:00:00Z.",
            field=field,
        )
    return _iso(at)


def _parse(text: str, now: datetime) -> datetime | None:
    word = text.strip().lower()
    if word == "today":
        return now.replace(hour=0, minute=0, second=0, microsecond=0)
    period = PERIOD.match(word)
    try:
        if period and period[2] == "y":
            return _years_before(now, int(period[1]))
        if period:
            return now - timedelta(hours=int(period[1]) * HOURS[period[2]])
        at = datetime.fromisoformat(text.strip())
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _years_before(at: datetime, years: int) -> datetime:
    """Return the same day; of a leap year's last day in February, the day before."""
    day = 28 if (at.month, at.day) == (2, 29) else at.day
    return at.replace(year=at.year - years, day=day)


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
