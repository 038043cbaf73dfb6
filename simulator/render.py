"""From a stored state to the object that Stripe would send, in the pinned API version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator.derived import DERIVED
from simulator.resources import INLINE
from simulator.shapes import Shapes, State
from simulator.store import Store

INLINE_LIMIT = 10
# Fields that an object has only where they are expanded; no event has them.
# https://docs.stripe.com/expand#includable-properties
ON_REQUEST: dict[str, tuple[str, ...]] = {
    "price": ("tiers", "currency_options"),
    "plan": ("tiers",),
    "coupon": ("applies_to", "currency_options"),
}


class Renderer:
    """Renders one account's objects. `now` gives Unix seconds: some fields change by time alone."""

    def __init__(self, shapes: Shapes, store: Store, now: Callable[[], float], *, livemode: bool) -> None:
        self.templates: dict[str, State] = {
            name: _with_livemode(template, livemode) for name, template in shapes.templates.items()
        }
        self.store = store
        self.now = now
        self.livemode = livemode

    def render(self, resource: str, state: State) -> State:
        """Give an object as a retrieve without `expand` does. Nested values are shared: don't change them."""
        rendered = {**self.templates[resource], **state}
        if resource in INLINE:
            rendered[INLINE[resource].field] = self._inline(resource, state)
        if derive := DERIVED.get(resource):
            derive(rendered, self)
        for key in state:
            if key[0] == "_":
                del rendered[key]
        for field in ON_REQUEST.get(resource, ()):
            rendered.pop(field, None)
        return rendered

    def render_whole(self, resource: str, state: State) -> State:
        """Give an object with every field that Stripe gives only to who asks for it."""
        return self.render(resource, state) | {field: state.get(field) for field in ON_REQUEST.get(resource, ())}

    def find(self, resource: str, object_id: str) -> State | None:
        """Give the rendered object, or None if it is not there."""
        state = self.store.find(resource, object_id)
        return None if state is None else self.render(resource, state)

    def children(self, resource: str, state: State) -> list[State]:
        """Give all the children that a parent carries, however many."""
        child = INLINE[resource].child
        return [self.render(child, entry) for entry in state.get("_children", ())]

    def _inline(self, resource: str, state: State) -> State:
        inline = INLINE[resource]
        children = state.get("_children", ())
        return {
            "object": "list",
            "data": [self.render(inline.child, entry) for entry in children[:INLINE_LIMIT]],
            "has_more": len(children) > INLINE_LIMIT,
            "url": inline.url.format(id=state["id"]),
        }


def previous_attributes(old: State, new: State) -> State:
    """Give what `new` replaced: changed keys of `old`, hashes key by key, lists whole, added keys as null."""
    changed: State = {}
    for key in (*old, *(key for key in new if key not in old)):
        before, after = old.get(key), new.get(key)
        if before == after and (key in old) == (key in new):
            continue
        both_hashes = isinstance(before, dict) and isinstance(after, dict)
        changed[key] = previous_attributes(before, after) if both_hashes else before  # type: ignore[arg-type]
    return changed


def _with_livemode(value: Any, livemode: bool) -> Any:
    if isinstance(value, dict):
        return {k: livemode if k == "livemode" else _with_livemode(v, livemode) for k, v in value.items()}
    return value
