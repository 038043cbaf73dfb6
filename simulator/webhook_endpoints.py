"""Webhook endpoints: where Stripe sends events, which ones, and in which API version."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from simulator import errors
from simulator.events import matches_type
from simulator.listing import select_page
from simulator.parameters import parse_list
from simulator.shapes import State
from simulator.store import Table
from simulator.world import World

Pairs = Sequence[tuple[str, str]]

_CREATE = frozenset({"url", "enabled_events", "api_version", "connect", "description", "metadata"})
_UPDATE = frozenset({"url", "enabled_events", "disabled", "description", "metadata"})


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """One endpoint; its secret is given once, when it is created."""

    id: str
    url: str
    secret: str
    enabled_events: tuple[str, ...]
    api_version: str | None
    created: int
    connect: bool = False
    status: str = "enabled"
    description: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()

    def takes(self, event_type: str, *, connected: bool) -> bool:
        """Say whether events of this type, of a connected account or not, are sent here now."""
        enabled = self.status == "enabled" and self.connect == connected
        return enabled and matches_type(event_type, self.enabled_events)


class WebhookEndpoints:
    """The account's endpoints, at most `cap` of them."""

    def __init__(self, world: World, *, cap: int) -> None:
        self.world = world
        self.cap = cap
        self.by_id: dict[str, WebhookEndpoint] = {}

    def create(self, pairs: Pairs, *, now: float) -> State:
        """Create an endpoint from a request's parameters; the answer alone carries its secret."""
        _refuse_unknown(pairs, _CREATE)
        single = dict(pairs)
        for param in ("url", "enabled_events"):
            if not any(_stem(name) == param for name, _ in pairs):
                raise errors.bad_parameter(f"Missing required param: {param}.", param, "parameter_missing")
        if len(self.by_id) >= self.cap:
            mode = "live" if self.world.renderer.livemode else "test"
            raise errors.ApiError(400, f"You have reached the maximum of {self.cap} {mode} webhook endpoints.")
        version = single.get("api_version") or None
        if version is not None and version not in self.world.shapes.api_versions:
            raise errors.bad_parameter(f"Invalid API version: {version}", "api_version")
        endpoint = WebhookEndpoint(
            id=self.world.new_id("we"),
            url=_url(single["url"]),
            secret=self.world.new_id("whsec", 32),
            enabled_events=self._events(pairs),
            api_version=version,
            created=int(now),
            connect=single.get("connect") == "true",
            description=single.get("description") or None,
            metadata=_metadata(pairs, ()),
        )
        self.by_id[endpoint.id] = endpoint
        return {**self.render(endpoint), "secret": endpoint.secret}

    def update(self, endpoint_id: str, pairs: Pairs) -> State:
        """Change an endpoint; its API version can't be changed."""
        endpoint = self.get(endpoint_id)
        _refuse_unknown(pairs, _UPDATE)
        single = dict(pairs)
        if "url" in single:
            endpoint = replace(endpoint, url=_url(single["url"]))
        if any(_stem(name) == "enabled_events" for name, _ in pairs):
            endpoint = replace(endpoint, enabled_events=self._events(pairs))
        if "disabled" in single:
            endpoint = replace(endpoint, status="disabled" if single["disabled"] == "true" else "enabled")
        if "description" in single:
            endpoint = replace(endpoint, description=single["description"] or None)
        endpoint = replace(endpoint, metadata=_metadata(pairs, endpoint.metadata))
        self.by_id[endpoint_id] = endpoint
        return self.render(endpoint)

    def delete(self, endpoint_id: str) -> State:
        """Remove an endpoint; nothing is sent to it any more."""
        self.get(endpoint_id)
        del self.by_id[endpoint_id]
        return {"id": endpoint_id, "object": "webhook_endpoint", "deleted": True}

    def get(self, endpoint_id: str) -> WebhookEndpoint:
        """Give an endpoint, or raise Stripe's 404."""
        if endpoint_id not in self.by_id:
            raise errors.no_such("webhook_endpoint", endpoint_id)
        return self.by_id[endpoint_id]

    def list_endpoints(self, pairs: Pairs) -> State:
        """Give a page of endpoints, newest first."""
        table = Table(())
        for endpoint in self.by_id.values():
            table.insert(endpoint.id, {"id": endpoint.id}, endpoint.created)
        parameters = parse_list(pairs, table=table, resource="webhook_endpoint", filters=(), created=False)
        page = select_page(table, parameters.query, matches=None)
        data = [self.render(self.by_id[state["id"]]) for state in page.states]
        return {"object": "list", "data": data, "has_more": page.has_more, "url": "/v1/webhook_endpoints"}

    def render(self, endpoint: WebhookEndpoint) -> State:
        """Give an endpoint as Stripe does after its creation: without the secret."""
        return {
            **self.world.renderer.templates["webhook_endpoint"],
            "id": endpoint.id,
            "api_version": endpoint.api_version,
            "created": endpoint.created,
            "description": endpoint.description,
            "enabled_events": list(endpoint.enabled_events),
            "metadata": dict(endpoint.metadata),
            "status": endpoint.status,
            "url": endpoint.url,
        }

    def _events(self, pairs: Pairs) -> tuple[str, ...]:
        events = tuple(dict.fromkeys(value for name, value in pairs if _stem(name) == "enabled_events" and value))
        if not events:
            raise errors.bad_parameter("You must specify at least one event.", "enabled_events")
        for position, event in enumerate(events):
            if event != "*" and event not in self.world.shapes.event_types:
                raise errors.bad_parameter(
                    f"Invalid enabled_events[{position}]: must be a known event type, not {event}",
                    f"enabled_events[{position}]",
                )
        return events


def _url(url: str) -> str:
    if not re.match(r"https?://[^/]+", url):
        raise errors.bad_parameter(f"Invalid URL: {url}", "url", "url_invalid")
    return url


def _metadata(pairs: Iterable[tuple[str, str]], old: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    given = {name[len("metadata[") : -1]: value for name, value in pairs if name.startswith("metadata[")}
    return tuple((key, value) for key, value in {**dict(old), **given}.items() if value)


def _refuse_unknown(pairs: Iterable[tuple[str, str]], known: frozenset[str]) -> None:
    for name, _ in pairs:
        if _stem(name) not in known | {"expand"}:
            raise errors.bad_parameter(f"Received unknown parameter: {_stem(name)}", _stem(name), "parameter_unknown")


def _stem(name: str) -> str:
    return name.partition("[")[0]
