"""Addresses in the Stripe Dashboard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from shared.catalogue import Resource, permissions

DASHBOARD = "https://dashboard.stripe.com"


def create_key_address(resources: Iterable[Resource], *, livemode: bool) -> str:
    """Return the page that creates a restricted key, with all that `resources` need ticked.

    A permission whose slug is a guess is left out: Stripe's page may not know it.
    """
    slugs = [row.slug for row in permissions(resources) if row.is_certain]
    ticked = "".join(f"&permissions[{number}]={quote(slug)}" for number, slug in enumerate(slugs))
    return f"{DASHBOARD}{'' if livemode else '/test'}/apikeys/create?name=Tillstream{ticked}"


# Pages of single objects; every other object is found by Stripe's search.
OBJECT_PAGES: Mapping[str, str] = {
    "charge": "payments",
    "payment_intent": "payments",
    "customer": "customers",
    "invoice": "invoices",
    "subscription": "subscriptions",
    "payout": "payouts",
    "dispute": "disputes",
    "product": "products",
    "price": "prices",
    "coupon": "coupons",
    "quote": "quotes",
    "setup_intent": "setup_intents",
    "connected_account": "connect/accounts",
}


def object_address(resource: str, object_id: str, *, account_id: str, livemode: bool) -> str:
    """Return the page of an object, as the account to which it belongs sees it."""
    base = f"{DASHBOARD}/{quote(account_id, safe='')}{'' if livemode else '/test'}"
    page = OBJECT_PAGES.get(resource)
    return f"{base}/{page}/{quote(object_id, safe='')}" if page else f"{base}/search?query={quote(object_id, safe='')}"
