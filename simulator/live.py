"""The business as it goes on: so many changes a second, in real time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from simulator.business.scenarios import SCENARIOS, run_some_scenario
from simulator.business.shop import Shop
from simulator.world import World

_IDLE = 0.05  # seconds between looks at a paused rate
_LONGEST_BACKLOG = 1.0  # seconds of changes that are caught up after a stall; more are dropped


class LiveBusiness:
    """Lets a shop live. A change is one event; the rate is an average, since real changes come in bursts."""

    def __init__(self, shop: Shop, *, now: Callable[[], float], rate: float) -> None:
        self.shop = shop
        self.rate = rate
        self._now = now

    def run(self, name: str | None = None, *, shop: Shop | None = None) -> int:
        """Let a scenario (some scenario if None) happen now, in another shop if given; count its events."""
        shop = shop or self.shop
        world = shop.world
        before = len(world.journal.events)
        with _changing_at(world, self._now()):
            if name is None:
                run_some_scenario(shop)
            else:
                SCENARIOS[name].run(shop)
        return len(world.journal.events) - before

    async def live(self) -> None:
        """Keep changing things at the rate, which may change too, until cancelled."""
        owed, last = 0.0, time.monotonic()
        while True:
            now = time.monotonic()
            owed = min(owed + (now - last) * self.rate, self.rate * _LONGEST_BACKLOG)
            last = now
            while owed > 0 and self.rate > 0:
                owed -= max(1, self.run())
                await asyncio.sleep(0)
            await asyncio.sleep(min(_IDLE, -owed / self.rate) if self.rate > 0 else _IDLE)


@contextmanager
def _changing_at(world: World, now: float) -> Iterator[None]:
    """Set a world's clock, and its notion of today, for one change."""
    world.now = world.today = max(now, world.now)
    world.request_id = world.new_id("req", 16)
    try:
        yield
    finally:
        world.request_id = None
