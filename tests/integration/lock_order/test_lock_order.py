"""Rows of the state database are locked in one order: however many are at work, nobody waits in a circle."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

import structlog

from shared.db import make_pool
from tests.databases import connected
from tests.integration.destination_writer.state import State, make_settings
from tests.integration.lock_order.crowd import Crowd

ROUNDS = 25
SIDE_BY_SIDE = 2  # of each habit
# So that a deadlock is found at once, and not after a second in which its cause may have gone.
QUICK = urlencode({"deadlock_timeout": "20ms"})
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


async def test_every_pair_of_operations_at_once_makes_no_deadlock(database_url: str) -> None:
    dice = random.Random(11)
    pool = await make_pool(f"{database_url}?{QUICK}", max_size=24)
    with structlog.testing.capture_logs() as logs:
        crowd = Crowd(State(pool, make_settings(database_url)), dice)
        await crowd.move_in()
        await asyncio.gather(*(repeat(habit, dice) for habit in crowd.habits for _ in range(SIDE_BY_SIDE)))
        await pool.close()
    async with connected(database_url) as db:
        counted = await db.fetchval(DEADLOCKS)
    assert (counted, [entry for entry in logs if entry["event"] == "database_deadlock"]) == (0, [])


async def repeat(habit: Callable[[], Awaitable[object]], dice: random.Random) -> None:
    for _ in range(ROUNDS):
        await habit()
        await asyncio.sleep(dice.random() / 200)
