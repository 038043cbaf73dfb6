"""Estimates of what a time range holds, as pure functions."""

from __future__ import annotations

import json

import pytest

from services.connection_api.life.estimates import between, density, grown, in_words, largest, seconds_for
from shared.stripe_pages import Page

YEAR = 365 * 86_400


def page(*created: int, has_more: bool = True) -> Page:
    bodies = tuple(json.dumps({"id": f"ch_{at}", "object": "charge", "created": at}).encode() for at in created)
    return Page(bodies, has_more, stamp=0)


def test_page_that_is_all_there_is_has_no_density() -> None:
    assert density(page(90, 80, has_more=False), 100) is None


def test_density_is_how_many_lie_in_what_the_page_reaches() -> None:
    assert density(page(90, 80, 60, 50), 100) == 4 / 50


def test_even_list_is_estimated_right() -> None:
    middle = page(*range(490, 390, -10))

    assert between(0.1, middle, 500, 1000) == pytest.approx(100, abs=10)


def test_older_half_that_is_known_counts_to_the_object() -> None:
    assert between(0.0, page(10, 5, has_more=False), 500, 1000) == 2 + round(250 * 4 / 1000)


def test_list_that_began_with_nothing_holds_half_of_its_newest_density() -> None:
    assert grown(0.1, 1000) == 50


def test_largest_lists_are_asked_first_and_those_without_a_date_never() -> None:
    names = ["coupon", "payment_method", "refund", "charge", "customer"]

    assert [row.name for row in largest(names, {})] == ["charge", "customer", "coupon", "refund"]
    assert [row.name for row in largest(names, {"refund": 900, "charge": 10})][:2] == ["refund", "charge"]


def test_time_is_what_the_slowest_limit_takes() -> None:
    assert seconds_for({"charge": 100_000}, livemode=True, share=0.5) == pytest.approx(1001 / 12.5)
    assert seconds_for({"charge": 100_000}, livemode=False, share=0.5) == pytest.approx(1001 / 12.5)
    even = dict.fromkeys(("charge", "customer", "invoice", "refund", "payout", "dispute"), 50000)
    assert seconds_for(even, livemode=False, share=0.5) == pytest.approx(6 * 501 / 12.5)


@pytest.mark.parametrize(
    ("objects", "seconds", "words"),
    [
        (12_431, 233.0, "About 12,000 objects, about 4 min."),
        (87, 3.0, "About 87 objects, about 5 s."),
        (1_940_000, 9_000.0, "About 1,900,000 objects, about 2.5 h."),
        (0, 0.0, "There is nothing to fetch."),
    ],
)
def test_estimate_is_said_as_people_say_it(objects: int, seconds: float, words: str) -> None:
    assert in_words(objects, seconds) == words


def test_what_is_unknown_is_called_so() -> None:
    assert "can't be told" in in_words(None, None)
