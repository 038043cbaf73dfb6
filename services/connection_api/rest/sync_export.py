"""Writes syncs as CSV or JSON, piece by piece: an export takes the memory of a page, however long it is."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from operator import attrgetter
from types import MappingProxyType

from services.connection_api.rest.models import SyncAnswer
from shared.sync_progress import COUNT_FIELDS
from shared.syncs import Sync

PIECE = 100  # syncs that are written at a time
# A spreadsheet takes a text that begins so for a formula. https://owasp.org/www-community/attacks/CSV_Injection
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

Cell = str | int | float | None
COLUMNS: Mapping[str, Callable[[Sync], Cell]] = MappingProxyType(
    {
        "id": lambda sync: sync.id,
        "connection_id": lambda sync: sync.connection_id,
        "connection_name": lambda sync: sync.connection_name,
        "account_id": lambda sync: sync.account_id,
        "account_name": lambda sync: sync.account_name,
        "kind": lambda sync: sync.kind,
        "trigger": lambda sync: sync.trigger,
        "status": lambda sync: sync.status,
        "outcome": lambda sync: sync.outcome,
        "resources": lambda sync: " ".join(sync.resources),
        "object_id": lambda sync: sync.object_id,
        "range_start": lambda sync: iso(sync.range_start),
        "range_end": lambda sync: iso(sync.range_end),
        "created_at": lambda sync: iso(sync.created_at),
        "started_at": lambda sync: iso(sync.started_at),
        "finished_at": lambda sync: iso(sync.finished_at),
        "duration_seconds": lambda sync: duration(sync),
        "read": lambda sync: sync.read,
        **{field: attrgetter(f"counts.{field}") for field in COUNT_FIELDS},
        "stripe_calls": lambda sync: sync.stripe_calls,
        "rate_limited": lambda sync: sync.rate_limited,
        "cause_code": lambda sync: sync.cause_code,
        "cause": lambda sync: sync.cause,
    }
)


async def as_csv(syncs: AsyncIterator[Sync]) -> AsyncIterator[bytes]:
    """Yield a line with the columns' names, then a line per sync."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    async for number, sync in _numbered(syncs):
        writer.writerow(safe(cell(sync)) for cell in COLUMNS.values())
        if number % PIECE == 0:
            yield _take(text)
    yield _take(text)


async def as_json(syncs: AsyncIterator[Sync]) -> AsyncIterator[bytes]:
    """Yield a JSON object whose `data` has the syncs."""
    text = io.StringIO()
    text.write('{"data":[')
    async for number, sync in _numbered(syncs):
        text.write(("," if number > 1 else "") + SyncAnswer.model_validate(sync).model_dump_json())
        if number % PIECE == 0:
            yield _take(text)
    text.write("]}")
    yield _take(text)


def safe(cell: Cell) -> Cell:
    """Return the cell so that no spreadsheet runs it."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def iso(at: datetime | None) -> str | None:
    """Return the time in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def duration(sync: Sync) -> float | None:
    """Return for how many seconds a finished sync ran."""
    if sync.started_at is None or sync.finished_at is None:
        return None
    return round((sync.finished_at - sync.started_at).total_seconds(), 3)


async def _numbered(syncs: AsyncIterator[Sync]) -> AsyncIterator[tuple[int, Sync]]:
    number = 0
    async for sync in syncs:
        number += 1
        yield number, sync


def _take(text: io.StringIO) -> bytes:
    """Return what was written so far, and begin anew."""
    written = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return written
