"""Customers: they sign up, subscribe, change their minds, and some are deleted."""

from __future__ import annotations

from simulator.business import billing
from simulator.business.shop import CARDS, DAY, FIRST_NAMES, LAST_NAMES, MONTH, Shop
from simulator.shapes import State


def add_customer(shop: Shop) -> str:
    """Create a customer with a card; give its id."""
    world, rng = shop.world, shop.rng
    name = f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}"
    email = f"{name.split()[0].lower()}.{rng.randrange(10**6)}@example.com"
    zip_code = f"{rng.randrange(10_000, 99_999)}"
    brand, last4 = rng.choice(CARDS)
    card = [brand, last4, rng.randrange(1, 13), rng.randrange(2027, 2033), world.new_id("", 16)]
    customer = world.add(
        "customer",
        "customer.created",
        object_id=world.new_id("cus", 16),
        address={"city": "Springfield", "country": "US", "line1": f"{rng.randrange(1, 999)} Main St", "line2": None,
                 "postal_code": zip_code, "state": "OR"},
        balance=0,
        currency=None,
        delinquent=False,
        email=email,
        invoice_prefix=world.new_id("", 8).upper(),
        invoice_settings={"custom_fields": None, "default_payment_method": None, "footer": None,
                          "rendering_options": None},
        metadata={"source": rng.choice(("ad", "friend", "search"))},
        name=name,
        next_invoice_sequence=1,
        preferred_locales=["en-US"],
        tax_exempt="none",
    )  # fmt: skip
    method = _attach_card(shop, customer, card, email=email, name=name, zip_code=zip_code)
    _default_to(shop, customer, method, card)
    return customer


def _attach_card(shop: Shop, customer: str, card: list[object], **details: str) -> str:
    world = shop.world
    method = world.add(
        "payment_method",
        allow_redisplay="unspecified",
        customer=None,
        metadata={},
        _card=card,
        _email=details["email"],
        _name=details["name"],
        _zip=details["zip_code"],
    )
    intent = world.add(
        "setup_intent", "setup_intent.created", customer=customer, payment_method=method, metadata={},
        payment_method_types=["card"], status="requires_confirmation",
    )  # fmt: skip
    attempt = world.add(
        "setup_attempt",
        customer=customer,
        payment_method=method,
        setup_intent=intent,
        payment_method_details={"card": {"brand": card[0], "last4": card[1]}, "type": "card"},
    )
    world.change("payment_method", method, "payment_method.attached", customer=customer)
    world.change("setup_intent", intent, "setup_intent.succeeded", status="succeeded", latest_attempt=attempt)
    return method


def _default_to(shop: Shop, customer: str, method: str, card: list[object]) -> None:
    settings = {**shop.world.get("customer", customer)["invoice_settings"], "default_payment_method": method}
    shop.world.change("customer", customer, "customer.updated", invoice_settings=settings, _method=method, _card=card)


def sign_up(shop: Shop) -> None:
    """Create a customer who subscribes and pays."""
    subscribe(shop, add_customer(shop), many_items=shop.chance(0.02))


def subscribe(shop: Shop, customer_id: str, *, many_items: bool = False) -> None:
    """Start a subscription of one item or two, or of more than a parent carries inline."""
    world, rng = shop.world, shop.rng
    subscription = world.new_id("sub")
    count = rng.randrange(11, 15) if many_items else rng.choice((1, 1, 1, 2))
    offers = [rng.choice(shop.offers) for _ in range(count)]
    items = [billing.add_item(shop, subscription, offer, rng.choice((1, 1, 1, 3, 10))) for offer in offers]
    world.add(
        "subscription",
        "customer.subscription.created",
        object_id=subscription,
        billing_cycle_anchor=world.second,
        billing_mode={"flexible": {"proration_discounts": "included"}, "type": "flexible"},
        cancel_at_period_end=False,
        cancellation_details={"comment": None, "feedback": None, "reason": None},
        customer=customer_id,
        default_payment_method=world.get("customer", customer_id)["_method"],
        default_tax_rates=[],
        metadata={"plan": offers[0].name},
        payment_settings={"payment_method_options": None, "payment_method_types": None,
                          "save_default_payment_method": "off"},
        start_date=world.second,
        status="incomplete",
        trial_settings={"end_behavior": {"missing_payment_method": "create_invoice"}},
        _children=items,
        _price=offers[0].price,
    )  # fmt: skip
    billing.bill_period(shop, subscription, reason="subscription_create")
    world.change("subscription", subscription, "customer.subscription.updated", status="active")
    _count_invoice(shop, customer_id)
    shop.subscriptions.append(subscription)


def _count_invoice(shop: Shop, customer_id: str) -> None:
    customer = shop.world.get("customer", customer_id)
    shop.world.change(
        "customer", customer_id, "customer.updated",
        currency="usd", next_invoice_sequence=customer["next_invoice_sequence"] + 1,
    )  # fmt: skip


