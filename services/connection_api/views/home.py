"""What the Accounts page shows: how all accounts are, what needs somebody, and a page of them in the order wanted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from services.connection_api.account_filter import AccountFilter, HomeFilter, View
from services.connection_api.overview import Card, Overview
from services.connection_api.status import Word
from services.connection_api.views.figures import Amount, CallFigures, in_last_hour, read_all_calls, read_all_events
from services.connection_api.views.standings import ATTENTION, AccountStanding, Standings
from services.connection_api.views.verified import read_last_runs
from shared.db import Pool, database_errors

LIST_FROM = 10  # accounts, from which on they are a list unless somebody chose otherwise
NEEDS_SHOWN = 10
PAGE_SIZES: Mapping[View, int] = {View.LIST: 50, View.CARDS: 25}
FIGURES_KEPT = 10.0  # seconds
READ_ANEW = 3600.0  # seconds after which hours that have passed are read again: a connection may be gone
OPEN_HOURS = 2  # the hour that runs, and the one in which the last records may still be noted
NEEDING = (Word.ACTION_REQUIRED, Word.DELAYED)
FOLLOWING = (Word.LIVE, Word.BACKFILLING)  # whose newest event says how far behind it is

NEWEST_DELAYS = """
SELECT DISTINCT ON (connection_id) connection_id, seconds FROM resource_news
WHERE connection_id = ANY ($1::text[]) AND seconds IS NOT NULL ORDER BY connection_id, created DESC
"""
TODAY = """
SELECT connection_id, sum(inserted + updated + deleted)::bigint AS value, sum(inserted - deleted)::bigint AS added
FROM delivery_hours WHERE hour >= $1 GROUP BY connection_id
"""
PLACES = """
SELECT l.connection_id, min(lower(d.name)) AS value
FROM connection_destinations l JOIN destinations d ON d.id = l.destination_id GROUP BY l.connection_id
"""
Values = Mapping[str, float | str | None]  # connection → what it is sorted by


@dataclass(frozen=True, slots=True)
class Figures:
    """Events and calls of all accounts."""

    events: tuple[Amount, ...]
    last_hour: int
    p95: float | None
    calls: CallFigures


@dataclass(frozen=True, slots=True)
class State:
    """How all accounts are; `needing` has the worst first, and is cut."""

    total: int
    counts: tuple[tuple[Word, int], ...]  # without those that no account has
    needing: tuple[AccountStanding, ...]
    events: int  # in the last hour
    p95: float | None
    calls_share: float

    @property
    def needs_person(self) -> bool:
        """Whether any account can't go on without somebody."""
        return any(one.status.word is Word.ACTION_REQUIRED for one in self.needing)

    @property
    def left_out(self) -> tuple[tuple[Word, int], ...]:
        """How many of each word need attention and are not among `needing`; none where there are none."""
        shown = Counter(one.status.word for one in self.needing)
        return tuple((word, n) for word, n in self.counts if word in NEEDING and n > shown[word])


