"""Payments and the ledger: charges, refunds, and a balance transaction for every movement of money."""

from __future__ import annotations

from simulator.business.shop import CURRENCY, DAY, Shop
from simulator.shapes import State


def add_transaction(
    shop: Shop, kind: str, amount: int, source: str, *, fee: int = 0, category: str | None = None
) -> str:
    """Book `amount` cents (negative when money leaves) less `fee`; give the balance transaction's id."""
    world = shop.world
    available_on = (world.second // DAY + 2) * DAY
    fee_details = [
        {
            "amount": fee,
            "application": None,
            "currency": CURRENCY,
            "description": "Stripe processing fees",
            "type": "stripe_fee",
        }
    ]
    transaction = world.add(
        "balance_transaction",
        amount=amount,
        available_on=available_on,
        fee=fee,
        fee_details=fee_details if fee else [],
        net=amount - fee,
        reporting_category=category or kind,
        source=source,
        type=kind,
    )
    if kind != "payout":
        shop.unpaid.append((transaction, amount - fee, available_on))
    return transaction


def pay(
    shop: Shop,
    customer: State,
    amount: int,
    *,
    succeeds: bool = True,
    description: str | None = None,
    invoice: str | None = None,
    **fields: object,
) -> tuple[str, str]:
    """Take `amount` cents from a customer's card; give the ids of the payment intent and the charge."""
    world = shop.world
    method, card = customer["_method"], customer["_card"]
    intent = world.add(
        "payment_intent",
        "payment_intent.created",
        amount=amount,
        customer=customer["id"],
        client_secret=None,
        description=description,
        payment_method=method,
        payment_method_options={"card": {"installments": None, "mandate_options": None, "network": None,
                                         "request_three_d_secure": "automatic"}},
        payment_method_types=["card"],
        setup_future_usage="off_session" if invoice else None,
        status="requires_confirmation",
        _invoice=invoice,
    )  # fmt: skip
    charge = world.new_id("ch")
    transaction = None
    if succeeds:
        transaction = add_transaction(shop, "charge", amount, charge, fee=round(amount * 0.029) + 30)
    outcome: State = (
        {"paid": True, "captured": True, "amount_captured": amount, "balance_transaction": transaction}
        if succeeds
        else {
            "paid": False, "status": "failed", "failure_code": "card_declined",
            "failure_message": "Your card was declined.",
        }
    )  # fmt: skip
    world.add(
        "charge",
        "charge.succeeded" if succeeds else "charge.failed",
        object_id=charge,
        amount=amount,
        calculated_statement_descriptor="TILLSHOP",
        customer=customer["id"],
        description=description,
        fraud_details={},
        payment_intent=intent,
        payment_method=method,
        _card=card,
        _email=customer["email"],
        _name=customer["name"],
        _risk=shop.rng.randrange(5, 65),
        _invoice=invoice,
        **outcome,
        **fields,
    )
    _settle_intent(shop, intent, charge, amount, succeeds)
    return intent, charge


def _settle_intent(shop: Shop, intent: str, charge: str, amount: int, succeeds: bool) -> None:
    if succeeds:
        shop.world.change(
            "payment_intent", intent, "payment_intent.succeeded",
            status="succeeded", amount_received=amount, latest_charge=charge,
        )  # fmt: skip
        return
    error = {
        "charge": charge,
        "code": "card_declined",
        "decline_code": "generic_decline",
        "message": "Your card was declined.",
        "type": "card_error",
    }
    shop.world.change(
        "payment_intent", intent, "payment_intent.payment_failed",
        status="requires_payment_method", latest_charge=charge, last_payment_error=error, payment_method=None,
    )  # fmt: skip


def refund_charge(shop: Shop, charge_id: str, amount: int) -> str:
    """Give `amount` cents of a charge back; give the refund's id."""
    world = shop.world
    charge = world.get("charge", charge_id)
    refund = world.new_id("re")
    transaction = add_transaction(shop, "refund", -amount, refund)
    refunded = charge.get("amount_refunded", 0) + amount
    world.add(
        "refund",
        "refund.created",
        object_id=refund,
        amount=amount,
        balance_transaction=transaction,
        charge=charge_id,
        customer=charge["customer"],
        destination_details={
            "card": {
                "reference": None,
                "reference_status": "pending",
                "reference_type": "acquirer_reference_number",
                "type": "refund",
            },
            "type": "card",
        },
        metadata={},
        payment_intent=charge["payment_intent"],
        payment_method=charge["payment_method"],
        reason=shop.rng.choice(("requested_by_customer", "duplicate", None)),
        status="succeeded",
    )  # fmt: skip
    world.change(
        "charge", charge_id, "charge.refunded", amount_refunded=refunded, refunded=refunded == charge["amount"]
    )
    shop.refunds.append(refund)
    return refund


def some_paid_charge(shop: Shop, newest: int = 400) -> State | None:
    """Give a recent charge that is paid and neither refunded nor disputed, or None."""
    for _ in range(10):
        charge_id = shop.world.pick("charge", newest=newest)
        if charge_id is None:
            return None
        charge = shop.world.get("charge", charge_id)
        if charge["paid"] and not charge.get("amount_refunded") and not charge.get("disputed"):
            return charge
    return None
