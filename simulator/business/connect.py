"""Connected accounts: what is shared with them, and what they give back."""

from __future__ import annotations

from simulator.business.money import add_transaction
from simulator.business.shop import CURRENCY, Shop
from simulator.singletons import account_state


def open_accounts(shop: Shop, count: int) -> None:
    """Connect accounts, each with its capabilities, a person and a bank account."""
    world = shop.world
    for number in range(1, count + 1):
        account = world.new_id("acct", 16)
        state = account_state(account, world.second, country="US", name=f"Seller {number}") | {"type": "express"}
        del state["id"]
        world.add("account", "account.updated", object_id=account, **state)
        shop.accounts.append(account)
        for capability in ("card_payments", "transfers"):
            world.add(
                "capability", object_id=f"{account}/{capability}", id=capability, account=account,
                requested=True, requested_at=world.second, status="active",
            )  # fmt: skip
        world.add(
            "bank_account", "account.external_account.created", account=account, bank_name="STRIPE TEST BANK",
            last4=f"{shop.rng.randrange(10_000):04d}", routing_number="110000000", status="new", metadata={},
        )  # fmt: skip
        world.add(
            "person", "person.created", account=account, first_name="Jenny", last_name=f"Seller {number}",
            metadata={},
        )  # fmt: skip


def share_with_account(shop: Shop, charge_id: str, amount: int) -> None:
    """Pass most of a charge on to a connected account and keep a fee."""
    world = shop.world
    account = shop.rng.choice(shop.accounts)
    transfer, fee = world.new_id("tr"), world.new_id("fee")
    fee_amount = amount // 10
    world.add(
        "transfer",
        "transfer.created",
        object_id=transfer,
        amount=amount,
        balance_transaction=add_transaction(shop, "transfer", -amount, transfer),
        destination=account,
        destination_payment=world.new_id("py"),
        metadata={},
        source_transaction=charge_id,
        source_type="card",
        transfer_group=f"group_{charge_id}",
    )
    world.add(
        "application_fee",
        "application_fee.created",
        object_id=fee,
        account=account,
        amount=fee_amount,
        application="ca_tillshop",
        balance_transaction=add_transaction(shop, "application_fee", fee_amount, fee),
        charge=charge_id,
        originating_transaction=charge_id,
    )
    world.change(
        "charge", charge_id, "charge.updated",
        application_fee=fee, application_fee_amount=fee_amount, transfer_group=f"group_{charge_id}",
        transfer_data={"amount": None, "destination": account},
    )  # fmt: skip


def give_back(shop: Shop) -> None:
    """Reverse part of a transfer and refund part of a fee."""
    _reverse_transfer(shop)
    _refund_fee(shop)


def _reverse_transfer(shop: Shop) -> None:
    world = shop.world
    transfer_id = world.pick("transfer", newest=50)
    if transfer_id is None:
        return
    transfer = world.get("transfer", transfer_id)
    reversed_so_far = transfer.get("amount_reversed", 0)
    amount = min(max(1, transfer["amount"] // 12), transfer["amount"] - reversed_so_far)
    if amount <= 0:
        return
    reversal = world.new_id("trr")
    child = {
        "id": reversal,
        "amount": amount,
        "balance_transaction": add_transaction(shop, "transfer_refund", amount, reversal),
        "created": world.second,
        "currency": CURRENCY,
        "metadata": {},
        "transfer": transfer_id,
    }
    total = reversed_so_far + amount
    world.change(
        "transfer", transfer_id, "transfer.reversed", "transfer.updated",
        amount_reversed=total, reversed=total == transfer["amount"],
        _children=[child, *transfer.get("_children", ())],
    )  # fmt: skip


def _refund_fee(shop: Shop) -> None:
    world = shop.world
    fee_id = world.pick("application_fee", newest=50)
    if fee_id is None:
        return
    fee = world.get("application_fee", fee_id)
    refunded = fee.get("amount_refunded", 0)
    amount = min(max(1, fee["amount"] // 12), fee["amount"] - refunded)
    if amount <= 0:
        return
    refund = world.new_id("fr")
    child = {
        "id": refund,
        "amount": amount,
        "balance_transaction": add_transaction(shop, "application_fee_refund", -amount, refund),
        "created": world.second,
        "currency": CURRENCY,
        "fee": fee_id,
        "metadata": {},
    }
    world.change(
        "application_fee", fee_id, "application_fee.refunded",
        amount_refunded=refunded + amount, refunded=refunded + amount == fee["amount"],
        _children=[child, *fee.get("_children", ())],
    )  # fmt: skip


def update_account(shop: Shop) -> None:
    """Change the shop's own account."""
    shop.world.change_own("account", "account.updated", metadata={"checked": str(shop.world.second)})


def update_connected_account(shop: Shop) -> None:
    """Change a connected account, which only endpoints for connected accounts are told."""
    if shop.accounts:
        metadata = {"checked": str(shop.world.second)}
        shop.world.change("account", shop.rng.choice(shop.accounts), "account.updated", metadata=metadata)