@dataclass(frozen=True, slots=True)
class Line:
    """An account of the page, and the seconds that it is behind, as far as they are known."""

    card: Card
    behind: float | None


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of accounts."""

    lines: tuple[Line, ...]
    wanted: HomeFilter
    view: View
    found: int  # on all pages

    @property
    def cards(self) -> tuple[Card, ...]:
        """The accounts."""
        return tuple(line.card for line in self.lines)

    @property
    def first(self) -> int:
        """The number of the first account of the page."""
        return (self.wanted.page - 1) * PAGE_SIZES[self.view] + 1

    @property
    def has_next(self) -> bool:
        """Whether a page follows."""
        return self.found > self.wanted.page * PAGE_SIZES[self.view]


class Home:
    """Reads the page's parts; `get` raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool_of: Callable[[], Pool], now: Callable[[], datetime]) -> None:
        """`pool_of` returns the state database's pool, `now` the time with its zone."""
        self._pool_of = pool_of
        self._now = now
        self._overview = Overview()
        self._standings = Standings()
        self._figures: Figures | None = None
        self._figures_at = self._anew_at = float("-inf")
        self._values: dict[str, tuple[float, Values]] = {}

    def forget(self) -> None:
        """Let what was just done show in the next look."""
        self._standings.forget()
        self._values.clear()

    async def read(self, wanted: HomeFilter) -> Mapping[str, object]:
        """Return the parts of the page: its `state`, its `cards` and its `pictures`."""
        pool, now = self._pool_of(), self._now()
        every = await self._standings.get(pool, now=now)
        figures = await self._read_figures(pool, now)
        return {
            "state": summed(every, figures),
            "cards": await self._read_page(pool, wanted, every, now),
            "pictures": figures,
        }

    async def _read_page(
        self, pool: Pool, wanted: HomeFilter, every: Sequence[AccountStanding], now: datetime
    ) -> Listed:
        view = wanted.view or (View.LIST if len(every) >= LIST_FROM else View.CARDS)
        size = PAGE_SIZES[view]
        found = [one for one in every if matches(one, wanted)]
        values = await self._values_of(pool, wanted.column, every, now)
        ordered = in_order(found, wanted.column, values, is_descending=wanted.is_descending)
        page = ordered[(wanted.page - 1) * size : wanted.page * size]
        ids = [one.id for one in page]
        cards = await self._overview.some(pool, ids, now=now)
        delays = await read_delays(pool, ids) if view is View.LIST else {}
        lines = tuple(
            Line(cards[one.id], behind_of(one, delays.get(one.id), now=now)) for one in page if one.id in cards
        )
        return Listed(lines, wanted, view, len(found))

    async def _read_figures(self, pool: Pool, now: datetime) -> Figures:
        kept, clock = self._figures, time.monotonic()
        if kept and clock - self._figures_at < FIGURES_KEPT:
            return kept
        if kept and clock - self._anew_at < READ_ANEW:
            events, p95 = await read_all_events(pool, now=now, known=kept.events[:-OPEN_HOURS])
            calls = await read_all_calls(pool, now=now, known=kept.calls.hours[:-OPEN_HOURS])
        else:
            events, p95 = await read_all_events(pool, now=now)
            calls = await read_all_calls(pool, now=now)
            self._anew_at = clock
        self._figures = Figures(events, in_last_hour(events, now), p95, calls)
        self._figures_at = clock
        return self._figures

    async def _values_of(self, pool: Pool, column: str, every: Sequence[AccountStanding], now: datetime) -> Values:
        """Return what all accounts are sorted by, where that is no part of how they stand."""
        if column in ("status", "name"):
            return {}
        read_at, values = self._values.get(column, (float("-inf"), {}))
        if time.monotonic() - read_at >= FIGURES_KEPT:
            values = await self._read_values(pool, column, every, now)
            self._values[column] = (time.monotonic(), values)
        return values

    async def _read_values(self, pool: Pool, column: str, every: Sequence[AccountStanding], now: datetime) -> Values:
        ids = [one.id for one in every]
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if column == "behind":
            delays = await read_delays(pool, ids)
            return {one.id: behind_of(one, delays.get(one.id), now=now) for one in every}
        if column == "verified":
            return {one: run.finished_at.timestamp() for one, run in (await read_last_runs(pool, ids)).items()}
        with database_errors():
            if column == "destination":
                return {row["connection_id"]: row["value"] for row in await pool.fetch(PLACES)}
            rows = {row["connection_id"]: row for row in await pool.fetch(TODAY, today)}
        if column == "today":
            return {one: rows[one]["value"] if one in rows else 0 for one in ids}
        before = await self._overview.rows_before(pool, ids, today)
        return {one: before[one] + (rows[one]["added"] if one in rows else 0) for one in ids}


async def read_delays(pool: Pool, connection_ids: Sequence[str]) -> dict[str, float]:
    """Return the seconds that the newest event of each connection took; raise `DatabaseUnavailableError`."""
    with database_errors():
        rows = await pool.fetch(NEWEST_DELAYS, list(connection_ids))
    return {row["connection_id"]: row["seconds"] for row in rows}


def summed(every: Sequence[AccountStanding], figures: Figures) -> State:
    """Return how all accounts are together."""
    counts = Counter(one.status.word for one in every)
    needing = sorted((one for one in every if one.status.word in NEEDING), key=lambda one: one.urgency)
    # Said as people ask: how many are well, then what is not.
    words = (Word.LIVE, *(word for word in ATTENTION if word is not Word.LIVE))
    return State(
        total=len(every),
        counts=tuple((word, counts[word]) for word in words if counts[word]),
        needing=tuple(needing[:NEEDS_SHOWN]),
        events=figures.last_hour,
        p95=figures.p95,
        calls_share=figures.calls.share,
    )


def matches(one: AccountStanding, wanted: AccountFilter) -> bool:
    """Tell whether an account is searched for and has the status that was chosen."""
    if wanted.status not in (None, one.status.word):
        return False
    if not wanted.q:
        return True
    q = wanted.q.lower()
    return one.id == wanted.q or any(q in text.lower() for text in (one.account_id, one.account_name, one.name))


def in_order(
    some: Sequence[AccountStanding], column: str, values: Values, *, is_descending: bool
) -> list[AccountStanding]:
    """Return accounts sorted by a column; what has no value comes last either way, and names decide between equals."""
    named = sorted(some, key=lambda one: (one.name.lower(), one.id))
    if column == "status":
        return sorted(named, key=lambda one: one.urgency, reverse=is_descending)
    if column == "name":
        return named[::-1] if is_descending else named
    known = [one for one in named if values.get(one.id) is not None]
    unknown = [one for one in named if values.get(one.id) is None]
    return sorted(known, key=lambda one: values[one.id], reverse=is_descending) + unknown  # type: ignore[arg-type,return-value]


def behind_of(one: AccountStanding, delay: float | None, *, now: datetime) -> float | None:
    """Return how far an account is behind: since something is owed, else as long as its newest event took.

    Minutes are whole, so that a page that is kept current changes once a minute.
    """
    if one.since:
        seconds = max(0.0, (now - one.since).total_seconds())
        return seconds // 60 * 60 if seconds < 3600 else seconds // 360 * 360
    return max(0.0, delay) if delay is not None and one.status.word in FOLLOWING else None
