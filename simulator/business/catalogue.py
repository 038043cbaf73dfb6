"""What the shop sells: products, prices with their plans, coupons and promotion codes."""

from __future__ import annotations

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


def open_catalogue(shop: Shop) -> None:
    """Create the offers that customers can take."""
    for rank, name in enumerate(PLANS[1:], start=1):
        product = add_product(shop, name)
        amounts = [900 * 3**rank, 700 * 3**rank]
        prices = [add_price(shop, product, name, amount) for amount in amounts]
        shop.world.change("product", product, "product.updated", default_price=prices[0], updated=shop.world.second)
        shop.offers += [Offer(price, product, amount, name) for price, amount in zip(prices, amounts, strict=True)]
