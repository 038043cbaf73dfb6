"""Subscriptions and their invoices: the cascades of one second that a real renewal makes."""

from __future__ import annotations

from simulator.business.money import pay
from simulator.business.shop import CURRENCY, MONTH, Offer, Shop
from simulator.shapes import State


def add_item(shop: Shop, subscription: str, offer: Offer, quantity: int) -> State:
    """Make a subscription item for the month that begins now."""
    world = shop.world
    return {
        "id": world.new_id("si", 16),
        "created": world.second,
        "current_period_start": world.second,
        "current_period_end": world.second + MONTH,
        "quantity": quantity,
        "subscription": subscription,
        "tax_rates": [],
        "_price": offer.price,
        "_product": offer.product,
        "_amount": offer.amount,
        "_name": offer.name,
    }


def item_line(shop: Shop, item: State, invoice: str) -> State:
    """Make the invoice line of a subscription item's period."""
    amount = item["_amount"] * item["quantity"]
    return {
        "id": shop.world.new_id("il"),
        "amount": amount,
        "description": f"{item['quantity']} × {item['_name']} (at ${item['_amount'] / 100:.2f} / month)",
        "discount_amounts": [],
        "invoice": invoice,
        "period": {"end": item["current_period_end"], "start": item["current_period_start"]},
        "pretax_credit_amounts": [],
        "quantity": item["quantity"],
        "subscription": item["subscription"],
        "taxes": [],
        "_price": [item["_price"], item["_product"], item["_amount"]],
        "_subscription_item": item["id"],
    }


def add_invoice(
    shop: Shop, customer: State, lines: list[State], *, reason: str, subscription: State | None = None, invoice: str
) -> None:
    """Draft an invoice of these lines."""
    world = shop.world
    total = sum(line["amount"] for line in lines)
    world.add(
        "invoice",
        "invoice.created",
        object_id=invoice,
        account_country="US",
        account_name="Till Shop",
        amount_due=total,
        amount_remaining=total,
        auto_advance=True,
        billing_reason=reason,
        customer=customer["id"],
        customer_address=customer.get("address"),
        customer_email=customer["email"],
        customer_name=customer["name"],
        customer_tax_exempt="none",
        customer_tax_ids=[],
        issuer={"type": "self"},
        metadata={},
        period_start=lines[0]["period"]["start"],
        period_end=lines[0]["period"]["end"],
        status="draft",
        subtotal=total,
        total=total,
        total_discount_amounts=[],
        total_pretax_credit_amounts=[],
        total_taxes=[],
        _children=lines,
        _subscription=subscription and subscription["id"],
        _subscription_metadata=subscription.get("metadata", {}) if subscription else {},
    )


def finalize_invoice(shop: Shop, invoice: str) -> None:
    """Give a draft its number and open it."""
    shop.invoice_number += 1
    shop.world.change(
        "invoice", invoice, "invoice.finalized", "invoice.updated",
        status="open", number=f"TILL-{shop.invoice_number:06d}", attempted=False,
        _finalized_at=shop.world.second, webhooks_delivered_at=shop.world.second,
    )  # fmt: skip


def collect_invoice(shop: Shop, customer: State, invoice_id: str, *, succeeds: bool = True) -> None:
    """Try to take an open invoice's money."""
    world = shop.world
    invoice = world.get("invoice", invoice_id)
    attempts = invoice.get("attempt_count", 0) + 1
    if invoice["amount_remaining"] <= 0:
        _mark_paid(shop, invoice, attempts)
        return
    intent, charge = pay(
        shop, customer, invoice["amount_remaining"], succeeds=succeeds, invoice=invoice_id,
        description="Subscription update" if attempts == 1 else "Payment retry",
    )  # fmt: skip
    paid_by = {
        "_charge": charge,
        "_payment_intent": intent,
        "_payment": _record_payment(shop, invoice, intent, succeeds),
    }
    if succeeds:
        _mark_paid(shop, invoice, attempts, **paid_by)
    else:
        world.change(
            "invoice", invoice_id, "invoice.updated", "invoice.payment_failed",
            attempt_count=attempts, attempted=True, next_payment_attempt=world.second + 3 * 86_400, **paid_by,
        )  # fmt: skip


def _mark_paid(shop: Shop, invoice: State, attempts: int, **paid_by: str) -> None:
    shop.world.change(
        "invoice", invoice["id"], "invoice.updated", "invoice.paid", "invoice.payment_succeeded",
        status="paid", amount_paid=invoice["amount_due"], amount_remaining=0, attempt_count=attempts, attempted=True,
        auto_advance=False, next_payment_attempt=None, _paid_at=shop.world.second, **paid_by,
    )  # fmt: skip


def _record_payment(shop: Shop, invoice: State, intent: str, succeeds: bool) -> str:
    """Only a paid one is told: one that stays open is found by reading it with its invoice."""
    world, amount = shop.world, invoice["amount_remaining"]
    fields: State = {"payment": {"payment_intent": intent, "type": "payment_intent"}}
    if succeeds:
        fields |= {
            "amount_paid": amount,
            "status": "paid",
            "status_transitions": {"canceled_at": None, "paid_at": world.second},
        }
    events = ("invoice_payment.paid",) if succeeds else ()
    payment: str | None = invoice.get("_payment")
    if payment is not None:
        world.change("invoice_payment", payment, *events, **fields)
        return payment
    still_open = {"status": "open", "status_transitions": {"canceled_at": None, "paid_at": None}}
    common = {"amount_requested": amount, "currency": CURRENCY, "invoice": invoice["id"]}
    return world.add("invoice_payment", *events, **common, **{**still_open, **fields})


def bill_period(shop: Shop, subscription_id: str, *, reason: str, succeeds: bool = True) -> str:
    """Invoice and collect a subscription's period that begins now; give the invoice's id."""
    world = shop.world
    subscription = world.get("subscription", subscription_id)
    customer = world.get("customer", subscription["customer"])
    invoice = world.new_id("in")
    lines = [item_line(shop, item, invoice) for item in subscription["_children"]]
    add_invoice(shop, customer, lines, reason=reason, subscription=subscription, invoice=invoice)
    world.change("subscription", subscription_id, "customer.subscription.updated", latest_invoice=invoice)
    finalize_invoice(shop, invoice)
    collect_invoice(shop, customer, invoice, succeeds=succeeds)
    return invoice
