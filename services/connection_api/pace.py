"""How fast a sync is and what is left of it, and how people read that; it knows no more than shares and clocks tell."""

from __future__ import annotations

from datetime import datetime

MINUTE, HOUR, DAY = 60, 3600, 86400  # seconds
SOONEST_GUESS = 10.0  # seconds: before that a rate says more about the start than about the rest
LONGEST_GUESS = 30 * DAY  # beyond that a guess is no help
UNITS = ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "min"), (MINUTE, "min", 1, "s"))


def duration_text(seconds: float) -> str:
    """Return a duration in its two largest units, such as `3 min 20 s`; below ten seconds with tenths."""
    if seconds < 0.05:
        return "0 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 ", " ")
    whole = round(seconds)
    for size, unit, smaller, smaller_unit in UNITS:
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit} {rest} {smaller_unit}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def elapsed_of(started_at: datetime | None, finished_at: datetime | None, now: datetime) -> float | None:
    """Return the seconds that something took, or has taken so far; `None` before it has started."""
    return None if started_at is None else max(0.0, ((finished_at or now) - started_at).total_seconds())


def rate_of(rows: int, elapsed_seconds: float) -> float | None:
    """Return rows per second; `None` while there is nothing to tell it from."""
    if rows <= 0 or elapsed_seconds < 1:
        return None
    return rows / elapsed_seconds


def rate_text(rate: float | None) -> str | None:
    """Return a rate as people read it: whole rows per second, below ten with a tenth, slow ones by the minute."""
    if rate is None:
        return None
    if rate < 0.95:
        return f"{max(1, round(rate * MINUTE))} rows/min"
    return f"{rate:.1f} rows/s" if rate < 9.95 else f"{round(rate):,} rows/s"


def remaining_seconds(share: float, elapsed_seconds: float) -> float | None:
    """Return how long the rest will take if it goes on as it went; `None` when that can't be told.

    That is in the first ten seconds, before anything is covered, and when the guess would be absurd.
    """
    if elapsed_seconds < SOONEST_GUESS or not 0 < share <= 1:
        return None
    rest = elapsed_seconds * (1 - share) / share
    return rest if rest <= LONGEST_GUESS else None


def remaining_text(seconds: float | None) -> str | None:
    """Return a guess no finer than it is worth, such as `about 4 min`."""
    if seconds is None:
        return None
    if seconds < 10:
        return "a few seconds"
    if seconds < 55:
        return f"about {_rounded(seconds, 10)} s"
    if seconds < HOUR:
        return f"about {_rounded(seconds, MINUTE) // MINUTE} min"
    if seconds < 10 * HOUR:
        halves = _rounded(seconds, HOUR // 2)
        hours, minutes = halves // HOUR, halves % HOUR // MINUTE
        return f"about {hours} h {minutes} min" if minutes else f"about {hours} h"
    if seconds < 2 * DAY:
        return f"about {_rounded(seconds, HOUR) // HOUR} h"
    return f"about {_rounded(seconds, DAY) // DAY} days"


def _rounded(seconds: float, step: int) -> int:
    return max(step, round(seconds / step) * step)
