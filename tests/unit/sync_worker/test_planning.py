"""Slices: every second of the range belongs to exactly one, and splits are worth their call."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sync_worker.planning import MOST_PARALLEL, REACH, WORTH_SPLITTING, Plan, list_parameters, plan, split_at
from services.sync_worker.polling import next_pause
from shared.sync_progress import STRIPE_BEGAN
from shared.syncs import EVENT_FEED

START, END = 1_600_000_000, 1_700_000_000


def test_a_list_with_a_created_filter_is_one_slice_of_the_range() -> None:
    assert list(plan(["charge"], start=START, end=END)) == [Plan("charge", 0, START, END)]


def test_a_list_without_a_created_filter_is_walked_whole() -> None:
    assert list(plan(["payment_method"], start=START, end=END)) == [Plan("payment_method")]


def test_a_list_that_hides_objects_is_walked_once_for_each_state() -> None:
    assert [one.walk for one in plan(["price"], start=None, end=END)] == [0, 1]


def test_the_event_feed_is_a_slice_of_its_own() -> None:
    assert list(plan([EVENT_FEED], start=START, end=END, feed_start=7)) == [Plan(EVENT_FEED, range_start=7)]


@given(
    st.one_of(st.none(), st.integers(STRIPE_BEGAN, END)),
    st.integers(0, 10_000_000),
    st.integers(0, 100_000),
)
def test_a_split_lies_between_the_start_and_the_page(start: int | None, below: int, span: int) -> None:
    oldest = (start or STRIPE_BEGAN) + below
    split = split_at(start, [oldest + span, oldest], now=oldest + span)
    if split is None:
        assert below < WORTH_SPLITTING * max(span, 1)
    else:
        assert (start or STRIPE_BEGAN) <= split <= oldest
        assert oldest - split <= max(below // 2 + 1, REACH * max(span, 1))


def test_a_page_that_tells_no_density_is_not_split() -> None:
    assert split_at(START, [], now=END) is None
    assert split_at(START, [END], now=END) is None


def test_parameters_hold_the_walk_the_range_and_the_cursor() -> None:
    parameters = list_parameters("subscription", 0, start=START, end=END, cursor="sub_1")
    assert parameters == [
        ("status", "all"),
        ("created[gte]", str(START)),
        ("created[lt]", str(END)),
        ("starting_after", "sub_1"),
    ]


def test_polling_is_fast_after_news_and_slows_down_when_quiet() -> None:
    assert next_pause(60, found=1, shortest=2, longest=60) == 2
    pauses = [2.0]
    for _ in range(12):
        pauses.append(next_pause(pauses[-1], found=0, shortest=2, longest=60))
    assert pauses == sorted(pauses)
    assert pauses[-1] == 60


@dataclass(slots=True)
class OpenSlice:
    """A slice of the model: what it has left are the objects from `at` on that are not older than `low`."""

    low: int | None
    at: int


def walk(seconds: list[int], *, start: int | None, parallel: int = MOST_PARALLEL) -> tuple[list[int], int]:
    """Fetch objects created at `seconds` as workers do that take turns; return what they saw, and their calls."""
    newest_first = sorted(seconds, reverse=True)
    ages = [-second for second in newest_first]
    open_slices, seen, calls = [OpenSlice(start, 0)], list[int](), 0
    while open_slices:
        for one in list(open_slices):
            end = len(ages) if one.low is None else bisect_right(ages, -one.low)
            page = range(one.at, min(one.at + 100, end))
            seen, calls, one.at = [*seen, *page], calls + 1, page.stop
            if page.stop >= end:
                open_slices.remove(one)
                continue
            split = split_at(one.low, [newest_first[at] for at in page], now=END)
            if split is not None and len(open_slices) < parallel:
                open_slices.append(OpenSlice(one.low, bisect_right(ages, -split)))
                one.low = split
    return seen, calls


spread = st.lists(st.integers(START, END - 1), max_size=3000)
bursts = st.builds(
    lambda days, per_day: [day + n % 60 for day in days for n in range(per_day)],
    st.lists(st.integers(START, END - 100), max_size=8),
    st.integers(1, 400),
)


@settings(deadline=None, max_examples=60)
@given(st.one_of(spread, bursts), st.sampled_from([None, START, STRIPE_BEGAN]), st.sampled_from([1, 4, 1000]))
def test_whatever_the_splits_each_object_is_seen_once(seconds: list[int], start: int | None, parallel: int) -> None:
    seen, _ = walk(seconds, start=start, parallel=parallel)
    assert sorted(seen) == list(range(len(seconds)))


@pytest.mark.parametrize("objects", [0, 1, 100, 101, 5_000, 50_000])
@pytest.mark.parametrize("start", [None, START])
def test_an_even_list_costs_few_calls_more_than_its_pages(objects: int, start: int | None) -> None:
    step = (END - START) // max(objects, 1)
    _, calls = walk([START + step * n for n in range(objects)], start=start)
    assert calls <= max(1, math.ceil(objects / 100)) * 1.02 + 5


def test_a_split_reaches_as_far_as_the_list_was_walked() -> None:
    assert split_at(None, [END - 5_000, END - 5_100], now=END) == END - 5_100 - 5_000


def test_a_dense_second_is_walked_without_a_split() -> None:
    seen, calls = walk([START] * 1_000, start=START)
    assert len(seen) == 1_000
    assert calls == 10
