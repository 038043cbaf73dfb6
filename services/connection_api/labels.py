"""How resources are called and ordered wherever people read them."""

from __future__ import annotations

from collections.abc import Mapping

from shared.catalogue import RESOURCES, WEBHOOK_ENDPOINT
from shared.syncs import EVENT_FEED

LABELS = {r.name: r.table.replace("_", " ").capitalize() for r in RESOURCES}
LABELS["invoiceitem"] = "Invoice items"  # one word in Stripe's API, two in its pages
OUR_OWN: Mapping[str, str] = {EVENT_FEED: "Event feed", WEBHOOK_ENDPOINT: "Webhook endpoint"}
RANKS = {r.name: rank for rank, r in enumerate(RESOURCES)}
UNKNOWN_RANK = len(RANKS)


def label_of(resource: str) -> str:
    """Return a resource's name for people."""
    return OUR_OWN.get(resource) or LABELS.get(resource, resource)


def rank_of(resource: str) -> int:
    """Return a resource's place in the catalogue's order; what is not in it comes last."""
    return RANKS.get(resource, UNKNOWN_RANK)
