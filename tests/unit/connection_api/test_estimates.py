"""Estimates of what a time range holds, as pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from services.connection_api.life.estimates import (
    MORE_CALLS,
    Probe,
    Span,
    between,
    follow,
    in_words,
    largest,
    next_probe,
    seconds_for,
    stretches,
)

DAY = 86_400
NOW = 1_800_000_000
Shape = Callable[[float], float]  # age in seconds → how many are younger


def look(younger: Shape, oldest: float, end: int, start: int) -> Probe:
    """Return what Stripe would show of a list: the newest hundred that are older than `end`."""
    total, before = younger(oldest), younger(NOW - end)
    count = max(0, min(100, math.floor(total - before)))
    low, high = float(NOW - end), oldest
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if younger(middle) >= before + count else (middle, high)
    reach = max(NOW - round(high), start)
    return Probe(end, reach, count, has_more=NOW - reach < oldest - 1 and total - before > 100)


def estimate(younger: Shape, oldest: float, start: int) -> Span:
    probes = [look(younger, oldest, NOW, start)]
    for _ in range(MORE_CALLS):
        at = next_probe(probes, start)
        if at is None:
            break
        probes.append(look(younger, oldest, at, start))
    return between(stretches(probes, start), start, NOW)


def even(age: float) -> float:
    return age * 100 / DAY


def busy_of_late(age: float) -> float:
    """Quiet for two years, then twenty minutes of five a second."""
    return min(age, 1200) * 5 + max(0.0, age - 1200) * 20_000 / (730 * DAY)


def growing(age: float) -> float:
    whole = 730 * DAY
    return 50_000 * (1 - ((whole - min(age, whole)) / whole) ** 2)


def monthly(age: float) -> float:
    """A thousand within an hour of each month, and ten a day."""
    months, rest = divmod(age, 30 * DAY)
    return months * 1000 + min(rest / 3600, 1) * 1000 + age * 10 / DAY


@pytest.mark.parametrize("shape", [even, busy_of_late, growing])
@pytest.mark.parametrize("start", [NOW - 730 * DAY, 1_293_840_000])
def test_estimate_is_right_within_a_factor_of_two_whatever_the_shape(shape: Shape, start: int) -> None:
    oldest = 730.0 * DAY
    truth = shape(oldest)

    span = estimate(shape, oldest, start)

    assert truth / 2 <= span.about <= truth * 2
    assert span.least <= truth * 1.1
    assert span.most >= truth * 0.9


def test_what_comes_in_bursts_makes_no_figure_of_millions() -> None:
    oldest = 730.0 * DAY

    assert estimate(monthly, oldest, NOW - 730 * DAY).about <= monthly(oldest) * 10


def test_page_that_is_all_there_is_is_known() -> None:
    probes = [Probe(100, 60, 12, has_more=False)]

    assert next_probe(probes, 0) is None
    assert between(stretches(probes, 0), 0, 100) == Span(12, 12, 12)


def test_list_of_which_one_page_is_known_follows_the_shape_of_another() -> None:
    shape = stretches([Probe(1000, 900, 100, has_more=True), Probe(500, 0, 500, has_more=False)], 0)
    whole = between(shape, 0, 1000)

    half = follow(Probe(1000, 800, 100, has_more=True), shape, 0)

    assert half.about == pytest.approx(whole.about / 2, rel=0.1)


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
        ((12_431, 12_431), (233.0, 233.0), "About 12,000 objects, about 4 min."),
        ((87, 87), (3.0, 3.0), "About 87 objects, about 5 s."),
        ((20_300, 40_900), (118.0, 240.0), "20,000 to 41,000 objects, about 2 min to 4 min."),
        ((900_000, 1_940_000), (9_000.0, 18_000.0), "900,000 to 1,900,000 objects, about 2.5 h to 5.0 h."),
        ((0, 0), (0.0, 0.0), "There is nothing to fetch."),
    ],
)
def test_estimate_is_said_as_people_say_it(
    objects: tuple[float, float], seconds: tuple[float, float], words: str
) -> None:
    assert in_words(objects, seconds) == words


def test_what_is_unknown_is_called_so() -> None:
    assert "can't be told" in in_words(None, None)
