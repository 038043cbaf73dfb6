"""A sample is spread over the time from which the account has objects, and can be repeated."""

from __future__ import annotations

from itertools import pairwise

import pytest

from services.sync_worker.planning import Plan
from services.sync_worker.sampling import sample

DAY = 86_400
END = 1_790_000_000


def plans(resource: str, *, start: int | None = None, oldest: int | None = None, seed: str = "syn_1") -> list[Plan]:
    known = {} if oldest is None else {resource: oldest}
    return list(sample([resource], start=start, end=END, oldest=known, pages=5, seed=seed))


@pytest.mark.parametrize("seed", [f"syn_{n}" for n in range(20)])
def test_pages_are_spread_and_never_overlap(seed: str) -> None:
    found = plans("charge", oldest=END - 100 * DAY, seed=seed)
    assert [plan.page_limit for plan in found] == [1] * 5
    assert found[0].range_start is None
    assert found[-1].range_end == END  # the newest page is always read
    edges = [(plan.range_start or END - 100 * DAY, plan.range_end or 0) for plan in found]
    assert all(begin < end for begin, end in edges)
    assert all(before[1] <= after[0] for before, after in pairwise(edges))


def test_each_sample_is_another_and_can_be_repeated() -> None:
    first = plans("charge", oldest=END - 100 * DAY)
    assert first == plans("charge", oldest=END - 100 * DAY)
    assert first != plans("charge", oldest=END - 100 * DAY, seed="syn_2")


def test_nothing_before_the_start_date_is_read() -> None:
    found = plans("charge", start=END - 10 * DAY, oldest=END - 100 * DAY)
    assert min(plan.range_start or 0 for plan in found) == END - 10 * DAY


def test_list_that_cannot_be_cut_has_its_newest_pages_read() -> None:
    assert plans("payment_method", oldest=END - DAY) == [Plan("payment_method", page_limit=5)]


def test_list_of_which_nothing_is_known_has_its_newest_pages_read() -> None:
    assert plans("charge") == [Plan("charge", page_limit=5)]


def test_every_walk_of_a_list_is_sampled() -> None:
    assert {plan.walk for plan in plans("price", oldest=END - DAY)} == {0, 1}
