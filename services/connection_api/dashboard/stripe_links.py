"""Addresses in the Stripe Dashboard."""

from __future__ import annotations

from collections.abc import Iterable
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
