"""Which objects that events hint at are had sooner by one page of their list: pure functions.

What is new at Stripe is told by many events within a few seconds: a page of a list has up to a hundred of its objects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from shared.catalogue import BY_NAME, Resource, resource_for_event
from shared.messages import Event
from shared.stripe_pages import parse_item

LEAST = 3  # objects that are worth a page
REACH = 300  # seconds before the oldest event in which an object was made that is looked for in its list


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a list, by when its objects were created: from `start` to `end`, both inclusive."""

    resource: str
    start: int
    end: int
    ids: frozenset[str]  # what is looked for in it


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page of a span has shown of what was looked for."""

    found: frozenset[str]
    since: int  # from this second on the page has every object of the span


def may_be_spanned(resource: Resource) -> bool:
    """Tell whether a part of the resource's list can be read that has every object of its seconds."""
    return resource.has_created_filter and len(resource.walks) == 1


def find_spans(hints: Iterable[Event], wanted: Collection[tuple[str, str]]) -> list[Span]:
    """Return the spans that are worth a call, among the objects that are `wanted`, each a resource and an id."""
    events = list(hints)
    oldest = min((event.created for event in events), default=0) - REACH
    made: dict[str, dict[str, int]] = defaultdict(dict)
    for event in events:
        resource = resource_for_event(event.type, event.subject.object)
        item = parse_item(event.data.object)
        if resource and item.id and item.created_at and (resource.name, item.id) in wanted:
            made[resource.name][item.id] = item.created_at
    spans = []
    for name, moments in made.items():
        recent = {object_id: moment for object_id, moment in moments.items() if moment >= oldest}
        row = BY_NAME[name]
        if len(recent) >= LEAST and may_be_spanned(row):
            spans.append(Span(name, min(recent.values()), max(recent.values()), frozenset(recent)))
    return spans
