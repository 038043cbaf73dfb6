"""How long events take, as counts by bucket: small enough to keep for every hour, fine enough for p50 and p95."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

# Upper ends in milliseconds; the last bucket is open. Buckets are only ever added at the end.
ENDS = (
    *(50, 100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 700, 800, 900, 1_000, 1_200, 1_500, 2_000, 3_000, 5_000),
    *(10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 900_000, 3_600_000, 21_600_000, 86_400_000),
)


def bucket_of(seconds: float) -> int:
    """Return the number of the bucket of a delay; what is less than nothing, by clocks that differ, took no time."""
    return bisect_left(ENDS, max(0.0, seconds) * 1000)


def counts_of(delays: Iterable[float]) -> list[int]:
    """Return how many delays, in seconds, lie in each bucket."""
    counts = [0] * (len(ENDS) + 1)
    for seconds in delays:
        counts[bucket_of(seconds)] += 1
    return counts


def add(*counts: Sequence[int]) -> list[int]:
    """Return the sums by bucket; one that kept fewer buckets has none of the others."""
    longest = max(map(len, counts), default=0)
    return [sum(one[bucket] for one in counts if bucket < len(one)) for bucket in range(longest)]


def quantile(counts: Sequence[int], share: float) -> float | None:
    """Return the seconds within which a `share` of the events was written, even within its bucket; `None` of none."""
    wanted = sum(counts) * share
    if not wanted:
        return None
    before = 0
    for bucket, count in enumerate(counts):
        if count and before + count >= wanted:
            low = ENDS[bucket - 1] if bucket else 0
            high = ENDS[bucket] if bucket < len(ENDS) else low
            return (low + (high - low) * (wanted - before) / count) / 1000
        before += count
    return None
