"""Syncs as a person sees them: what they read, how far they are, and what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.connection_api.rest.models import SyncAnswer
from shared.connections import Connection, Fault
from shared.db import transaction
from shared.errors import ConflictError, NotFoundError, PayloadError
from shared.quiet_syncs import quiet_days
from shared.sync_progress import STRIPE_BEGAN, Counts, freeze
from shared.syncs import EVENT_FEED, Kind, Status, SyncStore
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


async def test_a_comparison_counts_what_it_found_and_what_it_left(book: Book) -> None:
    sync_id = await book.create(Kind.VERIFY)
    await book.pool.execute(
        "INSERT INTO comparisons (sync_id, destination_id, resource, different, missing, extra, skipped)"
        " VALUES ($1, 'dst_1', 'charge', 1, 2, 3, 4), ($1, 'dst_1', 'customer', 1, 0, 0, 0)",
        sync_id,
    )
    sync = await book.syncs.get(sync_id)
    assert (sync.differences, sync.skipped) == (7, 4)


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


async def move(book: Book, sync_id: str, status: Status, *, has_begun: bool = True) -> None:
    if status is not Status.QUEUED:
        await book.pool.execute("UPDATE syncs SET status = 'running' WHERE id = $1", sync_id)
    sql = "UPDATE syncs SET status = $2, started_at = CASE WHEN $3 THEN now() END WHERE id = $1"
    await book.pool.execute(sql, sync_id, status, has_begun)


@pytest.mark.parametrize("has_begun", [True, False])
async def test_a_sync_that_was_paused_goes_on_where_it_was(book: Book, *, has_begun: bool) -> None:
    sync_id = await book.create()
    before = Status.RUNNING if has_begun else Status.QUEUED
    await move(book, sync_id, before, has_begun=has_begun)
    await book.syncs.pause(sync_id)
    assert (await book.syncs.get(sync_id)).status is Status.PAUSED
    await book.syncs.resume(sync_id)
    assert (await book.syncs.get(sync_id)).status is before


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.PAUSED])
async def test_a_sync_that_has_not_ended_can_be_cancelled(book: Book, status: Status) -> None:
    sync_id = await book.create()
    await move(book, sync_id, status)
    await book.syncs.cancel(sync_id)
    assert (await book.syncs.get(sync_id)).status is Status.CANCELLED


@pytest.mark.parametrize(
    ("step", "status", "why"),
    [
        ("pause", Status.SUCCEEDED, "This sync has succeeded, so it can't be paused"),
        ("pause", Status.CANCELLED, "was cancelled"),
        ("resume", Status.CANCELLED, "This sync was cancelled, so it can't be resumed"),
        ("cancel", Status.FAILED, "This sync has failed, so it can't be cancelled"),
    ],
)
async def test_a_step_that_the_status_does_not_allow_is_refused(
    book: Book, step: str, status: Status, why: str
) -> None:
    sync_id = await book.create()
    await move(book, sync_id, status)
    with pytest.raises(ConflictError, match=why):
        await getattr(book.syncs, step)(sync_id)
    assert (await book.syncs.get(sync_id)).status is status


@pytest.mark.parametrize(
    ("step", "status"),
    [
        ("pause", Status.PAUSED),
        ("resume", Status.RUNNING),
        ("resume", Status.QUEUED),
        ("cancel", Status.CANCELLED),
    ],
)
async def test_a_step_that_was_taken_already_changes_nothing(book: Book, step: str, status: Status) -> None:
    sync_id = await book.create()
    await move(book, sync_id, status)
    assert await getattr(book.syncs, step)(sync_id) is False
    assert (await book.syncs.get(sync_id)).status is status


@pytest.mark.parametrize("step", ["pause", "resume", "cancel"])
async def test_an_hour_of_live_changes_goes_its_own_way(book: Book, step: str) -> None:
    sync_id = await book.create(Kind.LIVE)
    await move(book, sync_id, Status.RUNNING)
    with pytest.raises(ConflictError, match="Pause the connection instead"):
        await getattr(book.syncs, step)(sync_id)


async def test_a_step_of_a_sync_that_does_not_exist_is_not_found(book: Book) -> None:
    with pytest.raises(NotFoundError):
        await book.syncs.cancel("syn_none")


async def test_an_ended_sync_keeps_what_its_slices_added_up_to(book: Book) -> None:
    sync_id = await book.create()
    slice_id = await book.slice(sync_id, "planned", at=500, records=10)
    await book.count(slice_id, "dst_1", inserted=7, unchanged=3)
    await move(book, sync_id, Status.RUNNING)
    before = await book.syncs.get(sync_id)
    async with transaction(book.pool) as db:
        await freeze(db, [sync_id])
        await db.execute("UPDATE syncs SET status = 'failed', finished_at = now()")
        await db.execute("DELETE FROM slices")
    after = await book.syncs.get(sync_id)
    assert (after.read, after.counts) == (10, Counts(inserted=7, unchanged=3))
    assert after.share == pytest.approx(before.share)


async def test_an_hour_of_live_changes_counts_by_itself(book: Book) -> None:
    sync_id = await book.create(Kind.LIVE)
    await book.pool.execute("UPDATE syncs SET status = 'running', records = 5, updated = 5")
    sync = await book.syncs.get(sync_id)
    assert (sync.read, sync.counts) == (5, Counts(updated=5))


async def test_syncs_are_found_by_kind_status_and_time(book: Book) -> None:
    made = [await book.create(kind) for kind in (Kind.BACKFILL, Kind.MANUAL, Kind.BACKFILL)]
    await move(book, made[2], Status.FAILED)
    newest = (await book.syncs.get(made[2])).created_at

    async def found(**wanted: Any) -> list[str]:
        return [sync.id for sync in await book.syncs.list_newest(**wanted)]

    assert await found(kind=Kind.BACKFILL) == [made[2], made[0]]
    assert await found(status=Status.FAILED) == [made[2]]
    assert await found(kind=Kind.BACKFILL, status=Status.QUEUED, connection_id="con_1") == [made[0]]
    assert await found(since=newest) == [made[2]]
    assert await found(until=newest) == [made[1], made[0]]
    assert await found(connection_id="con_2", kind=Kind.BACKFILL) == []


async def test_an_export_has_every_sync_once(book: Book) -> None:
    made = [await book.create() for _ in range(5)]
    await book.create(Kind.MANUAL)
    assert [sync.id async for sync in book.syncs.iterate("con_1", kind=Kind.BACKFILL, batch=2)] == made[::-1]


async def test_resources_can_be_read_anew_from_the_start_date_on(book: Book) -> None:
    await book.pool.execute("UPDATE connections SET start_date = '2026-01-01T00:00:00Z'")
    connection = await book.state.connections.get("con_1")
    sync = await book.syncs.get(await book.syncs.resync(connection, ["charge", "charge"]))
    assert (sync.kind, sync.resources, sync.range_start) == (Kind.MANUAL, ("charge",), connection.start_date)


async def test_one_object_can_be_read_anew(book: Book) -> None:
    connection = await book.state.connections.get("con_1")
    sync = await book.syncs.get(await book.syncs.resync_object(connection, "charge", "ch_1"))
    assert (sync.kind, sync.resources, sync.object_id) == (Kind.MANUAL, ("charge",), "ch_1")


async def test_what_is_not_synced_can_not_be_read_anew(book: Book) -> None:
    connection = await book.state.connections.get("con_1")
    with pytest.raises(PayloadError, match="`coupon` is not synced"):
        await book.syncs.resync(replace(connection, resources=("charge",)), ["charge", "coupon"])
    with pytest.raises(PayloadError, match="`coupon` is not synced"):
        await book.syncs.resync_object(replace(connection, resources=("charge",)), "coupon", "co_1")


async def test_a_sync_may_be_queued_with_what_it_follows_from(book: Book) -> None:
    async def fail_after_it() -> None:
        async with transaction(book.pool) as db:
            await book.syncs.create("con_1", Kind.MANUAL, trigger="test", resources=["charge"], db=db)
            raise NotFoundError

    with pytest.raises(NotFoundError):
        await fail_after_it()
    assert await book.syncs.list_newest() == []


async def test_a_comparison_leaves_out_what_the_key_may_not_read(book: Book) -> None:
    connection = await book.state.connections.get("con_1")
    faults = tuple(
        Fault(name, "missing_permissions", "", None, connection.created_at)
        for name in (EVENT_FEED, "balance_transaction")
    )
    sync_id = await book.syncs.reconcile(replace(connection, faults=faults), trigger="test", now=0)
    resources = (await book.syncs.get(sync_id)).resources
    assert not {EVENT_FEED, "balance_transaction"} & set(resources)
    assert "balance" in resources


@pytest.mark.parametrize("at", [-5_000, 900, 5_000])
async def test_an_object_outside_of_the_range_leaves_the_share_within_its_bounds(book: Book, at: int) -> None:
    sync_id = await book.create()
    await book.slice(sync_id, "planned", over=(800, 1000), at=at)
    sync = await book.syncs.get(sync_id)
    [progress] = await book.syncs.progress(sync_id)
    assert 0 <= sync.share <= 1
    assert 0 <= progress.share <= 1
    async with transaction(book.pool) as db:
        await freeze(db, [sync_id])
    assert 0 <= await book.pool.fetchval("SELECT share FROM syncs WHERE id = $1", sync_id) <= 1


async def test_a_share_that_an_older_release_has_kept_takes_no_list_down(book: Book) -> None:
    sync_id = await book.create()
    await book.pool.execute(
        "UPDATE syncs SET status = 'cancelled', finished_at = now(), share = 27.3 WHERE id = $1", sync_id
    )
    [sync] = await book.syncs.list_newest()
    assert SyncAnswer.model_validate(sync).share == 1.0


async def refuse_key(book: Book) -> None:
    sql = (
        "UPDATE connections SET state = 'action_required', cause_code = 'api_key_invalid', cause = 'API Key is invalid'"
    )
    await book.pool.execute("UPDATE connections SET state = 'active'")
    await book.pool.execute(sql)


async def test_a_sync_whose_key_is_refused_has_stopped_and_names_the_cause(book: Book) -> None:
    queued, running, done = [await book.create() for _ in range(3)]
    await book.pool.execute("UPDATE syncs SET status = 'running' WHERE id = ANY ($1)", [running, done])
    await book.slice(running, "planned")
    await book.slice(done, "published")
    await refuse_key(book)
    for sync_id in (queued, running):
        sync = await book.syncs.get(sync_id)
        assert (sync.is_stopped, sync.cause_code, sync.cause) == (True, "api_key_invalid", "API Key is invalid")
    sync = await book.syncs.get(done)  # it has been read, and only has to be written
    assert (sync.is_stopped, sync.cause) == (False, None)
    await book.pool.execute("UPDATE connections SET state = 'active', cause_code = NULL, cause = NULL")
    sync = await book.syncs.get(running)
    assert (sync.status, sync.is_stopped, sync.cause) == (Status.RUNNING, False, None)


async def test_an_hour_of_live_changes_goes_on_with_a_key_that_is_refused(book: Book) -> None:
    sync_id = await book.create(Kind.LIVE)
    await book.pool.execute("UPDATE syncs SET status = 'running' WHERE id = $1", sync_id)
    await refuse_key(book)
    assert not (await book.syncs.get(sync_id)).is_stopped


QUIET = """
INSERT INTO syncs (id, connection_id, kind, trigger, status, resources, created_at)
SELECT 'syn_q' || n, 'con_1', 'gap_fill', 'schedule', CASE n WHEN 1 THEN 'failed' ELSE 'succeeded' END, '{}',
       '2026-03-05 12:30+00'::timestamptz - n * interval '1 hour'
FROM generate_series(0, 39) n
"""


async def test_days_of_comparisons_that_found_nothing_are_counted_whole_in_their_zone(book: Book) -> None:
    await book.pool.execute(QUIET)
    await book.pool.execute("UPDATE syncs SET inserted = 1 WHERE id = 'syn_q0'")

    async def days(zone: str = "UTC", **wanted: Any) -> list[tuple[str, int]]:
        return [(f"{one.day}", one.number) for one in await quiet_days(book.pool, zone, **wanted)]

    assert await days() == [("2026-03-05", 11), ("2026-03-04", 24), ("2026-03-03", 3)]
    assert await days("Asia/Tokyo") == [("2026-03-05", 20), ("2026-03-04", 18)]
    assert await days(connection_id="con_2") == []
    noon = datetime(2026, 3, 4, 12, tzinfo=UTC)
    assert await days(newest_from=noon) == [("2026-03-05", 11), ("2026-03-04", 24)]
    assert await days(newest_before=noon) == [("2026-03-03", 3)]
    assert await days(since=noon, until=noon + timedelta(hours=3)) == [("2026-03-04", 3)]
    found = await book.syncs.list_newest("con_1", with_quiet=False)
    assert [sync.id for sync in found] == ["syn_q0", "syn_q1"]
