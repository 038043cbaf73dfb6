"""Stripe's rate limits, shared by every process that calls for one account.

Each scope has a moment at which its next call is due; a call takes that moment and moves it on by 1/rate.
So any second holds at most `rate` calls, whoever makes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from shared.db import Pool, database_errors

# https://docs.stripe.com/rate-limits: calls per second of an account, and of one endpoint.
LIVE_RATE = 100.0
TEST_RATE = 25.0
ENDPOINT_RATE = 25.0

TAKE = """
INSERT INTO stripe_budgets AS b (scope, next_at) VALUES ($1, now() + $2::interval)
ON CONFLICT (scope) DO UPDATE SET next_at = greatest(b.next_at, now()) + $2::interval
RETURNING extract(epoch FROM b.next_at - now() - $2::interval)::float8
"""


class AccountBudget:
    """The calls per second that Tillstream allows itself on one Stripe account."""

    def __init__(
        self,
        pool: Pool,
        *,
        account_id: str,
        livemode: bool,
        share: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`share` is the part of Stripe's limits that may be used, from 0 to 1."""
        self._pool = pool
        self._account = f"{account_id}:{'live' if livemode else 'test'}"
        self._account_step = 1 / ((LIVE_RATE if livemode else TEST_RATE) * share)
        self._endpoint_step = 1 / (ENDPOINT_RATE * share)
        self._sleep = sleep

    async def wait(self, endpoint: str) -> None:
        """Return when one call of `endpoint` may start; raise `DatabaseUnavailableError`."""
        # The account's turn is taken last: calls that waited for their endpoints would come on top of the others.
        await self._wait_for(f"{self._account} {endpoint}", self._endpoint_step)
        await self._wait_for(self._account, self._account_step)

    async def _wait_for(self, scope: str, step: float) -> None:
        with database_errors():
            seconds = await self._pool.fetchval(TAKE, scope, timedelta(seconds=step))
        if seconds > 0:
            await self._sleep(seconds)
