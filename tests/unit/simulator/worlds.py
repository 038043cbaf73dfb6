"""Small worlds for tests, made once."""

from __future__ import annotations

import random
from functools import cache

from simulator.business.shop import Shop
from simulator.history import write_history
from simulator.shapes import load_shapes
from simulator.world import World

NOW = 1_795_600_000.25


def make_shop(*, seed: int = 7, objects: int = 1000) -> Shop:
    """Make a shop with two years of history that ends at `NOW`."""
    rng = random.Random(seed)
    shop = Shop(World(load_shapes(), rng=rng, clock=lambda: NOW, livemode=False), rng)
    write_history(shop, objects=objects, days=730, connected_accounts=2)
    return shop


@cache
def old_shop() -> Shop:
    """Give a big shop that tests only read."""
    return make_shop(objects=8_000)
