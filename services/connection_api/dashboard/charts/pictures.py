"""Pictures of what the views read: what is drawn, what it says in words, and the table that says the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from services.connection_api.dashboard.charts import shapes

HEIGHT = 48  # units of a picture; the page scales them
STEP = 4
SPARK_HEIGHT = 16
NO_EVENTS = "No events yet"


@dataclass(frozen=True, slots=True)
class Point:
    """One moment of a series; `None` is a gap."""

    at: datetime
    value: float | None


@dataclass(frozen=True, slots=True)
class Table:
    """The same in cells: what the columns are called, then the rows."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Path:
    """An outline and its class: `bar`, `line` or `line second`."""

    shape: str
    d: str


@dataclass(frozen=True, slots=True)
class Picture:
    """What `charts/picture.html` shows; without `paths` it says `empty`."""

    title: str
    sentence: str
    width: float
    height: float
    paths: tuple[Path, ...]
    top: str  # what full height stands for
    marks: tuple[str, ...]  # below: the first moment, the middle, the last
    table: Table
    empty: str = NO_EVENTS
    legend: tuple[tuple[str, str], ...] = ()  # class and name of each line


@dataclass(frozen=True, slots=True)
class Spark:
    """A small picture in a row, said in words."""

    title: str
    width: float
    height: float
    d: str


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole, from 0 to 100."""

    title: str
    percent: float
    width: float  # of the bar, of 100; what is not nothing is seen
    tone: str  # good, warning or bad


def bars(
    title: str,
    points: Sequence[Point],
    *,
    zone: tzinfo,
    noun: str = "events",
    sentence: str | None = None,
    table: Table | None = None,
    empty: str = NO_EVENTS,
) -> Picture:
    """Return a picture with a bar for each hour or day; `table` replaces the one with a row for each point."""
    values = [point.value for point in points]
    top = shapes.highest(values)
    path = shapes.bars(values, height=HEIGHT, top=top, step=STEP)
    daily = _is_daily(points)
    return Picture(
        title=title,
        sentence=sentence or _say_bars(points, noun, zone, daily=daily),
        width=max(1, len(points)) * STEP,
        height=HEIGHT,
        paths=(Path("bar", path),) if path else (),
        top=f"{top:,.0f}",
        marks=_marks(points, zone, daily=daily),
        table=table or _table(points, noun, zone, daily=daily),
        empty=empty,
    )


def pair(
    title: str,
    points: Sequence[Point],
    upper: Sequence[Point],
    *,
    zone: tzinfo,
    sentence: str | None = None,
    names: tuple[str, str] = ("Half are faster than (p50)", "95 % are faster than (p95)"),
    table: Table | None = None,
    empty: str = NO_EVENTS,
) -> Picture:
    """Return a picture of two lines of seconds, `upper` being p95; both have the same moments."""
    low, high = [p.value for p in points], [p.value for p in upper]
    top = shapes.highest(low, high)
    daily = _is_daily(points)
    is_empty = all(value is None for value in (*low, *high))
    drawn = [
        Path(shape, shapes.line(values, height=HEIGHT, top=top, step=STEP))
        for shape, values in (("line second", high), ("line", low))
    ]
    newest = next((p for p in reversed(upper) if p.value is not None), None)
    said = f"95 % within {seconds_text(newest.value or 0)}; at most {seconds_text(top)}." if newest else f"{empty}."
    rows = tuple(
        (moment_text(a.at, zone, daily=daily), seconds_text(a.value), seconds_text(b.value))
        for a, b in zip(points, upper, strict=True)
        if a.value is not None and b.value is not None
    )
    return Picture(
        title=title,
        sentence=sentence or said,
        width=max(1, len(points)) * STEP,
        height=HEIGHT,
        paths=() if is_empty else tuple(path for path in drawn if path.d),
        top=seconds_text(top),
        marks=_marks(points, zone, daily=daily),
        table=table or Table(("Time", *names), rows),
        empty=empty,
        legend=(("line", "p50"), ("line second", "p95")),
    )


def spark(values: Sequence[float | None], noun: str = "rows") -> Spark:
    """Return a sparkline of days, the last one being today."""
    top = shapes.highest(values)
    d = shapes.bars(values, height=SPARK_HEIGHT, top=top, step=STEP)
    total = sum(value or 0 for value in values)
    return Spark(f"{total:,.0f} {noun} in {len(values)} days", len(values) * STEP, SPARK_HEIGHT, d)


def share(part: float, whole: float, what: str) -> Share:
    """Return a bar of a part of a whole, with its tone: a warning from 70 %, bad from 90 %."""
    percent = max(0.0, part / whole * 100) if whole > 0 else 0.0
    tone = "bad" if percent >= 90 else "warning" if percent >= 70 else "good"
    drawn = 0.0 if percent <= 0 else min(100.0, max(1.0, percent))
    return Share(f"{percent_text(percent)} of {what}", percent, round(drawn, 1), tone)


def percent_text(percent: float) -> str:
    """Return per cent as people read it: what is not nothing is never 0 %."""
    if percent <= 0:
        return "0 %"
    if percent < 0.1:
        return "less than 0.1 %"
    return f"{percent:.1f} %" if percent < 10 else f"{percent:,.0f} %"


def seconds_text(seconds: float | None) -> str:
    """Return a delay in one unit, such as `0.4 s`; `–` where none is known."""
    if seconds is None:
        return "–"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"


def moment_text(at: datetime, zone: tzinfo, *, daily: bool) -> str:
    """Return a moment in the viewer's zone, no finer than the series."""
    local = at.astimezone(zone)
    return f"{local:%a %-d %b}" if daily else f"{local:%a %-d %b, %H:%M}"


