"""What stands in the shop from the first day: rates, settings and reference data."""

from __future__ import annotations

from simulator.business.shop import CURRENCY, DAY, Shop

_COUNTRIES = {"US": "usd", "DE": "eur", "GB": "gbp", "JP": "jpy"}


def furnish(shop: Shop) -> None:
    """Create everything that has no scenario of its own."""
    _add_reference_data(shop)
    _add_rates(shop)
    _add_settings(shop)
    _add_metering(shop)
    _add_files(shop)


def _add_reference_data(shop: Shop) -> None:
    world = shop.world
    for country, currency in _COUNTRIES.items():
        world.add(
            "country_spec", object_id=country, default_currency=currency,
            supported_bank_account_currencies={currency: [country]}, supported_payment_currencies=[currency],
            supported_payment_methods=["card"], supported_transfer_countries=list(_COUNTRIES),
        )  # fmt: skip
        rates = {other: round(0.7 + shop.rng.random(), 5) for other in _COUNTRIES.values() if other != currency}
        world.add("exchange_rate", object_id=currency, rates=rates)
    for code, name in (("txcd_10103001", "Software as a service"), ("txcd_99999999", "Tangible Goods")):
        world.add("tax_code", object_id=code, name=name, description=f"{name}, for business use.")


def _add_rates(shop: Shop) -> None:
    world = shop.world
    for percentage, name in ((19.0, "VAT"), (8.25, "Sales tax")):
        world.add(
            "tax_rate", "tax_rate.created", display_name=name, percentage=percentage, inclusive=name == "VAT",
            country="DE" if name == "VAT" else "US", metadata={},
        )  # fmt: skip
    for amount, name in ((500, "Ground"), (2500, "Express")):
        world.add(
            "shipping_rate", display_name=name, fixed_amount={"amount": amount, "currency": CURRENCY},
            tax_behavior="unspecified",
        )  # fmt: skip


def _add_settings(shop: Shop) -> None:
    world = shop.world
    on = {"available": True, "display_preference": {"overridable": None, "preference": "on", "value": "on"}}
    for name in ("Default", "Mobile"):
        world.add("payment_method_configuration", name=name, is_default=name == "Default", card=on, link=on)
    for domain in ("shop.example.com", "pay.example.com"):
        world.add("payment_method_domain", domain_name=domain)
    world.add("invoice_rendering_template", nickname="Plain", version=1, metadata={})
    world.add("billing_portal.configuration", "billing_portal.configuration.created", updated=world.second)
    owner = {"account": None, "application": None, "customer": None, "customer_account": None, "type": "self"}
    world.add("tax_id", owner=owner, country="DE", type="eu_vat", value="DE123456789")
    for text in ("Too expensive", "Missing a feature"):
        world.add("billing.feedback_option", description=text, status_transitions={})
    if not world.renderer.livemode:
        world.add(
            "test_helpers.test_clock", "test_helpers.test_clock.created", name="Renewals", frozen_time=world.second,
            deletes_after=world.second + 30 * DAY,
        )  # fmt: skip


def _add_metering(shop: Shop) -> None:
    world = shop.world
    meter = world.add(
        "billing.meter", "billing.meter.created", display_name="API calls", event_name="api_calls",
        updated=world.second,
    )  # fmt: skip
    world.add(
        "billing.alert", title="Many API calls", status="active",
        usage_threshold={"filters": [], "gte": 10_000, "meter": meter, "recurrence": "one_time"},
    )  # fmt: skip
    products = list(world.store.tables["product"].ids)
    for name in ("Reports", "Single sign-on", "Priority support"):
        key = name.lower().replace(" ", "-")
        feature = world.add("entitlements.feature", name=name, lookup_key=key)
        shop.features.append((feature, key))
        for product in products:
            rendered = world.renderer.find("entitlements.feature", feature)
            world.add("product_feature", entitlement_feature=rendered, _product=product)
    world.add("product_catalog.trial_offer", active=True, price=shop.offers[0].price)


def _add_files(shop: Shop) -> None:
    world = shop.world
    for number in range(3):
        file = world.add(
            "file", "file.created", filename=f"receipt-{number}.pdf", purpose="dispute_evidence", size=9863 + number,
            type="pdf", url=f"https://files.stripe.com/v1/files/receipt-{number}",
        )  # fmt: skip
        world.add("file_link", file=file, url=f"https://files.stripe.com/links/{number}")
    for name in ("Order", "Subscription"):
        world.add(
            "payment_link", "payment_link.created", metadata={"for": name}, url=f"https://buy.stripe.com/test_{name}"
        )
