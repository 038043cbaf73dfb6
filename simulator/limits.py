"""Stripe's rate limits: so many requests a second for an account, and for each endpoint."""

from __future__ import annotations

from dataclasses import dataclass

from simulator import errors


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class RateLimits:
    """Token buckets of one second's worth. Times are monotonic seconds."""

    def __init__(self, *, per_account: float, per_endpoint: float, enabled: bool = True) -> None:
        self.per_account = per_account
        self.per_endpoint = per_endpoint
        self.enabled = enabled
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def take(self, account: str, endpoint: str, now: float) -> None:
        """Count one request, or raise Stripe's 429."""
        if not self.enabled:
            return
        if not self._take_one((account, ""), self.per_account, now):
            raise errors.rate_limited("global-rate")
        if not self._take_one((account, endpoint), self.per_endpoint, now):
            raise errors.rate_limited("endpoint-rate")

    def _take_one(self, key: tuple[str, str], rate: float, now: float) -> bool:
        bucket = self._buckets.setdefault(key, _Bucket(rate, now))
        bucket.tokens = min(rate, bucket.tokens + (now - bucket.filled_at) * rate)
        bucket.filled_at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True
