"""Pauses grow, are spread, and are never shorter than what the other side asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.retries import pause_seconds


def test_the_longest_pause_doubles_up_to_its_cap() -> None:
    pauses = [pause_seconds(attempt, base=0.5, cap=8.0, draw=lambda: 1.0) for attempt in range(7)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 600))
def test_a_pause_lies_between_what_was_asked_for_and_the_cap_more(attempt: int, draw: float, asked: float) -> None:
    assert asked <= pause_seconds(attempt, cap=300.0, at_least=asked, draw=lambda: draw) <= asked + 300.0


def test_clients_that_fail_together_spread() -> None:
    assert len({pause_seconds(3) for _ in range(50)}) > 40
