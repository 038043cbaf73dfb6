"""What follows from the rows: look-ups, the webhook's event list, the permission checklist."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from shared.catalogue.billing import BILLING_RESOURCES
from shared.catalogue.connect import CONNECT_RESOURCES
from shared.catalogue.core import CORE_RESOURCES
from shared.catalogue.resource import Child, Group, Permission, Resource

RESOURCES: tuple[Resource, ...] = (*CORE_RESOURCES, *BILLING_RESOURCES, *CONNECT_RESOURCES)
DEFAULT_RESOURCES: tuple[Resource, ...] = tuple(row for row in RESOURCES if row.is_default)

BY_NAME: Mapping[str, Resource] = MappingProxyType({row.name: row for row in RESOURCES})
# The own account and a connected account are both an `account`; the first row of an object takes its events.
BY_OBJECT: Mapping[str, Resource] = MappingProxyType({row.object: row for row in reversed(RESOURCES)})

#: Every child with its parent, in the order of `RESOURCES`.
CHILDREN: tuple[tuple[Resource, Child], ...] = tuple(
    (parent, child) for parent in RESOURCES for child in parent.children
)
#: Every table by its name, children's included.
TABLES: Mapping[str, Resource | Child] = MappingProxyType(
    {row.table: row for row in RESOURCES} | {child.table: child for _, child in CHILDREN}
)

#: Subscribed whatever is chosen: they tell of the account that is connected, and of its money.
ALWAYS_SUBSCRIBED: tuple[str, ...] = (
    "account.external_account.created",
    "account.external_account.deleted",
    "account.external_account.updated",
    "account.updated",
    "balance.available",
    "payout.reconciliation_completed",
)

#: Events whose object is a preview without an id.
WITHOUT_ID: frozenset[str] = frozenset({"invoice.upcoming"})

#: What the service needs beside the resources: the event feed for gaps, and its own webhook endpoint.
EVENTS_PERMISSION = Permission(Group.CORE, "rak_event_read", "Events", (), required=True)
WEBHOOK_PERMISSION = Permission(None, "rak_webhook_write", "Webhook Endpoints, Event Destinations", (), required=True)
#: Among a sync's resources and faults: the check of that endpoint.
WEBHOOK_ENDPOINT = "webhook_endpoint"

#: Event types after which an object is gone.
DELETIONS: frozenset[str] = frozenset(event for row in RESOURCES for event in row.deleted_by)


def resource_for_event(event_type: str, object_type: str) -> Resource | None:
    """The resource whose object an event carries, or None if we keep no such object.

    `object_type` is the `object` of the event's `data.object`; it decides, so that an event type which is
    newer than this catalogue still reaches its table.
    """
    if event_type in WITHOUT_ID:
        return None
    return BY_OBJECT.get(object_type)


def is_deletion(event_type: str) -> bool:
    """Whether the event's object no longer exists; a cancelled subscription still does."""
    return event_type in DELETIONS


def dependents(event_type: str) -> tuple[Resource, ...]:
    """Resources that may have changed although the event is about another object."""
    return tuple(row for row in RESOURCES if event_type in row.hinted_by)


def webhook_events(resources: Iterable[Resource]) -> tuple[str, ...]:
    """The event types that a webhook endpoint for `resources` subscribes to, by name and sorted."""
    wanted = set(ALWAYS_SUBSCRIBED)
    for row in resources:
        wanted.update(row.events, row.hinted_by)
    return tuple(sorted(wanted - WITHOUT_ID))


def permissions(resources: Iterable[Resource]) -> tuple[Permission, ...]:
    """The checklist for a restricted key that can sync `resources`: by group, the webhook's row last."""
    by_slug: dict[str, list[Resource]] = {}
    for row in resources:
        by_slug.setdefault(row.read_permission, []).append(row)
    rows = [EVENTS_PERMISSION, *(_permission(slug, needing) for slug, needing in by_slug.items())]
    groups = list(Group)
    rows.sort(key=lambda row: (groups.index(row.group or Group.CORE), row.toggle))
    return (*rows, WEBHOOK_PERMISSION)


def permission_of(name: str) -> Permission:
    """What a key needs for the resource `name` or our webhook endpoint; any other name is that of the event feed."""
    if name == WEBHOOK_ENDPOINT:
        return WEBHOOK_PERMISSION
    row = BY_NAME.get(name)
    return _permission(row.read_permission, [row]) if row else EVENTS_PERMISSION


def _permission(slug: str, needing: list[Resource]) -> Permission:
    return Permission(
        group=needing[0].group,
        slug=slug,
        toggle=needing[0].toggle,
        resources=tuple(row.name for row in needing),
        required=any(row.is_default for row in needing),
        is_certain=any(row.permission_is_certain for row in needing),
    )
