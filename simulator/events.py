"""Events as they are sent: a snapshot of the object in the version of whoever reads it."""

from __future__ import annotations

from collections.abc import Collection

from simulator.journal import Event
from simulator.render import previous_attributes
from simulator.shapes import State
from simulator.store import unpack
from simulator.versions import render_for_version
from simulator.world import World


def render_event(world: World, event: Event, version: str, *, pending_webhooks: int = 0) -> State:
    """Give an event with its object in an API version."""
    snapshot = unpack(event.data)
    rendered = world.renderer.render(event.resource, snapshot)
    data: State = {"object": render_for_version(event.resource, rendered, snapshot, version)}
    if event.previous is not None:
        data["previous_attributes"] = _previous(world, event, data["object"], version)
    body: State = {
        "id": event.id,
        "object": "event",
        "api_version": version,
        "created": event.created,
        "data": data,
        "livemode": world.renderer.livemode,
        "pending_webhooks": pending_webhooks,
        "request": {"id": event.request_id, "idempotency_key": None},
        "type": event.type,
    }
    if event.account:
        body["account"] = event.account
    return body


def matches_type(event_type: str, wanted: Collection[str]) -> bool:
    """Say whether an event type is among the wanted ones, where `*` stands for anything."""
    return any(
        one == "*" or event_type == one or (one.endswith("*") and event_type.startswith(one[:-1])) for one in wanted
    )


def _previous(world: World, event: Event, current: State, version: str) -> State:
    old = unpack(event.previous or b"\x80")
    rendered = world.renderer.render(event.resource, old)
    before = render_for_version(event.resource, rendered, old, version)
    return previous_attributes(before, current)
