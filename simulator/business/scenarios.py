"""Everything that can happen in the shop, by name and by how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from simulator.business import adjustments, agreements, catalogue, connect, customers, payments, payouts
from simulator.business.extras import EXTRAS, add_extras
from simulator.business.furniture import furnish
from simulator.business.shop import Shop


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing that happens, and its share of all that happens."""

    run: Callable[[Shop], object]
    weight: float


SCENARIOS: dict[str, Scenario] = {
    "sign_up": Scenario(customers.sign_up, 10),
    "renewal": Scenario(customers.renew, 45),
    "burst": Scenario(customers.renew_many, 0),
    "failed_renewal": Scenario(customers.fail_renewal, 4),
    "recovery": Scenario(customers.recover, 4),
    "cancel": Scenario(customers.cancel, 3),
    "update_customer": Scenario(customers.update_customer, 8),
    "delete_customer": Scenario(customers.delete_customer, 0.7),
    "upgrade": Scenario(adjustments.upgrade, 4),
    "buy": Scenario(payments.buy, 8),
    "refund": Scenario(payments.refund, 4),
    "update_refund": Scenario(payments.update_refund, 3),
    "dispute": Scenario(payments.dispute, 0.8),
    "resolve_dispute": Scenario(payments.resolve_dispute, 0.7),
    "review": Scenario(payments.review, 0.5),
    "warn_of_fraud": Scenario(payments.warn_of_fraud, 0.3),
    "pay_out": Scenario(payouts.pay_out, 1),
    "land_payout": Scenario(payouts.land_payout, 1),
    "top_up": Scenario(payouts.top_up, 0.5),
    "give_back": Scenario(connect.give_back, 1),
    "update_account": Scenario(connect.update_account, 0.3),
    "update_connected_account": Scenario(connect.update_connected_account, 0),
    "add_loose_item": Scenario(adjustments.add_loose_item, 1),
    "settle_loose_item": Scenario(adjustments.settle_loose_item, 1),
    "credit": Scenario(adjustments.credit, 2),
    "leave_invoice_open": Scenario(adjustments.leave_invoice_open, 1),
    "quote": Scenario(agreements.quote, 1),
    "schedule": Scenario(agreements.schedule, 0.7),
    "extras": Scenario(add_extras, 4),
    "change_catalogue": Scenario(catalogue.change_catalogue, 1.5),
}

_FIRST_CUSTOMERS = 5
_NAMES = tuple(SCENARIOS)
_WEIGHTS = tuple(accumulate(scenario.weight for scenario in SCENARIOS.values()))


def open_shop(shop: Shop, *, connected_accounts: int) -> None:
    """Create what exists before the first customer."""
    shop.bank = shop.world.new_id("ba")
    catalogue.open_catalogue(shop)
    catalogue.add_coupon(shop)
    furnish(shop)
    connect.open_accounts(shop, connected_accounts)
    _try_everything(shop)


def run_some_scenario(shop: Shop) -> None:
    """Let something happen, chosen by weight."""
    name = shop.rng.choices(_NAMES, cum_weights=_WEIGHTS)[0]
    SCENARIOS[name].run(shop)


def _try_everything(shop: Shop) -> None:
    """Even the smallest shop has at least one of each object."""
    for _ in range(_FIRST_CUSTOMERS):
        customers.sign_up(shop)
    customers.subscribe(shop, customers.add_customer(shop), many_items=True)
    for extra in EXTRAS:
        extra(shop, shop.world.store.tables["customer"].ids[0])
    charge = shop.world.get("charge", shop.world.store.tables["charge"].ids[0])
    if shop.accounts:
        connect.share_with_account(shop, charge["id"], charge["amount"])
    for name, scenario in SCENARIOS.items():
        if name != "delete_customer":
            scenario.run(shop)
    while not shop.world.store.tables["credit_note"].live:
        adjustments.credit(shop)
