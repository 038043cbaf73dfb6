"""Everything that can happen in the shop, by name and by how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from simulator.business import customers
from simulator.business.catalogue import open_catalogue
from simulator.business.shop import Shop


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing that happens, and its share of all that happens."""

    run: Callable[[Shop], object]
    weight: float


SCENARIOS: dict[str, Scenario] = {
    "sign_up": Scenario(customers.sign_up, 10),
    "renewal": Scenario(customers.renew, 45),
    "failed_renewal": Scenario(customers.fail_renewal, 4),
    "recovery": Scenario(customers.recover, 4),
    "cancel": Scenario(customers.cancel, 3),
    "update_customer": Scenario(customers.update_customer, 8),
    "delete_customer": Scenario(customers.delete_customer, 0.7),
}

_NAMES = tuple(SCENARIOS)
_WEIGHTS = tuple(accumulate(scenario.weight for scenario in SCENARIOS.values()))


def open_shop(shop: Shop) -> None:
    """Create what exists before the first customer."""
    open_catalogue(shop)


def run_some_scenario(shop: Shop) -> None:
    """Let something happen, chosen by weight."""
    name = shop.rng.choices(_NAMES, cum_weights=_WEIGHTS)[0]
    SCENARIOS[name].run(shop)