def _is_daily(points: Sequence[Point]) -> bool:
    return len(points) > 1 and (points[1].at - points[0].at).total_seconds() > 12 * 3600


def _marks(points: Sequence[Point], zone: tzinfo, *, daily: bool) -> tuple[str, ...]:
    if not points:
        return ()
    last = "today" if daily else "now"
    if len(points) < 3:
        return (moment_text(points[0].at, zone, daily=daily), last)
    first, middle = points[0].at.astimezone(zone), points[len(points) // 2].at.astimezone(zone)
    form = "%-d %b" if daily or (points[-1].at - points[0].at).days >= 2 else "%H:%M"
    return (f"{first:{form}}", f"{middle:{form}}", last)


def _say_bars(points: Sequence[Point], noun: str, zone: tzinfo, *, daily: bool) -> str:
    total = sum(point.value or 0 for point in points)
    if not total:
        return f"No {noun} in this time."
    best = max(points, key=lambda point: point.value or 0)
    return f"{total:,.0f} {noun}; most at {moment_text(best.at, zone, daily=daily)}: {best.value or 0:,.0f}."


def _table(points: Sequence[Point], noun: str, zone: tzinfo, *, daily: bool) -> Table:
    """Return a row for each day; of hours the day's sum and its busiest hour."""
    if daily:
        return Table(
            ("Day", noun.capitalize()),
            tuple((moment_text(p.at, zone, daily=True), f"{p.value or 0:,.0f}") for p in reversed(points)),
        )
    days: dict[str, list[Point]] = {}
    for point in points:
        days.setdefault(moment_text(point.at, zone, daily=True), []).append(point)
    rows = []
    for day, hours in reversed(days.items()):
        best = max(hours, key=lambda one: one.value or 0)
        busiest = f"{best.at.astimezone(zone):%H:%M} ({best.value:,.0f})" if best.value else "–"
        rows.append((day, f"{sum(one.value or 0 for one in hours):,.0f}", busiest))
    return Table(("Day", noun.capitalize(), "Busiest hour"), tuple(rows))
