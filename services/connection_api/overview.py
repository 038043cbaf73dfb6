"""What the Accounts page shows: every connection of a page with its status, its rows and its newest backfill."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.connection_api.status import Status, percent_of, status_of
from shared.catalogue import RESOURCES
from shared.connections import Fault, LiveBy, State
from shared.db import Pool, Row, database_errors
from shared.syncs import Counts, ResourceProgress, SyncStore
from shared.syncs import Status as SyncStatus

PAGE_SIZE = 25
MOST_COUNTED = 1000  # parked records: more of them are not counted, since the page asks every second
FINISHED_KEPT = 200  # finished backfills whose figures are kept in memory
POSTGRES_PORT = 5432

LABELS = {r.name: r.table.replace("_", " ").capitalize() for r in RESOURCES}
RANKS = {r.name: rank for rank, r in enumerate(RESOURCES)}
NOTHING = Counts()

CARDS = f"""
SELECT c.id, c.account_id, c.account_name, c.livemode, c.state, c.cause, c.live_by, c.start_date,
       c.events_complete_to, c.last_synced_at, c.created_at,
       (SELECT coalesce(sum(h.inserted + h.updated + h.deleted), 0)::bigint FROM delivery_hours h
        WHERE h.connection_id = c.id AND h.hour >= $3) AS rows_today,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('name', d.name, 'settings', d.settings) ORDER BY d.name), '[]')
        FROM connection_destinations l JOIN destinations d ON d.id = l.destination_id
        WHERE l.connection_id = c.id) AS places,
       p.waiting, p.oldest AS waiting_since,
       ARRAY(SELECT row(f.resource, f.code, f.cause, f.permission, f.since) FROM resource_faults f
             WHERE f.connection_id = c.id ORDER BY f.resource) AS faults,
       b.id AS sync_id, b.status AS sync_status, b.cause AS sync_cause, b.resources AS sync_resources,
       b.finished_at AS sync_finished_at
FROM connections c
LEFT JOIN LATERAL (
    SELECT id, status, cause, resources, finished_at FROM syncs
    WHERE connection_id = c.id AND kind = 'backfill' ORDER BY created_at DESC, id DESC LIMIT 1
) b ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS waiting, min(parked_at) AS oldest FROM (
        SELECT r.parked_at FROM connection_destinations l
        JOIN parked_records r ON r.destination_id = l.destination_id AND r.connection_id = l.connection_id
        WHERE l.connection_id = c.id LIMIT {MOST_COUNTED}
    ) counted
) p ON true
WHERE c.id > $1 ORDER BY c.id LIMIT $2
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
    finished_at: datetime | None
    share: float
    lines: tuple[ResourceLine, ...]
    empty: tuple[str, ...]  # resources of which a finished backfill found nothing

    @property
    def is_open(self) -> bool:
        """Whether it is under way or about to be."""
        return self.status in (SyncStatus.QUEUED, SyncStatus.RUNNING)

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


@dataclass(frozen=True, slots=True)
class Place:
    """Where rows go, without secrets."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Card:
    """A connection as the page shows it."""

    id: str
    account_id: str
    account_name: str
    livemode: bool
    live_by: LiveBy
    status: Status
    created_at: datetime
    start_date: datetime | None
    last_synced_at: datetime | None
    rows_today: int
    places: tuple[Place, ...]
    backfill: Backfill | None


@dataclass(frozen=True, slots=True)
class Accounts:
    """A page of cards; `next_after` is where the next page starts, `None` on the last one."""

    cards: tuple[Card, ...]
    after: str
    next_after: str | None


@dataclass(frozen=True, slots=True)
class _Situation:
    state: State
    cause: str | None
    live_by: LiveBy
    faults: tuple[Fault, ...]


class Overview:
    """Reads what the Accounts page shows; raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self) -> None:
        self._finished: dict[str, list[ResourceProgress]] = {}

    async def read(self, pool: Pool, *, now: datetime, after: str = "", limit: int = PAGE_SIZE) -> Accounts:
        """Return the connections after the id `after`, by id; "today" is the day of `now` in UTC."""
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        with database_errors():
            rows = await pool.fetch(CARDS, after, limit + 1, today)
        page = rows[:limit]
        cards = [_card(row, await self._backfill(pool, row), now) for row in page]
        return Accounts(tuple(cards), after, page[-1]["id"] if len(rows) > limit else None)

    async def _backfill(self, pool: Pool, row: Row) -> Backfill | None:
        if row["sync_id"] is None:
            return None
        status = SyncStatus(row["sync_status"])
        progress = self._finished.get(row["sync_id"])
        if progress is None:
            progress = await SyncStore(pool).progress(row["sync_id"])
            if status is SyncStatus.SUCCEEDED:
                self._keep(row["sync_id"], progress)
        return make_backfill(row, status, progress)

    def _keep(self, sync_id: str, progress: list[ResourceProgress]) -> None:
        """A finished sync does not change: its slices need not be added up every second."""
        while len(self._finished) >= FINISHED_KEPT:
            self._finished.pop(next(iter(self._finished)))
        self._finished[sync_id] = progress


