"""What the Accounts page shows: every connection of a page with its status, its rows and its newest backfill."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from services.connection_api.account_filter import AccountFilter, cursor_after
from services.connection_api.debts import read_owed
from services.connection_api.labels import label_of, rank_of
from services.connection_api.standing import standing_of
from services.connection_api.status import Owed, Status, percent_of
from services.connection_api.views.verified import Run, read_last_runs
from shared.connections import LAST_SYNCED, LiveBy, State
from shared.db import Pool, Row, database_errors
from shared.errors import NotFoundError
from shared.sync_progress import Counts, ResourceProgress, read_progress
from shared.syncs import Status as SyncStatus

PAGE_SIZE = 25
NEWS = timedelta(days=1)  # how long a backfill that went well is worth a line
FINISHED_KEPT = 200  # finished backfills whose figures are kept in memory
POSTGRES_PORT = 5432

MOST_NAMED = 3  # resources
NOTHING = Counts()
# How the trigger of a backfill reads behind what it was about.
AFTER = {
    "permission is back": "after a permission came back",
    "start date moved": "after the start date was moved",
    "choice changed": "newly chosen",
    "destination added": "for a new destination",
    "destination caught up": "after a destination had caught up",
}
# Of the days before today, which do not change any more.
ROWS_BEFORE = """
SELECT connection_id, sum(inserted - deleted)::bigint AS rows FROM delivery_hours
WHERE connection_id = ANY ($1::text[]) AND hour < $2 GROUP BY connection_id
"""

# Which rows are shown is decided first: what is told of each takes a look at other tables.
CARDS = """
SELECT c.id, c.account_id, c.account_name, c.name, lower(coalesce(c.name, c.account_name)) AS sorted_name,
       c.livemode, c.state,
       CASE c.state WHEN 'removing' THEN (SELECT r.cause FROM removals r WHERE r.connection_id = c.id
                                          AND r.finished_at IS NULL LIMIT 1) ELSE c.cause END AS cause,
       c.live_by, c.start_date, c.events_complete_to, c.created_at,
       {last_synced} AS last_synced_at,
       (SELECT coalesce(sum(h.inserted + h.updated + h.deleted), 0)::bigint FROM delivery_hours h
        WHERE h.connection_id = c.id AND h.hour >= $5) AS rows_today,
       (SELECT coalesce(sum(h.inserted - h.deleted), 0)::bigint FROM delivery_hours h
        WHERE h.connection_id = c.id AND h.hour >= $5) AS rows_added,
       (SELECT coalesce(jsonb_agg(
            jsonb_build_object('id', d.id, 'name', d.name, 'settings', d.settings) ORDER BY d.name), '[]')
        FROM connection_destinations l JOIN destinations d ON d.id = l.destination_id
        WHERE l.connection_id = c.id) AS places,
       b.id AS sync_id, b.status AS sync_status, b.cause AS sync_cause, b.resources AS sync_resources,
       b.started_at AS sync_started_at, b.finished_at AS sync_finished_at,
       b.trigger AS sync_trigger, cardinality(c.resources) AS synced
FROM (
    SELECT * FROM connections
    WHERE (lower(coalesce(name, account_name)), id) > ($1, $2)
      AND ($3::text IS NULL OR id = $3 OR strpos(lower(account_id), lower($3)) > 0
           OR strpos(lower(account_name), lower($3)) > 0 OR strpos(lower(name), lower($3)) > 0)
      AND {condition}
    ORDER BY lower(coalesce(name, account_name)), id LIMIT $4
) c
LEFT JOIN LATERAL (
    SELECT id, status, cause, resources, started_at, finished_at, trigger FROM syncs
    WHERE connection_id = c.id AND kind = 'backfill' ORDER BY created_at DESC, id DESC LIMIT 1
) b ON true
ORDER BY sorted_name, c.id
"""


@dataclass(frozen=True, slots=True)
class ResourceLine:
    """How far a backfill is with one resource."""

    name: str
    label: str
    percent: int
    read: int
    counts: Counts
    is_done: bool
    cause: str | None

    @property
    def written(self) -> int:
        """How many rows were inserted or updated."""
        return self.counts.inserted + self.counts.updated

    @property
    def is_waiting(self) -> bool:
        """Whether nothing has been fetched yet."""
        return not self.is_done and self.percent == 0 and self.read == 0


@dataclass(frozen=True, slots=True)
class Backfill:
    """A connection's newest backfill."""

    sync_id: str
    status: SyncStatus
    cause: str | None
    started_at: datetime | None
    finished_at: datetime | None
    share: float
    lines: tuple[ResourceLine, ...]
    what: str | None = None  # which part of the history it was, and after what; None: all of it

    @property
    def failed(self) -> int:
        """How many records could not be written."""
        return sum(line.counts.failed for line in self.lines)

    @property
    def is_open(self) -> bool:
        """Whether it is under way or about to be."""
        return self.status in (SyncStatus.QUEUED, SyncStatus.RUNNING, SyncStatus.PAUSED)

    @property
    def percent(self) -> int:
        """How far it is."""
        return 100 if self.status is SyncStatus.SUCCEEDED else percent_of(self.share)

    @property
    def read(self) -> int:
        """How many records were read."""
        return sum(line.read for line in self.lines)

    @property
    def written(self) -> int:
        """How many rows were inserted or updated."""
        return sum(line.written for line in self.lines)

    @property
    def tables(self) -> int:
        """Of how many tables it read something."""
        return sum(line.read > 0 for line in self.lines)