def next_subscription(shop: Shop) -> State | None:
    """Take the subscription that waited longest for its renewal, or None."""
    while shop.subscriptions:
        state = shop.world.store.find("subscription", shop.subscriptions.popleft())
        if state is not None and state["status"] == "active":
            return state
    return None


def renew(shop: Shop, *, succeeds: bool = True) -> None:
    """Begin a subscription's next period: about ten events in one second."""
    subscription = next_subscription(shop)
    if subscription is None:
        return sign_up(shop)
    world, subscription_id = shop.world, subscription["id"]
    period = {"current_period_start": world.second, "current_period_end": world.second + MONTH}
    items = [{**item, **period} for item in subscription["_children"]]
    world.change(
        "subscription", subscription_id, "customer.subscription.updated",
        _children=items, billing_cycle_anchor=world.second,
    )  # fmt: skip
    billing.bill_period(shop, subscription_id, reason="subscription_cycle", succeeds=succeeds)
    if succeeds:
        shop.subscriptions.append(subscription_id)
    else:
        world.change("subscription", subscription_id, "customer.subscription.updated", status="past_due")
        world.change("customer", subscription["customer"], "customer.updated", delinquent=True)
        shop.past_due.append(subscription_id)
    return None


def fail_renewal(shop: Shop) -> None:
    """Begin a period whose payment is declined."""
    renew(shop, succeeds=False)


def recover(shop: Shop) -> None:
    """Collect a past-due subscription's invoice after all, or give up and cancel."""
    subscription_id = shop.take(shop.past_due)
    subscription = subscription_id and shop.world.store.find("subscription", subscription_id)
    if not subscription or subscription["status"] != "past_due":
        return renew(shop)
    if shop.chance(0.25):
        return cancel_subscription(shop, subscription, reason="payment_failed")
    world = shop.world
    customer = world.get("customer", subscription["customer"])
    billing.collect_invoice(shop, customer, subscription["latest_invoice"])
    world.change("subscription", subscription["id"], "customer.subscription.updated", status="active")
    world.change("customer", customer["id"], "customer.updated", delinquent=False)
    shop.subscriptions.append(subscription["id"])
    return None


def renew_many(shop: Shop) -> None:
    """Renew many subscriptions in one second, as on the first of a month."""
    for _ in range(20):
        renew(shop)


def cancel(shop: Shop) -> None:
    """Cancel some subscription now, or tell that it will not renew."""
    subscription = next_subscription(shop)
    if subscription is None:
        return sign_up(shop)
    if shop.chance(0.3):
        end = subscription["_children"][0]["current_period_end"]
        shop.world.change(
            "subscription", subscription["id"], "customer.subscription.updated",
            cancel_at_period_end=True, cancel_at=end, canceled_at=shop.world.second,
            cancellation_details={"comment": None, "feedback": "too_expensive", "reason": "cancellation_requested"},
        )  # fmt: skip
        return None
    return cancel_subscription(shop, subscription, reason="cancellation_requested")


def cancel_subscription(shop: Shop, subscription: State, *, reason: str) -> None:
    """End a subscription; Stripe calls this event `deleted` although the object lives on."""
    second = shop.world.second
    shop.world.change(
        "subscription", subscription["id"], "customer.subscription.deleted",
        status="canceled", canceled_at=second, ended_at=second,
        cancellation_details={"comment": None, "feedback": None, "reason": reason},
    )  # fmt: skip


def update_customer(shop: Shop) -> None:
    """Change a customer's details, sometimes twice in one second."""
    customer_id = shop.world.pick("customer")
    if customer_id is None:
        return sign_up(shop)
    world, rng = shop.world, shop.rng
    customer = world.get("customer", customer_id)
    address = {**customer["address"], "line1": f"{rng.randrange(1, 999)} Oak Ave"}
    world.change("customer", customer_id, "customer.updated", address=address)
    if shop.chance(0.5):
        metadata = {**customer["metadata"], "seen": str(world.second // DAY), "score": str(rng.randrange(100))}
        world.change("customer", customer_id, "customer.updated", metadata=metadata)
    return None


def delete_customer(shop: Shop) -> None:
    """Delete a customer: subscriptions end and payment methods are detached in the same second."""
    world = shop.world
    customer_id = world.pick("customer")
    if customer_id is None:
        return
    for position in tuple(world.store.tables["subscription"].indexes["customer"].get(customer_id, ())):
        subscription = world.store.tables["subscription"].at(position)
        if subscription and subscription["status"] != "canceled":
            cancel_subscription(shop, subscription, reason="cancellation_requested")
    for position in tuple(world.store.tables["payment_method"].indexes["customer"].get(customer_id, ())):
        method = world.store.tables["payment_method"].ids[position]
        world.change("payment_method", method, "payment_method.detached", customer=None)
    world.remove("customer", customer_id, "customer.deleted")
