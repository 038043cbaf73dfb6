"""Which searches for absent rows a sync leaves behind: only of what it has listed without a gap."""

from __future__ import annotations

from typing import Any

import pytest

from shared.db import transaction
from shared.searches import note_searches
from shared.syncs import Kind
from tests.integration.sync_worker.worlds import CONNECTION, World

Slice = tuple[str, int, int | None, int | None, str, int | None]  # resource, walk, range, status, first stamp


async def noted(here: World, *slices: Slice, kind: Kind = Kind.BACKFILL, trigger: str = "test") -> list[Any]:
    """Return the ranges that are searched after these slices."""
    names = sorted({one[0] for one in slices})
    sync_id = await here.syncs.create(CONNECTION, kind, trigger=trigger, resources=names)
    sql = """
    INSERT INTO slices (sync_id, connection_id, resource, walk, range_start, range_end, status, read_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    """
    for one in slices:
        await here.pool.execute(sql, sync_id, CONNECTION, *one)
    async with transaction(here.pool) as db:
        await note_searches(db, [sync_id])
    sql = "SELECT resource, range_start, range_end, stamp FROM searches ORDER BY resource, range_start NULLS FIRST"
    return [tuple(row) for row in await here.pool.fetch(sql)]


async def test_slices_that_were_split_are_one_range_with_the_read_at(here: World) -> None:
    found = await noted(
        here,
        ("charge", 0, 50, 90, "confirmed", 500),
        ("charge", 0, 20, 50, "confirmed", 400),
        ("charge", 0, None, 20, "confirmed", 600),
    )
    assert found == [("charge", None, 90, 400)]


async def test_what_lies_between_two_ranges_is_not_searched(here: World) -> None:
    """A slice that was carried over from a sync that failed, and what has been missed since."""
    found = await noted(here, ("charge", 0, 10, 20, "confirmed", 400), ("charge", 0, 80, 90, "confirmed", 500))
    assert found == [("charge", 10, 20, 400), ("charge", 80, 90, 400)]


async def test_a_range_counts_only_if_every_walk_of_the_list_has_it(here: World) -> None:
    found = await noted(
        here,
        ("price", 0, 10, 90, "confirmed", 400),
        ("price", 1, 50, 90, "confirmed", 400),
        ("promotion_code", 0, 10, 90, "confirmed", 400),
    )
    assert found == [("price", 50, 90, 400)]


@pytest.mark.parametrize(
    "slice_",
    [
        ("charge", 0, 10, 90, "failed", 400),
        ("charge", 0, 10, 90, "confirmed", None),
        ("charge", 0, 90, 10, "confirmed", 400),
        ("balance", 0, None, None, "confirmed", 400),
        ("event", 0, None, None, "confirmed", 400),
    ],
)
async def test_what_was_not_listed_is_not_searched(here: World, slice_: Slice) -> None:
    assert await noted(here, slice_) == []


async def test_a_list_without_dates_is_searched_as_a_whole(here: World) -> None:
    assert await noted(here, ("coupon", 0, None, None, "confirmed", 400)) == [("coupon", None, None, 400)]


async def test_the_frequent_reconcile_searches_nothing(here: World) -> None:
    listed: Slice = ("charge", 0, 10, 90, "confirmed", 400)
    assert await noted(here, listed, kind=Kind.RECONCILE, trigger="schedule") == []
    assert len(await noted(here, listed, kind=Kind.RECONCILE, trigger="daily")) == 1


async def test_the_first_page_of_a_list_tells_the_stamp(here: World) -> None:
    await here.start("customer")
    await here.fetch_all()
    await here.confirm_everything()
    await here.completion().finish_confirmed()
    stamps = [headers.stamp for headers, _ in here.records()]
    [row] = await here.pool.fetch("SELECT resource, stamp, range_start FROM searches")
    assert tuple(row) == ("customer", min(stamps), None)
