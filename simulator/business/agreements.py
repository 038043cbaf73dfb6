"""Quotes and subscription schedules: what was agreed for later."""

from __future__ import annotations

from simulator.business.shop import CURRENCY, DAY, MONTH, Shop
from simulator.shapes import State


def quote(shop: Shop) -> None:
    """Draft a quote, or take one further: finalized, then accepted or canceled."""
    quote_id = shop.take(shop.quotes)
    if quote_id is None:
        return _draft_quote(shop)
    world = shop.world
    state = world.get("quote", quote_id)
    steps = {**state["status_transitions"]}
    if state["status"] == "draft":
        steps["finalized_at"] = world.second
        world.change(
            "quote", quote_id, "quote.finalized",
            status="open", number=f"QT-{world.count}", status_transitions=steps,
        )  # fmt: skip
        shop.quotes.append(quote_id)
        return None
    ending = "accepted" if shop.chance(0.6) else "canceled"
    steps[f"{ending}_at"] = world.second
    world.change("quote", quote_id, f"quote.{ending}", status=ending, status_transitions=steps)
    return None


def _draft_quote(shop: Shop) -> None:
    world = shop.world
    customer, offer = world.pick("customer"), shop.rng.choice(shop.offers)
    if customer is None:
        return
    quote_id = world.new_id("qt")
    totals = {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0}
    computed = {
        "recurring": None,
        "upfront": {"amount_subtotal": offer.amount, "amount_total": offer.amount, "total_details": totals},
    }
    world.add(
        "quote", "quote.created", object_id=quote_id, amount_subtotal=offer.amount, amount_total=offer.amount,
        computed=computed, currency=CURRENCY, customer=customer, expires_at=world.second + 30 * DAY,
        status="draft", total_details=totals,
        status_transitions={"accepted_at": None, "canceled_at": None, "finalized_at": None},
    )  # fmt: skip
    world.add(
        "item", amount_subtotal=offer.amount, amount_total=offer.amount, description=offer.name, quantity=1,
        metadata={}, _parent=quote_id, _price=offer.price,
    )  # fmt: skip
    shop.quotes.append(quote_id)


def schedule(shop: Shop) -> None:
    """Schedule a subscription for later, or change or cancel one that waits."""
    schedule_id = shop.take(shop.schedules)
    if schedule_id is None:
        return _plan_schedule(shop)
    world = shop.world
    if shop.chance(0.5):
        world.change(
            "subscription_schedule", schedule_id, "subscription_schedule.updated",
            metadata={"moved": str(world.second)},
        )  # fmt: skip
        shop.schedules.append(schedule_id)
        return None
    world.change(
        "subscription_schedule", schedule_id, "subscription_schedule.updated", "subscription_schedule.canceled",
        status="canceled", canceled_at=world.second,
    )  # fmt: skip
    return None


def _plan_schedule(shop: Shop) -> None:
    world = shop.world
    customer = world.pick("customer")
    if customer is None:
        return
    start = world.second + MONTH
    phases = [_phase(shop, start + MONTH * number) for number in range(2)]
    schedule_id = world.add(
        "subscription_schedule", "subscription_schedule.created", customer=customer, metadata={}, phases=phases,
        status="not_started",
    )  # fmt: skip
    shop.schedules.append(schedule_id)


def _phase(shop: Shop, start: int) -> State:
    offer = shop.rng.choice(shop.offers)
    item: State = {
        "billing_thresholds": None, "discounts": [], "metadata": {}, "plan": offer.price, "price": offer.price,
        "quantity": 1, "tax_rates": [],
    }  # fmt: skip
    return {
        "add_invoice_items": [], "application_fee_percent": None, "billing_cycle_anchor": None,
        "billing_thresholds": None, "collection_method": None, "currency": CURRENCY, "default_payment_method": None,
        "default_tax_rates": [], "description": None, "discounts": [], "end_date": start + MONTH,
        "invoice_settings": None, "items": [item], "metadata": {}, "on_behalf_of": None,
        "proration_behavior": "create_prorations", "start_date": start, "transfer_data": None, "trial_end": None,
    }  # fmt: skip
