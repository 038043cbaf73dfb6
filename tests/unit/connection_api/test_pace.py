from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.connection_api.pace import duration_text, rate_of, rate_text, remaining_seconds, remaining_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (3660, "1 h 1 min"),
        (3629, "1 h"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(None, None), (0.01, "1 rows/min"), (0.5, "30 rows/min"), (1.24, "1.2 rows/s"), (1234.4, "1,234 rows/s")],
)
def test_a_rate_is_read_in_the_unit_that_fits(rate: float | None, text: str | None) -> None:
    assert rate_text(rate) == text


def test_no_rate_is_told_from_nothing() -> None:
    assert rate_of(0, 60) is None
    assert rate_of(100, 0.5) is None
    assert rate_of(100, 50) == 2


@pytest.mark.parametrize(("share", "elapsed"), [(0.5, 9.9), (0, 60), (0.000001, 60), (1.2, 60)])
def test_what_is_left_is_not_guessed_too_early_or_from_nothing(share: float, elapsed: float) -> None:
    assert remaining_seconds(share, elapsed) is None


def test_what_is_left_takes_as_long_as_what_was_covered() -> None:
    assert remaining_seconds(0.25, 60) == 180
    assert remaining_seconds(1, 60) == 0


@given(share=st.floats(0.01, 1), elapsed=st.floats(10, 86_400))
def test_a_steady_sync_is_guessed_right_at_every_moment(share: float, elapsed: float) -> None:
    total = elapsed / share
    rest = remaining_seconds(share, elapsed)

    assert rest is None or rest == pytest.approx(total - elapsed, abs=1e-6 * total)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, None),
        (0, "a few seconds"),
        (14, "about 10 s"),
        (54, "about 50 s"),
        (59, "about 1 min"),
        (61, "about 1 min"),
        (290, "about 5 min"),
        (5400, "about 1 h 30 min"),
        (7100, "about 2 h"),
        (40_000, "about 11 h"),
        (400_000, "about 5 days"),
    ],
)
def test_a_guess_is_no_finer_than_it_is_worth(seconds: float | None, text: str | None) -> None:
    assert remaining_text(seconds) == text
