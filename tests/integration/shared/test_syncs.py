"""Syncs as a person sees them: what they read, how far they are, and what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from shared.connections import Connection
from shared.errors import NotFoundError
from shared.syncs import EVENT_FEED, STRIPE_BEGAN, Counts, Kind, Status, SyncStore
from tests.integration.destination_writer.state import State, make_settings, open_state

SLICE = """
INSERT INTO slices (sync_id, connection_id, resource, range_start, range_end, cursor_created, status, records)
VALUES ($1, 'con_1', $2, $3, $4, $5, $6, $7) RETURNING id
"""


class Book:
    """A state database with one connection, and its syncs."""

    def __init__(self, state: State) -> None:
        self.state, self.pool, self.syncs = state, state.pool, SyncStore(state.pool)

    async def create(self, kind: Kind = Kind.BACKFILL) -> str:
        return await self.syncs.create("con_1", kind, trigger="test", resources=["charge"])

    async def slice(
        self,
        sync_id: str,
        status: str,
        *,
        over: tuple[int | None, int | None] = (0, 1000),
        at: int | None = None,
        records: int = 0,
        resource: str = "charge",
    ) -> int:
        return int(await self.pool.fetchval(SLICE, sync_id, resource, *over, at, status, records))

    async def count(self, slice_id: int, destination_id: str, **counts: int) -> None:
        names, values = ", ".join(counts), ", ".join(str(value) for value in counts.values())
        sql = f"INSERT INTO slice_counts (slice_id, destination_id, {names}) VALUES ($1, $2, {values})"
        await self.pool.execute(sql, slice_id, destination_id)


@pytest.fixture
async def book(database_url: str) -> AsyncIterator[Book]:
    async with open_state(make_settings(database_url)) as state:
        await state.add_connection("con_1", await state.add_destination("rows"))
        yield Book(state)


async def test_a_new_sync_waits(book: Book) -> None:
    sync = await book.syncs.get(await book.create())
    assert (sync.status, sync.share, sync.read, sync.counts) == (Status.QUEUED, 0.0, 0, Counts())


async def test_a_sync_that_does_not_exist_is_not_found(book: Book) -> None:
    with pytest.raises(NotFoundError):
        await book.syncs.get("syn_none")


async def test_records_are_counted_once_however_many_destinations_took_them(book: Book) -> None:
    sync_id = await book.create()
    slice_id = await book.slice(sync_id, "confirmed", records=10)
    await book.count(slice_id, "dst_1", inserted=10)
    await book.count(slice_id, "dst_2", inserted=4, unchanged=6)
    sync = await book.syncs.get(sync_id)
    assert sync.read == 10
    assert sync.counts == Counts(inserted=14, unchanged=6)


async def test_the_share_is_that_of_the_time_that_is_covered(book: Book) -> None:
    sync_id = await book.create()
    await book.slice(sync_id, "planned", over=(0, 1000), at=500)
    [progress] = await book.syncs.progress(sync_id)
    assert progress.share == pytest.approx(0.5, abs=0.02)
    assert not progress.confirmed


async def test_a_split_does_not_set_the_progress_back(book: Book) -> None:
    sync_id = await book.create()
    whole = await book.slice(sync_id, "planned", over=(0, 1000), at=800)
    [before] = await book.syncs.progress(sync_id)
    await book.pool.execute("UPDATE slices SET range_start = 400 WHERE id = $1", whole)
    await book.slice(sync_id, "planned", over=(0, 400))
    [after] = await book.syncs.progress(sync_id)
    assert after.share == pytest.approx(before.share, abs=0.02)


async def test_what_is_published_is_not_yet_all(book: Book) -> None:
    sync_id = await book.create()
    await book.slice(sync_id, "published")
    [progress] = await book.syncs.progress(sync_id)
    assert 0.9 < progress.share < 1.0


async def test_a_range_that_is_open_to_the_past_has_a_share(book: Book) -> None:
    sync_id = await book.create()
    await book.slice(sync_id, "planned", over=(None, STRIPE_BEGAN + 1000), at=STRIPE_BEGAN + 500)
    [progress] = await book.syncs.progress(sync_id)
    assert 0 < progress.share <= 1


async def test_a_list_without_a_range_has_a_share(book: Book) -> None:
    sync_id = await book.create()
    await book.slice(sync_id, "planned", over=(None, None), resource="coupon")
    assert (await book.syncs.get(sync_id)).share == 0.0


async def test_a_resource_tells_why_it_failed(book: Book) -> None:
    sync_id = await book.create()
    slice_id = await book.slice(sync_id, "failed")
    await book.pool.execute("UPDATE slices SET cause_code = 'c', cause = 'why' WHERE id = $1", slice_id)
    [progress] = await book.syncs.progress(sync_id)
    assert (progress.cause_code, progress.cause, progress.confirmed) == ("c", "why", True)


async def test_syncs_are_listed_newest_first_and_page_by_page(book: Book) -> None:
    made = [await book.create() for _ in range(5)]
    first = await book.syncs.list_newest("con_1", limit=3)
    rest = await book.syncs.list_newest("con_1", before=(first[-1].created_at, first[-1].id), limit=3)
    assert [sync.id for sync in [*first, *rest]] == made[::-1]
    assert await book.syncs.list_newest("con_2") == []


async def test_a_comparison_reads_the_feed_and_what_changes_without_an_event(book: Book) -> None:
    connection: Connection = await book.state.connections.get("con_1")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    sync_id = await book.syncs.reconcile(connection, trigger="test", now=now.timestamp(), window=timedelta(days=2))
    sync = await book.syncs.get(sync_id)
    assert sync.resources[0] == EVENT_FEED
    assert "balance_transaction" in sync.resources
    assert "charge" not in sync.resources
    assert sync.range_start == now - timedelta(days=2)
