"""`expand[]`: ids become objects, and lists that are left out by default are put in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from simulator.errors import bad_parameter
from simulator.render import ON_REQUEST
from simulator.resources import ALL
from simulator.shapes import State
from simulator.world import World

# Lists that only `expand` includes: (object, field) -> (resource, the field that names the parent, address)
_INCLUDABLE = {
    ("charge", "refunds"): ("refund", "charge", "/v1/charges/{id}/refunds"),
    ("customer", "sources"): ("card", "customer", "/v1/customers/{id}/sources"),
    ("customer", "subscriptions"): ("subscription", "customer", "/v1/customers/{id}/subscriptions"),
    ("customer", "tax_ids"): ("tax_id", "customer", "/v1/customers/{id}/tax_ids"),
    ("invoice", "payments"): ("invoice_payment", "invoice", "/v1/invoice_payments?invoice={id}"),
    ("quote", "line_items"): ("item", "parent", "/v1/quotes/{id}/line_items"),
    ("checkout.session", "line_items"): ("item", "parent", "/v1/checkout/sessions/{id}/line_items"),
    ("payment_link", "line_items"): ("item", "parent", "/v1/payment_links/{id}/line_items"),
}
_LIST_SIZE = 10

_RESOURCE_OF_PREFIX = {row.prefix: row.name for row in ALL.values() if row.prefix and row.name != "plan"}

Present = Callable[[str, State], State]


class Expander:
    """Expands objects of one account. `present` renders a state as the request wants it."""

    def __init__(self, world: World, present: Present) -> None:
        self.world = world
        self.present = present

    def expand(self, value: State, paths: Iterable[str]) -> State:
        """Give the object with every path expanded, or raise Stripe's 400; the given one stays as it is."""
        for path in paths:
            value = self._walk(value, path.split("."), path)
        return value

    def _walk(self, value: Any, segments: list[str], path: str) -> Any:
        if isinstance(value, list):
            return [self._walk(one, segments, path) for one in value]
        if not segments:
            return value
        if not isinstance(value, dict):
            return value
        name, rest = segments[0], segments[1:]
        return {**value, name: self._walk(self._open(value, name, path), rest, path)}

    def _open(self, parent: State, name: str, path: str) -> Any:
        kind = parent.get("object", "")
        if (kind, name) in _INCLUDABLE:
            return parent.get(name) or self._include(kind, name, parent["id"])
        if name in ON_REQUEST.get(kind, ()):
            return (self.world.store.find(kind, parent["id"]) or {}).get(name)
        if (kind, name) == ("customer", "tax"):
            return parent.get(name)
        if name not in parent:
            raise bad_parameter(f"This property cannot be expanded ({path}).", "expand")
        value = parent[name]
        if isinstance(value, list):
            return [self._find(one) if isinstance(one, str) else one for one in value]
        if isinstance(value, dict):
            return value
        fields = self.world.shapes.expandable.get(kind)
        if fields is not None and name not in fields:
            raise bad_parameter(f"This property cannot be expanded ({path}).", "expand")
        return self._find(value) if isinstance(value, str) else value

    def _find(self, object_id: str) -> State | str:
        resource = _RESOURCE_OF_PREFIX.get(object_id.rpartition("_")[0])
        state = resource and self.world.store.find(resource, object_id)
        return self.present(resource, state) if resource and state else object_id

    def _include(self, kind: str, name: str, parent_id: str) -> State:
        resource, by, url = _INCLUDABLE[kind, name]
        table = self.world.store.tables[resource]
        positions = table.indexes[by].get(parent_id, [])
        states = [state for i in reversed(positions) if (state := table.at(i)) is not None]
        return {
            "object": "list",
            "data": [self.present(resource, state) for state in states[:_LIST_SIZE]],
            "has_more": len(states) > _LIST_SIZE,
            "url": url.format(id=parent_id),
        }