def make_backfill(row: Mapping[str, Any], status: SyncStatus, progress: Iterable[ResourceProgress]) -> Backfill:
    """Put a sync's row and its progress together, in the catalogue's order."""
    known = {p.resource: p for p in progress}
    names = sorted(known.keys() | set(row["sync_resources"]), key=lambda name: (RANKS.get(name, len(RANKS)), name))
    lines = [_line(name, known.get(name)) for name in names]
    is_finished = status is SyncStatus.SUCCEEDED
    empty = {line.name for line in lines if is_finished and not line.read and not line.cause}
    return Backfill(
        sync_id=row["sync_id"],
        status=status,
        cause=row["sync_cause"],
        finished_at=row["sync_finished_at"],
        share=sum(p.share for p in known.values()) / len(names) if names else 0.0,
        lines=tuple(line for line in lines if line.name not in empty),
        empty=tuple(line.label for line in lines if line.name in empty),
    )


def _line(name: str, progress: ResourceProgress | None) -> ResourceLine:
    label = LABELS.get(name, name)
    if progress is None:
        return ResourceLine(name, label, 0, 0, NOTHING, is_done=False, cause=None)
    percent = 100 if progress.confirmed else percent_of(progress.share)
    return ResourceLine(
        name, label, percent, progress.read, progress.counts, is_done=progress.confirmed, cause=progress.cause
    )


def _card(row: Row, backfill: Backfill | None, now: datetime) -> Card:
    situation = _Situation(
        State(row["state"]), row["cause"], LiveBy(row["live_by"]), tuple(Fault(*fault) for fault in row["faults"])
    )
    status = status_of(
        situation,
        backfill_share=backfill.share if backfill and backfill.is_open else None,
        lag_seconds=_lag_seconds(row, situation, now),
        waiting=row["waiting"],
    )
    return Card(
        id=row["id"],
        account_id=row["account_id"],
        account_name=row["account_name"],
        livemode=row["livemode"],
        live_by=situation.live_by,
        status=status,
        created_at=row["created_at"],
        start_date=row["start_date"],
        last_synced_at=row["last_synced_at"],
        rows_today=row["rows_today"],
        places=tuple(Place(p["name"], show_address(p["settings"])) for p in row["places"]),
        backfill=backfill,
    )


def _lag_seconds(row: Row, situation: _Situation, now: datetime) -> float:
    """Return how late changes are; webhooks tell it by what waits, polling also by how far the events are read."""
    lags = [0.0]
    if row["waiting_since"]:
        lags.append((now - row["waiting_since"]).total_seconds())
    if situation.live_by is LiveBy.POLLING and row["events_complete_to"]:
        lags.append(now.timestamp() - row["events_complete_to"])
    return max(lags)


def show_address(settings: Mapping[str, Any]) -> str:
    """Return host, database and schema of a Postgres destination; user and password stay out."""
    port = "" if settings["port"] == POSTGRES_PORT else f":{settings['port']}"
    return f"{settings['host']}{port}/{settings['database']} · {settings['schema']}"
