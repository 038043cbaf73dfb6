"""Whoever calls for one account, in whatever process, together keep to its part of Stripe's limits."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter

import pytest

from shared.budget import ENDPOINT_RATE, LIVE_RATE, TEST_RATE, AccountBudget
from shared.db import Pool, make_pool


class ClockedPool:
    """Notes the time of the database at which each turn begins, by its scope: a busy machine learns of it late."""

    def __init__(self, pool: Pool, turns: dict[str, list[float]]) -> None:
        self.pool = pool
        self.turns = turns

    async def fetchval(self, sql: str, scope: str, *values: object) -> float:
        row = await self.pool.fetchrow(f"{sql}, extract(epoch FROM now())::float8", scope, *values)
        self.turns.setdefault(scope, []).append(row[0] + row[1])
        return float(row[0])


def most_in_a_second(turns: list[float]) -> int:
    ordered = sorted(turns)
    return max(bisect_left(ordered, turn + 0.999) - at for at, turn in enumerate(ordered))


class Callers:
    """Callers in four processes, as far as the database can tell; they keep the turns of account and endpoints."""

    def __init__(self) -> None:
        self.turns: dict[str, list[float]] = {}

    @property
    def all_turns(self) -> list[float]:
        """When each call may start."""
        return self.turns["acct_1:live"]

    async def call(self, url: str, endpoints: list[str], *, calls: int) -> None:
        pools = [await make_pool(url, max_size=4) for _ in range(4)]
        try:
            await asyncio.gather(*(self._call(pool, one, calls) for pool in pools for one in endpoints))
        finally:
            for pool in pools:
                await pool.close()

    async def _call(self, pool: Pool, endpoint: str, calls: int) -> None:
        budget = AccountBudget(ClockedPool(pool, self.turns), account_id="acct_1", livemode=True, share=0.5)
        for _ in range(calls):
            async with budget.turn(endpoint):
                pass


async def test_an_account_keeps_its_pace_however_many_call(database_url: str) -> None:
    callers = Callers()
    await callers.call(database_url, [f"GET /v1/{n}" for n in range(6)], calls=5)
    assert len(callers.all_turns) == 120
    assert most_in_a_second(callers.all_turns) <= LIVE_RATE * 0.5 * 1.05 + 1


async def test_calls_that_waited_for_their_endpoint_do_not_crowd_the_account(database_url: str) -> None:
    callers = Callers()
    crowd = callers.call(database_url, ["GET /v1/charges"] * 4, calls=2)
    others = callers.call(database_url, [f"GET /v1/{n}" for n in range(8)], calls=3)
    await asyncio.gather(crowd, others)
    assert most_in_a_second(callers.all_turns) <= LIVE_RATE * 0.5 * 1.05 + 1


async def test_an_endpoint_keeps_its_own_pace(database_url: str) -> None:
    callers = Callers()
    await callers.call(database_url, ["GET /v1/charges"], calls=6)
    assert most_in_a_second(callers.turns["acct_1:live GET /v1/charges"]) <= ENDPOINT_RATE * 0.5 * 1.05 + 1


async def test_accounts_do_not_wait_for_each_other(database_url: str) -> None:
    waits: Counter[str] = Counter()

    async def note(seconds: float) -> None:
        waits["later"] += seconds > 0.01

    pool = await make_pool(database_url)
    for n in range(20):
        budget = AccountBudget(pool, account_id=f"acct_{n}", livemode=True, share=0.5, sleep=note)
        async with budget.turn("GET /v1/charges"):
            pass
    await pool.close()
    assert waits["later"] == 0


@pytest.mark.parametrize(("livemode", "rate"), [(True, LIVE_RATE), (False, TEST_RATE)])
async def test_the_pace_is_the_share_of_the_mode(database_url: str, livemode: bool, rate: float) -> None:
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    pool = await make_pool(database_url)
    budget = AccountBudget(pool, account_id="acct_1", livemode=livemode, share=0.1, sleep=note)
    for n in range(11):
        async with budget.turn(f"GET /v1/{n}"):
            pass
    await pool.close()
    assert waits[-1] == pytest.approx(10 / (rate * 0.1), abs=0.5)


async def test_every_call_of_an_account_is_counted_once(database_url: str) -> None:
    pool = await make_pool(database_url)
    budget = AccountBudget(pool, account_id="acct_1", livemode=True, share=0.5)
    for endpoint in ("GET /v1/charges", "GET /v1/charges", "GET /v1/events"):
        async with budget.turn(endpoint):
            pass
    rows = await pool.fetch("SELECT scope, sum(calls)::int AS calls FROM stripe_hours GROUP BY scope")
    await pool.close()
    assert [tuple(row) for row in rows] == [("acct_1:live", 3)]
