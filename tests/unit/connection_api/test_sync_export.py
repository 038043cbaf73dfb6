"""An export opens in a spreadsheet without running anything, and reads back as it was."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from services.connection_api.rest.sync_export import COLUMNS, PIECE, as_csv, as_json, safe
from shared.sync_progress import Counts
from shared.syncs import Kind, Status, Sync

AT = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
SYNC = Sync(
    id="syn_1",
    connection_id="con_1",
    kind=Kind.BACKFILL,
    trigger="connected",
    status=Status.SUCCEEDED,
    resources=("charge", "customer"),
    object_id=None,
    range_start=None,
    range_end=None,
    cause_code=None,
    cause=None,
    stripe_calls=7,
    rate_limited=1,
    created_at=AT.astimezone(timezone(timedelta(hours=5))),
    started_at=AT,
    finished_at=AT + timedelta(seconds=1.5),
    read=12,
    share=1.0,
    counts=Counts(inserted=9, failed=3),
)


async def syncs(count: int, **changes: str) -> AsyncIterator[Sync]:
    for number in range(count):
        yield replace(SYNC, id=f"syn_{number}", **changes)  # type: ignore[arg-type]


async def read_csv(source: AsyncIterator[Sync]) -> list[dict[str, str]]:
    text = b"".join([piece async for piece in as_csv(source)]).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def test_csv_has_a_header_and_times_in_utc() -> None:
    [row] = await read_csv(syncs(1))
    assert list(row) == list(COLUMNS)
    assert (row["created_at"], row["duration_seconds"]) == ("2026-01-31T12:00:00Z", "1.5")
    assert (row["resources"], row["inserted"], row["failed"], row["cause"]) == ("charge customer", "9", "3", "")


async def test_export_of_nothing_is_whole() -> None:
    assert await read_csv(syncs(0)) == []
    assert json.loads(b"".join([piece async for piece in as_json(syncs(0))])) == {"data": []}


@pytest.mark.parametrize("count", [1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
async def test_no_sync_is_lost_between_two_pieces(count: int) -> None:
    wanted = [f"syn_{number}" for number in range(count)]
    assert [row["id"] for row in await read_csv(syncs(count))] == wanted
    document = json.loads(b"".join([piece async for piece in as_json(syncs(count))]))
    assert [row["id"] for row in document["data"]] == wanted


async def test_pieces_stay_small() -> None:
    sizes = [len(piece) async for piece in as_json(syncs(5 * PIECE))]
    assert len(sizes) == 6
    assert max(sizes) < 100_000


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
async def test_text_that_a_spreadsheet_would_run_is_made_plain(text: str) -> None:
    [row] = await read_csv(syncs(1, cause=text))
    assert row["cause"] == f"'{text}"


def test_numbers_and_plain_text_stay() -> None:
    assert [safe(cell) for cell in ("a=b", "", -1, None)] == ["a=b", "", -1, None]


async def test_quotes_and_line_ends_are_kept() -> None:
    [row] = await read_csv(syncs(1, cause='He said "no",\nthen left.'))
    assert row["cause"] == 'He said "no",\nthen left.'
