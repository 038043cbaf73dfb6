"""The business before today: as many objects as wanted, spread over the past."""

from __future__ import annotations

from simulator.business.scenarios import open_shop, run_some_scenario
from simulator.business.shop import DAY, Shop


def write_history(shop: Shop, *, objects: int, days: int, connected_accounts: int = 0) -> None:
    """Let the shop live from `days` ago until now, so that it holds about `objects` objects."""
    world = shop.world
    end = world.today
    start = end - days * DAY
    world.now = start
    open_shop(shop, connected_accounts=connected_accounts)
    first = world.count
    while world.count < objects:
        done = (world.count - first) / max(1, objects - first)
        world.now = max(world.now, start + (end - start) * done)
        run_some_scenario(shop)
    world.now = end
