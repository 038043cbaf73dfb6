"""One row per Stripe resource; tables, events, permissions, backfills and docs follow from the rows."""

from __future__ import annotations

from shared.catalogue.lookups import (
    ALWAYS_SUBSCRIBED,
    BY_NAME,
    BY_OBJECT,
    CHILDREN,
    DEFAULT_RESOURCES,
    DELETIONS,
    EVENTS_PERMISSION,
    RESOURCES,
    TABLES,
    WEBHOOK_ENDPOINT,
    WEBHOOK_PERMISSION,
    dependents,
    is_deletion,
    permission_of,
    permissions,
    resource_for_event,
    webhook_events,
)
from shared.catalogue.resource import Child, Column, Group, Kind, Permission, Resource, Walk, Within

__all__ = [
    "ALWAYS_SUBSCRIBED",
    "BY_NAME",
    "BY_OBJECT",
    "CHILDREN",
    "DEFAULT_RESOURCES",
    "DELETIONS",
    "EVENTS_PERMISSION",
    "RESOURCES",
    "TABLES",
    "WEBHOOK_ENDPOINT",
    "WEBHOOK_PERMISSION",
    "Child",
    "Column",
    "Group",
    "Kind",
    "Permission",
    "Resource",
    "Walk",
    "Within",
    "dependents",
    "is_deletion",
    "permission_of",
    "permissions",
    "resource_for_event",
    "webhook_events",
]
