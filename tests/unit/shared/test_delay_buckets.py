from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.delay_buckets import ENDS, add, bucket_of, counts_of, quantile


def test_nothing_has_no_quantile() -> None:
    assert quantile([], 0.95) is None
    assert quantile(counts_of([]), 0.5) is None


def test_clocks_that_differ_make_no_negative_delay() -> None:
    assert bucket_of(-3) == 0


def test_what_was_kept_with_fewer_buckets_adds_up() -> None:
    assert add([1, 2], [1], []) == [2, 2]


@given(st.lists(st.floats(min_value=0.001, max_value=86_000), min_size=1, max_size=200), st.sampled_from([0.5, 0.95]))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(delays: list[float], share: float) -> None:
    true = sorted(delays)[max(0, -(-len(delays) * round(share * 100) // 100) - 1)]
    found = quantile(counts_of(delays), share)
    assert found is not None
    bucket = bucket_of(true)
    low = ENDS[bucket - 1] / 1000 if bucket else 0
    assert low <= found <= ENDS[bucket] / 1000 + 1e-9


def test_a_typical_hour_is_told_to_a_tenth() -> None:
    counts = counts_of([0.4] * 94 + [1.1] * 6)
    assert quantile(counts, 0.5) == pytest.approx(0.4, abs=0.05)
    assert quantile(counts, 0.95) == pytest.approx(1.1, abs=0.1)
