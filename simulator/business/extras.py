"""What only some customers have: tax ids, credit, older payment sources, entitlements, checkouts."""

from __future__ import annotations

from simulator.business.shop import CURRENCY, DAY, Shop


def add_extras(shop: Shop) -> None:
    """Give one customer one more thing."""
    customer = shop.world.pick("customer")
    if customer is not None:
        shop.rng.choice(EXTRAS)(shop, customer)


def _tax_id(shop: Shop, customer: str) -> None:
    owner = {"account": None, "application": None, "customer": customer, "customer_account": None, "type": "customer"}
    tax_id = shop.world.add(
        "tax_id", "customer.tax_id.created", customer=customer, owner=owner, country="DE", type="eu_vat",
        value=f"DE{shop.rng.randrange(10**8, 10**9)}",
        verification={"status": "pending", "verified_address": None, "verified_name": None},
    )  # fmt: skip
    verified = {"status": "verified", "verified_address": "Main St", "verified_name": "Till Buyer"}
    shop.world.change("tax_id", tax_id, "customer.tax_id.updated", verification=verified)
    if shop.chance(0.2):
        shop.world.remove("tax_id", tax_id, "customer.tax_id.deleted")


def _balance(shop: Shop, customer_id: str) -> None:
    world = shop.world
    balance = world.get("customer", customer_id)["balance"]
    amount = -shop.rng.randrange(100, 5000) if balance >= 0 else -balance
    world.add(
        "customer_balance_transaction", amount=amount, customer=customer_id, ending_balance=balance + amount,
        description="Goodwill", metadata={}, type="adjustment",
    )  # fmt: skip
    world.change("customer", customer_id, "customer.updated", balance=balance + amount)


def _cash(shop: Shop, customer: str) -> None:
    amount = shop.rng.randrange(1000, 90_000)
    funded = {"bank_transfer": {"reference": None, "type": "us_bank_transfer"}}
    shop.world.add(
        "customer_cash_balance_transaction", "customer_cash_balance_transaction.created", customer=customer,
        currency=CURRENCY, net_amount=amount, ending_balance=amount, type="funded", funded=funded,
    )  # fmt: skip


def _card(shop: Shop, customer: str) -> None:
    shop.world.add(
        "card", "customer.source.created", customer=customer, country="US", name="Old Card", metadata={},
        fingerprint=shop.world.new_id("", 16),
    )  # fmt: skip


def _credit_grant(shop: Shop, customer: str) -> None:
    world = shop.world
    value = shop.rng.randrange(1000, 100_000)
    monetary = {"monetary": {"currency": CURRENCY, "value": value}, "type": "monetary"}
    grant = world.add(
        "billing.credit_grant", "billing.credit_grant.created", amount=monetary, customer=customer, name="Welcome",
        applicability_config={"scope": {"price_type": "metered"}}, effective_at=world.second,
        expires_at=world.second + 365 * DAY, updated=world.second, category="promotional",
    )  # fmt: skip
    world.add(
        "billing.credit_balance_transaction", "billing.credit_balance_transaction.created", credit_grant=grant,
        credit={"amount": monetary, "credits_application_invoice_voided": None, "type": "credits_granted"},
        effective_at=world.second, type="credit", _customer=customer,
    )  # fmt: skip
    if shop.chance(0.3):
        world.change(
            "billing.credit_grant", grant, "billing.credit_grant.updated",
            metadata={"note": "kept"}, updated=world.second,
        )  # fmt: skip


def _entitle(shop: Shop, customer: str) -> None:
    feature, lookup_key = shop.rng.choice(shop.features)
    shop.world.add("entitlements.active_entitlement", feature=feature, lookup_key=lookup_key, _customer=customer)


def _checkout(shop: Shop, customer: str) -> None:
    world, offer = shop.world, shop.rng.choice(shop.offers)
    session = world.add(
        "checkout.session", "checkout.session.completed", amount_subtotal=offer.amount, amount_total=offer.amount,
        currency=CURRENCY, customer=customer, expires_at=world.second + DAY, mode="payment", payment_status="paid",
        payment_method_types=["card"], status="complete", success_url="https://shop.example.com/thanks", metadata={},
    )  # fmt: skip
    world.add(
        "item", amount_subtotal=offer.amount, amount_total=offer.amount, description=offer.name, quantity=1,
        metadata={}, _parent=session, _price=offer.price,
    )  # fmt: skip


def _discount(shop: Shop, customer_id: str) -> None:
    world = shop.world
    coupon = world.pick("coupon")
    customer = world.get("customer", customer_id)
    if coupon is None or customer.get("discount"):
        return
    discount = {
        **world.renderer.templates["discount"], "id": world.new_id("di"), "customer": customer_id,
        "source": {"coupon": coupon, "type": "coupon"}, "start": world.second,
    }  # fmt: skip
    world.tell("customer.discount.created", "discount", discount)
    world.change("customer", customer_id, "customer.updated", discount=discount)


def _new_method(shop: Shop, customer: str) -> None:
    world = shop.world
    positions = world.store.tables["payment_method"].indexes["customer"].get(customer)
    if not positions:
        return
    method = world.store.tables["payment_method"].at(positions[-1])
    if method is not None:
        card = [*method["_card"][:3], method["_card"][3] + 1, method["_card"][4]]
        world.change("payment_method", method["id"], "payment_method.automatically_updated", _card=card)


EXTRAS = (_tax_id, _balance, _balance, _cash, _card, _credit_grant, _entitle, _checkout, _discount, _new_method)