@dataclass(frozen=True, slots=True)
class Place:
    """Where rows go, without secrets."""

    id: str
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Card:
    """A connection as the page shows it."""

    id: str
    account_id: str
    account_name: str
    name: str
    livemode: bool
    live_by: LiveBy
    status: Status
    created_at: datetime
    start_date: datetime | None
    last_synced_at: datetime | None
    rows_today: int
    rows: int  # inserted less deleted since it was connected, over all destinations
    places: tuple[Place, ...]
    backfill: Backfill | None
    state: State
    owed: tuple[Owed, ...]  # the worst first
    verified: Run | None = None  # the last comparison of its rows with Stripe


@dataclass(frozen=True, slots=True)
class Accounts:
    """A page of cards; `next_cursor` is where the next page begins, `None` on the last one."""

    cards: tuple[Card, ...]
    wanted: AccountFilter
    next_cursor: str | None


class Overview:
    """Reads what the Accounts page shows; raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self) -> None:
        self._finished: dict[str, list[ResourceProgress]] = {}
        self._rows_before: dict[str, tuple[datetime, int]] = {}  # connection → day, rows before it

    async def read(self, pool: Pool, wanted: AccountFilter, *, now: datetime, limit: int = PAGE_SIZE) -> Accounts:
        """Return the accounts that are wanted, by name; "today" is the day of `now` in UTC."""
        found: list[tuple[Card, str]] = []
        place: Sequence[str] | None = wanted.place
        while place and len(found) <= limit:
            cards, place = await self._read_some(pool, wanted, place, now, limit + 1)
            found += [(card, name) for card, name in cards if wanted.status in (None, card.status.word)]
        page = found[:limit]
        last = page[-1] if len(found) > limit else None
        return Accounts(tuple(card for card, _ in page), wanted, cursor_after(last[1], last[0].id) if last else None)

    async def one(self, pool: Pool, connection_id: str, *, now: datetime) -> Card:
        """Return one account; raise `NotFoundError`."""
        cards, _ = await self._read_some(pool, AccountFilter(q=connection_id), ("", ""), now, 2)
        for card, _ in cards:
            if card.id == connection_id:
                return card
        raise NotFoundError(f"There is no connection {connection_id}.")

    async def some(self, pool: Pool, connection_ids: Sequence[str], *, now: datetime) -> dict[str, Card]:
        """Return the accounts with these ids; one that is gone is missing."""
        if not connection_ids:
            return {}
        cards, _ = await self._read_some(pool, AccountFilter(), ("", ""), now, len(connection_ids), connection_ids)
        return {card.id: card for card, _ in cards}

    async def _read_some(
        self,
        pool: Pool,
        wanted: AccountFilter,
        place: Sequence[str],
        now: datetime,
        limit: int,
        connection_ids: Sequence[str] | None = None,
    ) -> tuple[list[tuple[Card, str]], Sequence[str] | None]:
        """Return cards that may be wanted, each with its name as it is sorted, and where to go on."""
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        condition = wanted.condition if connection_ids is None else "id = ANY ($6::text[])"
        sql = CARDS.format(condition=condition, last_synced=LAST_SYNCED)
        ids = [] if connection_ids is None else [list(connection_ids)]
        with database_errors():
            rows = await pool.fetch(sql, *place, wanted.q, limit, today, *ids)
        before = await self.rows_before(pool, [row["id"] for row in rows], today)
        verified = await read_last_runs(pool, [row["id"] for row in rows])
        owed = await read_owed(pool, [row["id"] for row in rows], now=now)
        backfills = await self._backfills(pool, rows, now)
        cards = [
            (
                _card(
                    row,
                    backfills.get(row["id"]),
                    owed[row["id"]],
                    verified.get(row["id"]),
                    now=now,
                    rows_before=before[row["id"]],
                ),
                row["sorted_name"],
            )
            for row in rows
        ]
        last = cards[-1] if len(rows) == limit else None
        return cards, (last[1], last[0].id) if last else None

    async def rows_before(self, pool: Pool, connection_ids: Sequence[str], today: datetime) -> dict[str, int]:
        """Return how many rows each connection had when the day began, added up once a day."""
        known = {one: kept[1] for one in connection_ids if (kept := self._rows_before.get(one)) and kept[0] == today}
        if unknown := [one for one in connection_ids if one not in known]:
            with database_errors():
                found = {row["connection_id"]: row["rows"] for row in await pool.fetch(ROWS_BEFORE, unknown, today)}
            known |= {one: found.get(one, 0) for one in unknown}
            self._rows_before |= {one: (today, known[one]) for one in unknown}
        return known

    async def _backfills(self, pool: Pool, rows: Sequence[Row], now: datetime) -> dict[str, Backfill]:
        """Return the newest backfill of each connection for which it is worth a line."""
        told = [row for row in rows if row["sync_id"] and _is_told(row, now)]
        known = {row["sync_id"]: self._finished[row["sync_id"]] for row in told if row["sync_id"] in self._finished}
        read = await read_progress(pool, [row["sync_id"] for row in told if row["sync_id"] not in known])
        backfills = {}
        for row in told:
            sync_id, status = row["sync_id"], SyncStatus(row["sync_status"])
            progress = known[sync_id] if sync_id in known else read[sync_id]
            if status is SyncStatus.SUCCEEDED and sync_id not in known:
                self._keep(sync_id, progress)
            backfills[row["id"]] = make_backfill(row, status, progress)
        return backfills

    def _keep(self, sync_id: str, progress: list[ResourceProgress]) -> None:
        """A finished sync does not change: its slices need not be added up every second."""
        while len(self._finished) >= FINISHED_KEPT:
            self._finished.pop(next(iter(self._finished)))
        self._finished[sync_id] = progress


def _is_told(row: Row, now: datetime) -> bool:
    """Tell whether a backfill is under way, has failed, or is news."""
    is_failed = row["sync_status"] == SyncStatus.FAILED
    return is_failed or not row["sync_finished_at"] or now - row["sync_finished_at"] <= NEWS


def make_backfill(row: Mapping[str, Any], status: SyncStatus, progress: Iterable[ResourceProgress]) -> Backfill:
    """Put a sync's row and its progress together, in the catalogue's order."""
    known = {p.resource: p for p in progress}
    names = sorted(known.keys() | set(row["sync_resources"]), key=lambda name: (rank_of(name), name))
    lines = [_line(name, known.get(name)) for name in names]
    return Backfill(
        sync_id=row["sync_id"],
        status=status,
        cause=row["sync_cause"],
        started_at=row.get("sync_started_at"),
        finished_at=row["sync_finished_at"],
        share=sum(p.share for p in known.values()) / len(names) if names else 0.0,
        lines=tuple(lines),
        what=_what(row.get("sync_trigger"), [line.label for line in lines], row.get("synced", 0)),
    )


def _what(trigger: str | None, labels: Sequence[str], synced: int) -> str | None:
    """Say which part of the history a backfill was, and after what; `None` where it was all of it."""
    after = AFTER.get(trigger or "")
    if len(labels) >= synced and not after:
        return None
    names = ", ".join(labels[:MOST_NAMED]) + (f" and {len(labels) - MOST_NAMED} more" if labels[MOST_NAMED:] else "")
    return f"{'All' if len(labels) >= synced else names}{f', {after}' if after else ''}"


def _line(name: str, progress: ResourceProgress | None) -> ResourceLine:
    label = label_of(name)
    if progress is None:
        return ResourceLine(name, label, 0, 0, NOTHING, is_done=False, cause=None)
    percent = 100 if progress.confirmed else percent_of(progress.share)
    return ResourceLine(
        name, label, percent, progress.read, progress.counts, is_done=progress.confirmed, cause=progress.cause
    )


def _card(
    row: Row,
    backfill: Backfill | None,
    owed: tuple[Owed, ...],
    verified: Run | None,
    *,
    now: datetime,
    rows_before: int,
) -> Card:
    share = backfill.share if backfill and backfill.is_open else None
    standing = standing_of(row, owed, backfill_share=share, now=now)
    return Card(
        id=row["id"],
        account_id=row["account_id"],
        account_name=row["account_name"].strip() or row["account_id"],
        name=row["name"] or row["account_name"].strip() or row["account_id"],
        livemode=row["livemode"],
        live_by=standing.live_by,
        status=standing.status,
        created_at=row["created_at"],
        start_date=row["start_date"],
        last_synced_at=row["last_synced_at"],
        rows_today=row["rows_today"],
        rows=max(0, rows_before + row["rows_added"]),
        places=tuple(Place(p["id"], p["name"], show_address(p["settings"])) for p in row["places"]),
        backfill=backfill,
        state=standing.state,
        owed=standing.owed,
        verified=verified,
    )


def show_address(settings: Mapping[str, Any]) -> str:
    """Return host, database and schema of a Postgres destination; user and password stay out."""
    port = "" if settings["port"] == POSTGRES_PORT else f":{settings['port']}"
    return f"{settings['host']}{port}/{settings['database']} · {settings['schema']}"
