"""Money that leaves for the bank, and money that comes from it."""

from __future__ import annotations

from simulator.business.money import add_transaction
from simulator.business.shop import DAY, Shop


def pay_out(shop: Shop) -> None:
    """Send what has become available to the bank, or a little of it by hand if nothing has."""
    world = shop.world
    paid, total = [], 0
    while shop.unpaid and shop.unpaid[0][2] <= world.second:
        transaction, net, _ = shop.unpaid.popleft()
        paid.append(transaction)
        total += net
    payout = world.new_id("po")
    automatic = total > 0
    amount = total if automatic else shop.rng.randrange(100, 10_000)
    transaction = add_transaction(shop, "payout", -amount, payout)
    for one in (*paid, transaction) if automatic else ():
        world.change("balance_transaction", one, _payout=payout)
    world.add(
        "payout",
        "payout.created",
        object_id=payout,
        amount=amount,
        arrival_date=(world.second // DAY + 1) * DAY,
        automatic=automatic,
        balance_transaction=transaction,
        description="STRIPE PAYOUT",
        destination=shop.bank,
        method="standard" if automatic else "instant",
        metadata={},
        reconciliation_status="in_progress" if automatic else "not_applicable",
        status="in_transit",
    )
    shop.payouts.append(payout)


def land_payout(shop: Shop) -> None:
    """Let a payout arrive at the bank, or come back."""
    payout_id = shop.take(shop.payouts)
    if payout_id is None:
        return pay_out(shop)
    world = shop.world
    payout = world.get("payout", payout_id)
    if shop.chance(0.05):
        back = add_transaction(shop, "payout_failure", payout["amount"], payout_id, category="payout_reversal")
        world.change(
            "payout", payout_id, "payout.updated", "payout.failed",
            status="failed", failure_code="account_closed", failure_message="The bank account has been closed.",
            failure_balance_transaction=back,
        )  # fmt: skip
        return None
    trace = {"status": "supported", "value": f"{shop.rng.randrange(10**14, 10**15)}"}
    world.change("payout", payout_id, "payout.updated", "payout.paid", status="paid", trace_id=trace)
    if payout["automatic"]:
        world.change("payout", payout_id, "payout.reconciliation_completed", reconciliation_status="completed")
    world.tell("balance.available", "balance", world.render_balance())
    return None


def top_up(shop: Shop) -> None:
    """Start a top-up, or let one arrive."""
    world = shop.world
    topup_id = shop.take(shop.topups)
    if topup_id is None:
        amount = shop.rng.randrange(10_000, 1_000_000)
        topup = world.add(
            "topup", "topup.created", amount=amount, description="Top-up", status="pending",
            expected_availability_date=world.second + 3 * DAY, metadata={},
        )  # fmt: skip
        shop.topups.append(topup)
        return
    if shop.chance(0.1):
        world.change(
            "topup", topup_id, "topup.failed",
            status="failed", failure_code="insufficient_funds", failure_message="The account has too little money.",
        )  # fmt: skip
        return
    amount = world.get("topup", topup_id)["amount"]
    transaction = add_transaction(shop, "topup", amount, topup_id)
    world.change("topup", topup_id, "topup.succeeded", status="succeeded", balance_transaction=transaction)
