"""Everything that is simulated: the platform's account, those connected to it, keys, endpoints and faults."""

from __future__ import annotations

import random
from collections.abc import Callable

from simulator.business.shop import Shop
from simulator.config import Config, Faults
from simulator.deliveries import Deliveries
from simulator.history import write_history
from simulator.keys import KeyRing
from simulator.limits import RateLimits
from simulator.live import LiveBusiness
from simulator.shapes import load_shapes
from simulator.webhook_endpoints import WebhookEndpoints
from simulator.world import World

_CONNECTED_OBJECTS = 300
_LIVE_LIMIT, _TEST_LIMIT = 100.0, 25.0  # requests a second


class Simulation:
    """One simulated Stripe. `now` gives Unix seconds."""

    def __init__(self, config: Config, *, now: Callable[[], float]) -> None:
        self.config = config
        self.now = now = _ahead(now, config.clock_skew_seconds)
        self.faults: Faults = config.faults
        rng = random.Random(config.seed)
        # Faults and keys draw from generators of their own, so that they don't change the business.
        self.chance = random.Random(config.seed + 1)
        self.platform = self._open_world(rng)
        self.shop = Shop(self.platform, rng)
        write_history(
            self.shop, objects=config.objects, days=config.history_days, connected_accounts=config.connected_accounts
        )
        self.business = LiveBusiness(self.shop, now=now, rate=config.changes_per_second)
        self.worlds = {self.platform.account_id: self.platform}
        self.shops = {self.platform.account_id: self.shop}
        self._open_connected_accounts(rng)
        self.keys = KeyRing(random.Random(config.seed + 2), livemode=config.livemode)
        self.keys.create()
        self.endpoints = WebhookEndpoints(self.platform, cap=config.max_webhook_endpoints)
        self.deliveries = Deliveries(
            self.endpoints,
            faults=lambda: self.faults,
            rng=self.chance,
            version=config.account_version,
            now=now,
            at_once=config.deliveries_at_once,
        )
        for world in self.worlds.values():
            self.deliveries.watch(world)
        default_limit = _LIVE_LIMIT if config.livemode else _TEST_LIMIT
        self.limits = RateLimits(
            per_account=config.per_account_limit or default_limit,
            per_endpoint=config.per_endpoint_limit,
            enabled=config.rate_limits,
        )

    @property
    def first_key(self) -> str:
        """The restricted key that exists from the start."""
        return next(iter(self.keys.keys))

    def _open_world(self, rng: random.Random, account_id: str | None = None) -> World:
        return World(load_shapes(), account_id, rng=rng, clock=self.now, livemode=self.config.livemode)

    def _open_connected_accounts(self, rng: random.Random) -> None:
        for account_id in self.shop.accounts:
            world = self._open_world(random.Random(rng.random()), account_id)
            world.connected_to = self.platform.account_id
            shop = Shop(world, world.rng)
            write_history(shop, objects=_CONNECTED_OBJECTS, days=self.config.history_days)
            self.worlds[account_id], self.shops[account_id] = world, shop


def _ahead(now: Callable[[], float], seconds: float) -> Callable[[], float]:
    return (lambda: now() + seconds) if seconds else now
