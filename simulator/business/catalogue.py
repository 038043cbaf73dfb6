"""What the shop sells: products, prices with their plans, coupons and promotion codes."""

from __future__ import annotations

from typing import Any

from simulator.business.shop import CURRENCY, PLANS, Offer, Shop


def add_product(shop: Shop, name: str) -> str:
    """Create a product; give its id."""
    world = shop.world
    return world.add(
        "product", "product.created", object_id=world.new_id("prod", 16), name=name, type="service",
        description=f"The {name} plan", updated=world.second, tax_code="txcd_10103001",
    )  # fmt: skip


def add_price(shop: Shop, product: str, name: str, amount: int, *, interval: str = "month") -> str:
    """Create a recurring price and the plan that is its older twin; give their id."""
    world = shop.world
    plan = {
        "billing_scheme": "per_unit", "currency": CURRENCY, "metadata": {}, "nickname": name, "product": product,
    }  # fmt: skip
    price = world.new_id("price")
    world.add(
        "plan", "plan.created", object_id=price, **plan,
        amount=amount, amount_decimal=str(amount), interval=interval, interval_count=1,
    )  # fmt: skip
    world.add(
        "price", "price.created", object_id=price, **plan,
        recurring={"interval": interval, "interval_count": 1, "meter": None, "trial_period_days": None,
                   "usage_type": "licensed"},
        tax_behavior="unspecified", unit_amount=amount, unit_amount_decimal=str(amount),
    )  # fmt: skip
    return price


def add_tiered_price(shop: Shop, product: str) -> str:
    """Create a price that has no amount of its own but one for each tier, and its plan; give their id."""
    world, price = shop.world, shop.world.new_id("price")
    tiers = [_tier(10, 500, None), _tier(None, 300, 100)]
    common = {
        "billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": tiers, "currency": CURRENCY, "metadata": {},
        "nickname": "By seats", "product": product,
    }  # fmt: skip
    world.add("plan", "plan.created", object_id=price, **common, amount=None, interval="month", interval_count=1)
    world.add(
        "price", "price.created", object_id=price, **common, tax_behavior="unspecified", unit_amount=None,
        recurring={"interval": "month", "interval_count": 1, "meter": None, "trial_period_days": None,
                   "usage_type": "licensed"},
        currency_options={"eur": {"tax_behavior": "unspecified", "unit_amount": 450, "unit_amount_decimal": "450"}},
    )  # fmt: skip
    return price


def _tier(up_to: int | None, unit_amount: int, flat_amount: int | None) -> dict[str, Any]:
    return {
        "flat_amount": flat_amount, "flat_amount_decimal": flat_amount and str(flat_amount),
        "unit_amount": unit_amount, "unit_amount_decimal": str(unit_amount), "up_to": up_to,
    }  # fmt: skip


def open_catalogue(shop: Shop) -> None:
    """Create the offers that customers can take."""
    for rank, name in enumerate(PLANS, start=1):
        product = add_product(shop, name)
        amounts = [900 * 3**rank, 700 * 3**rank]
        prices = [add_price(shop, product, name, amount) for amount in amounts]
        shop.world.change("product", product, "product.updated", default_price=prices[0], updated=shop.world.second)
        shop.offers += [Offer(price, product, amount, name) for price, amount in zip(prices, amounts, strict=True)]


def change_catalogue(shop: Shop) -> None:
    """Change one thing that the shop sells or gives."""
    shop.rng.choice(_CHANGES)(shop)


def _update_product(shop: Shop) -> None:
    world = shop.world
    product = shop.rng.choice(shop.offers).product
    text = f"Described anew at {world.second}"
    world.change("product", product, "product.updated", description=text, updated=world.second)


def _add_spare_product(shop: Shop) -> None:
    product = add_product(shop, f"seasonal {shop.world.count}")
    amount = shop.rng.randrange(100, 9000)
    price = (
        add_tiered_price(shop, product) if shop.world.count % 3 == 0 else add_price(shop, product, "seasonal", amount)
    )
    # Nobody subscribes to it, so that its price can change and go without touching anything else.
    shop.spares.append((product, price))


def _change_spare_price(shop: Shop) -> None:
    if not shop.spares:
        return _add_spare_product(shop)
    price = shop.rng.choice(shop.spares)[1]
    active = not shop.world.get("price", price).get("active", True)
    shop.world.change("price", price, "price.updated", active=active)
    shop.world.change("plan", price, "plan.updated", active=active)
    return None


def _delete_spare_product(shop: Shop) -> None:
    if not shop.spares:
        return _add_spare_product(shop)
    product, price = shop.spares.pop(shop.rng.randrange(len(shop.spares)))
    shop.world.remove("price", price, "price.deleted")
    shop.world.remove("plan", price, "plan.deleted")
    shop.world.remove("product", product, "product.deleted")
    return None


def add_coupon(shop: Shop) -> None:
    """Create a coupon whose id the merchant chose, and a code for it."""
    world = shop.world
    percent = shop.rng.randrange(5, 60)
    coupon = world.add(
        "coupon", "coupon.created", object_id=f"SAVE{percent}-{world.count}", duration="once", name=f"{percent} % off",
        percent_off=float(percent), metadata={}, **_limits(shop),
    )  # fmt: skip
    code = world.add(
        "promotion_code", "promotion_code.created", active=True, code=world.new_id("", 8).upper(), metadata={},
        promotion={"coupon": coupon, "type": "coupon"}, _coupon=coupon,
    )  # fmt: skip
    shop.codes.append(code)


def _limits(shop: Shop) -> dict[str, Any]:
    """Let a coupon be good for one product alone, now and then."""
    count = shop.world.count
    return {"applies_to": {"products": [shop.offers[count % len(shop.offers)].product]}} if count % 3 == 0 else {}


def _retire_code(shop: Shop) -> None:
    code = shop.take(shop.codes)
    if code is None:
        return add_coupon(shop)
    shop.world.change("promotion_code", code, "promotion_code.updated", active=False)
    return None


def _update_coupon(shop: Shop) -> None:
    coupon = shop.world.pick("coupon")
    if coupon is not None:
        metadata = {"season": shop.rng.choice(("spring", "autumn")), "at": str(shop.world.second)}
        shop.world.change("coupon", coupon, "coupon.updated", metadata=metadata)


def _delete_coupon(shop: Shop) -> None:
    coupon = shop.world.pick("coupon")
    if coupon is not None:
        shop.world.remove("coupon", coupon, "coupon.deleted")


def _update_rates(shop: Shop) -> None:
    rate = shop.world.pick("tax_rate")
    if rate is not None:
        shop.world.change("tax_rate", rate, "tax_rate.updated", metadata={"reviewed": str(shop.world.second)})


def _update_meter(shop: Shop) -> None:
    meter = shop.world.pick("billing.meter")
    if meter is not None:
        name = f"API calls ({shop.rng.randrange(100)})"
        shop.world.change("billing.meter", meter, "billing.meter.updated", display_name=name, updated=shop.world.second)


_CHANGES = (
    _update_product, _add_spare_product, _change_spare_price, _delete_spare_product, add_coupon, add_coupon,
    _retire_code, _update_coupon, _delete_coupon, _update_rates, _update_meter,
)  # fmt: skip
