"""Resources of the permission group Billing: subscriptions, invoices, and what they are made of."""

from __future__ import annotations

from shared.catalogue.resource import Resource

BILLING_RESOURCES: tuple[Resource, ...] = ()
