"""Reads the fields of each resource out of Stripe's own types.

python -m tests.unit.connection_api.stripe_fields > services/connection_api/dashboard/choice/fields.json
"""

from __future__ import annotations

import json
import sys
import typing
from typing import Any

from stripe import StripeObject

from services.connection_api.life.choices import NEVER_OMITTED
from shared.catalogue import RESOURCES, Resource
from tests.unit.shared.test_catalogue import CHILD_OBJECTS, stripe_class

DEEPEST = 8  # steps, as many as a path may have
# They tell what an object is. Of a child's object they are kept whatever is chosen; `deleted` says that it is gone.
NO_CHOICE = NEVER_OMITTED | {"deleted"}


def render() -> str:
    """Return the file's text."""
    return json.dumps({row.name: _fields_of(row) for row in RESOURCES}, indent=1) + "\n"


def _fields_of(row: Resource) -> dict[str, Any]:
    fields = _grow(stripe_class(row.object), DEEPEST)
    for child in row.children:
        *way, last = child.path
        place = fields
        for step in way:
            place = place[step] = place[step] or {}
        items: dict[str, Any] = {}
        for name in CHILD_OBJECTS[child.name]:
            items |= _grow(stripe_class(name), DEEPEST - len(child.path) - 1)
        place[last] = {"data": dict(sorted(items.items()))}
    return {name: inside for name, inside in fields.items() if name not in NO_CHOICE}


def _grow(cls: type, depth: int) -> dict[str, Any]:
    """Return the fields of one of Stripe's classes, by name; what can be fetched by itself has none inside."""
    fields = {}
    for name, annotation in sorted(cls.__annotations__.items()):
        if typing.get_origin(annotation) is not typing.ClassVar and not (depth == DEEPEST and name in NO_CHOICE):
            inside = _own_class(cls, annotation) if depth > 1 else None
            fields[name] = (_grow(inside, depth - 1) or None) if inside else None
    return fields


def _own_class(cls: type, annotation: Any) -> type | None:
    """Return the class of what lies inside: one that is written within that of the object, also as a list's item."""
    if isinstance(annotation, type):
        own = cls.__qualname__.partition(".")[0]
        is_own = issubclass(annotation, StripeObject) and annotation.__qualname__.startswith(f"{own}.")
        return annotation if is_own else None
    found = (_own_class(cls, part) for part in typing.get_args(annotation))
    return next((one for one in found if one is not None), None)


if __name__ == "__main__":
    sys.stdout.write(render())
