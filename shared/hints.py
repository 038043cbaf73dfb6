"""Which other objects an object names, that may have changed together with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from shared.bounds import is_object_id
from shared.catalogue import RESOURCES, Resource

EACH = "*"
NAMED: tuple[Resource, ...] = tuple(row for row in RESOURCES if row.named_in)


def named_by(resource: Resource) -> tuple[Resource, ...]:
    """Return the resources whose objects stand by their ids in objects of `resource`."""
    return tuple(row for row in NAMED if set(row.hinted_by) & set(resource.events))


def named_ids(row: Resource, body: bytes) -> list[str]:
    """Return the ids of `row`'s objects that the JSON object in `body` names, each once."""
    found = (value for value in _follow(msgspec.json.decode(body), row.named_in) if isinstance(value, str))
    return list(dict.fromkeys(one for one in found if is_object_id(one)))


def _follow(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    if not path:
        yield value
    elif path[0] == EACH and isinstance(value, list):
        for one in value:
            yield from _follow(one, path[1:])
    elif isinstance(value, dict) and path[0] in value:
        yield from _follow(value[path[0]], path[1:])
