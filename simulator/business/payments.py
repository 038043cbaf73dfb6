"""One-off payments, and what comes after them: refunds, disputes, reviews and warnings."""

from __future__ import annotations

from simulator.business.connect import share_with_account
from simulator.business.money import add_transaction, pay, refund_charge, some_paid_charge
from simulator.business.shop import DAY, Shop

_DISPUTE_FEE = 1500  # cents
_REASONS = ("fraudulent", "product_not_received", "duplicate", "general")


def buy(shop: Shop) -> None:
    """Let some customer pay once; a fifth of the payments are shared with a connected account."""
    customer_id = shop.world.pick("customer")
    if customer_id is None:
        return
    customer = shop.world.get("customer", customer_id)
    amount = shop.rng.randrange(500, 50_000)
    succeeds = not shop.chance(0.08)
    _, charge = pay(shop, customer, amount, succeeds=succeeds, description="One-off order")
    if succeeds and shop.accounts and shop.chance(0.2):
        share_with_account(shop, charge, amount)


def review(shop: Shop) -> None:
    """Hold a recent charge up for review, and mostly approve it at once."""
    charge = some_paid_charge(shop)
    if charge is None:
        return
    world = shop.world
    opened = world.add(
        "review", "review.opened", charge=charge["id"], payment_intent=charge["payment_intent"], open=True,
        opened_reason="rule", reason="rule",
    )  # fmt: skip
    world.change("charge", charge["id"], "charge.updated", review=opened)
    if shop.chance(0.7):
        world.change("review", opened, "review.closed", open=False, reason="approved", closed_reason="approved")


def refund(shop: Shop) -> None:
    """Refund a recent charge, in part or whole; its reference number comes later."""
    charge = some_paid_charge(shop)
    if charge is None:
        return
    amount = charge["amount"] if shop.chance(0.6) else max(1, charge["amount"] // 3)
    refund_charge(shop, charge["id"], amount)


def update_refund(shop: Shop) -> None:
    """Let the bank give a refund its reference number, or send it back."""
    refund_id = shop.take(shop.refunds)
    if refund_id is None:
        return refund(shop)
    world = shop.world
    state = world.get("refund", refund_id)
    if shop.chance(0.05):
        back = add_transaction(shop, "refund_failure", state["amount"], refund_id, category="refund_failure")
        world.change(
            "refund", refund_id, "refund.updated", "refund.failed", "charge.refund.updated",
            status="failed", failure_reason="lost_or_stolen_card", failure_balance_transaction=back,
        )  # fmt: skip
        return None
    card = {
        **state["destination_details"]["card"],
        "reference": f"{shop.rng.randrange(10**22, 10**23)}",
        "reference_status": "available",
    }
    details = {**state["destination_details"], "card": card}
    world.change("refund", refund_id, "refund.updated", "charge.refund.updated", destination_details=details)
    return None


def dispute(shop: Shop) -> None:
    """Let a customer's bank take a payment back, for now."""
    charge = some_paid_charge(shop)
    if charge is None:
        return
    world = shop.world
    dispute_id = world.new_id("du")
    transaction = add_transaction(
        shop, "adjustment", -charge["amount"], dispute_id, fee=_DISPUTE_FEE, category="dispute"
    )
    details = {
        **world.shapes.templates["dispute"]["evidence_details"],
        "due_by": world.second + 9 * DAY,
        "submission_method": "not_submitted",
    }
    brand = charge["_card"][0]
    world.change("charge", charge["id"], "charge.updated", disputed=True)
    world.add(
        "dispute",
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        object_id=dispute_id,
        amount=charge["amount"],
        charge=charge["id"],
        evidence_details=details,
        is_charge_refundable=False,
        payment_intent=charge["payment_intent"],
        payment_method_details={
            "card": {"brand": brand, "case_type": "chargeback", "network": brand, "network_reason_code": "10.4"},
            "type": "card",
        },
        reason=shop.rng.choice(_REASONS),
        status="needs_response",
        _transactions=[transaction],
    )
    shop.disputes.append(dispute_id)


def resolve_dispute(shop: Shop) -> None:
    """Answer a dispute, and win or lose it in the same second."""
    dispute_id = shop.take(shop.disputes)
    if dispute_id is None:
        return dispute(shop)
    world = shop.world
    state = world.get("dispute", dispute_id)
    details = {**state["evidence_details"], "has_evidence": True, "submission_count": 1, "submission_method": "manual"}
    world.change("dispute", dispute_id, "charge.dispute.updated", status="under_review", evidence_details=details)
    if shop.chance(0.5):
        world.change("dispute", dispute_id, "charge.dispute.closed", status="lost")
        return None
    back = add_transaction(shop, "adjustment", state["amount"], dispute_id, category="dispute_reversal")
    world.change(
        "dispute", dispute_id, "charge.dispute.closed", "charge.dispute.funds_reinstated",
        status="won", _transactions=[*state["_transactions"], back],
    )  # fmt: skip
    return None


def warn_of_fraud(shop: Shop) -> None:
    """Let a card network suspect a recent charge."""
    charge = some_paid_charge(shop)
    if charge is not None:
        shop.world.add(
            "radar.early_fraud_warning", "radar.early_fraud_warning.created", charge=charge["id"],
            payment_intent=charge["payment_intent"], actionable=True, fraud_type="made_with_stolen_card",
        )  # fmt: skip
