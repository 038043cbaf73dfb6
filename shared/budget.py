"""Stripe's rate limits, shared by every process that calls for one account.

Each scope has a moment at which its next call is due; a call takes that moment and moves it on by 1/rate.
So any second holds at most `rate` calls, whoever makes them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from shared.db import Pool, database_errors

# https://docs.stripe.com/rate-limits: calls per second of an account, and of one endpoint.
LIVE_RATE = 100.0
TEST_RATE = 25.0
ENDPOINT_RATE = 25.0

TYPICAL_SECONDS = 0.2  # that Stripe takes for a page
FEWEST_AT_ONCE = 3

TAKE = """
INSERT INTO stripe_budgets AS b (scope, next_at) VALUES ($1, now() + $2::interval)
ON CONFLICT (scope) DO UPDATE SET next_at = greatest(b.next_at, now()) + $2::interval
RETURNING extract(epoch FROM b.next_at - now() - $2::interval)::float8
"""
TAKE_AND_COUNT = f"""
WITH counted AS (
    INSERT INTO stripe_hours AS h (scope, hour, calls) VALUES ($1, date_trunc('hour', now()), 1)
    ON CONFLICT (scope, hour) DO UPDATE SET calls = h.calls + 1)
{TAKE}
"""


def scope_of(account_id: str, *, livemode: bool) -> str:
    """Return what an account's calls are counted by."""
    return f"{account_id}:{'live' if livemode else 'test'}"


def account_rate(*, livemode: bool, share: float) -> float:
    """Return how many calls a second a `share` of the account's limit allows."""
    return (LIVE_RATE if livemode else TEST_RATE) * share


def calls_at_once(*, livemode: bool, share: float) -> int:
    """Return how many calls have to be under way for the budget to be used, at Stripe's typical pace.

    More would be no faster, and each of them is one more refusal when the key dies.
    """
    return max(FEWEST_AT_ONCE, math.ceil(account_rate(livemode=livemode, share=share) * TYPICAL_SECONDS))


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
        self._account = scope_of(account_id, livemode=livemode)
        self._account_step = 1 / account_rate(livemode=livemode, share=share)
        self._endpoint_step = 1 / (ENDPOINT_RATE * share)
        self._sleep = sleep

    @asynccontextmanager
    async def turn(self, endpoint: str) -> AsyncIterator[None]:
        """Run the block, which makes one call of `endpoint`, when it may start; raise `DatabaseUnavailableError`."""
        # The account's turn is taken last: calls that waited for their endpoints would come on top of the others.
        await self._wait_for(f"{self._account} {endpoint}", self._endpoint_step)
        await self._wait_for(self._account, self._account_step, TAKE_AND_COUNT)
        yield

    async def _wait_for(self, scope: str, step: float, take: str = TAKE) -> None:
        with database_errors():
            seconds = await self._pool.fetchval(take, scope, timedelta(seconds=step))
        if seconds > 0:
            await self._sleep(seconds)
