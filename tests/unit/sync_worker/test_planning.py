"""Slices: every second of the range belongs to exactly one, and splits are worth their call."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.sync_worker.planning import REACH, WORTH_SPLITTING, Plan, list_parameters, plan, split_at
from services.sync_worker.polling import next_pause
from shared.syncs import EVENT_FEED, STRIPE_BEGAN

START, END = 1_600_000_000, 1_700_000_000


def test_a_list_with_a_created_filter_is_one_slice_of_the_range() -> None:
    assert list(plan(["charge"], start=START, end=END)) == [Plan("charge", 0, START, END)]


def test_a_list_without_a_created_filter_is_walked_whole() -> None:
    assert list(plan(["payment_method"], start=START, end=END)) == [Plan("payment_method")]


def test_a_list_that_hides_objects_is_walked_once_for_each_state() -> None:
    assert [one.walk for one in plan(["price"], start=None, end=END)] == [0, 1]


def test_the_event_feed_is_a_slice_of_its_own() -> None:
    assert list(plan([EVENT_FEED], start=START, end=END)) == [Plan(EVENT_FEED)]


@given(
    st.one_of(st.none(), st.integers(STRIPE_BEGAN, END)),
    st.integers(0, 10_000_000),
    st.integers(0, 100_000),
)
def test_a_split_lies_between_the_start_and_the_page(start: int | None, below: int, span: int) -> None:
    oldest = (start or STRIPE_BEGAN) + below
    split = split_at(start, [oldest + span, oldest])
    if split is None:
        assert below < WORTH_SPLITTING * max(span, 1)
    else:
        assert (start or STRIPE_BEGAN) <= split <= oldest
        assert oldest - split <= max(below // 2 + 1, REACH * max(span, 1))


def test_a_page_that_tells_no_density_is_not_split() -> None:
    assert split_at(START, []) is None
    assert split_at(START, [END]) is None


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
