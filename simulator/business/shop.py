"""What the business remembers between two things that happen in it."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from simulator.world import World

DAY = 86_400
MONTH = 30 * DAY
CURRENCY = "usd"


@dataclass(frozen=True, slots=True)
class Offer:
    """A recurring price that customers can take; `amount` is in cents."""

    price: str
    product: str
    amount: int
    name: str


@dataclass(slots=True)
class Shop:
    """The world it changes, and its open business: ids of what is not finished yet."""

    world: World
    rng: random.Random
    offers: list[Offer] = field(default_factory=list)
    subscriptions: deque[str] = field(default_factory=deque)  # next to renew first
    past_due: list[str] = field(default_factory=list)
    disputes: list[str] = field(default_factory=list)
    payouts: list[str] = field(default_factory=list)
    refunds: list[str] = field(default_factory=list)
    topups: list[str] = field(default_factory=list)
    unpaid: deque[tuple[str, int, int]] = field(default_factory=deque)  # transaction, net, available on
    accounts: list[str] = field(default_factory=list)
    loose_items: list[str] = field(default_factory=list)
    quotes: list[str] = field(default_factory=list)
    schedules: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    spares: list[tuple[str, str]] = field(default_factory=list)  # product, price
    features: list[tuple[str, str]] = field(default_factory=list)  # feature, lookup key
    bank: str = ""
    invoice_number: int = 0

    def take(self, waiting: list[str]) -> str | None:
        """Remove and give some one of those that wait, or None."""
        if not waiting:
            return None
        position = self.rng.randrange(len(waiting))
        waiting[position], waiting[-1] = waiting[-1], waiting[position]
        return waiting.pop()

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability


FIRST_NAMES = ("Ada", "Ben", "Chloé", "Dmitri", "Emeka", "Fatima", "Grace", "Hiro", "Inés", "Jonas", "Kateřina", "Liam")
LAST_NAMES = ("Abe", "Brown", "Costa", "Dubois", "Evans", "Fischer", "García", "Hansen", "Ito", "Jensen", "Kowalski")
CARDS = (("visa", "4242"), ("mastercard", "4444"), ("amex", "0005"), ("visa", "5556"), ("discover", "1117"))
PLANS = ("starter", "team", "scale", "enterprise")
