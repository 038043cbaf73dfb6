"""The fields of each resource as a tree to be ticked: which exist, and which of them are left out.

`fields.json` holds them as Stripe's own types of the pinned version have them; the test beside it says how it is made
anew. What an account has and the types don't know can still be left out: it is shown as long as it is chosen.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

from services.connection_api.labels import label_of

FIELDS = Path(__file__).with_name("fields.json")
ITEMS = "data"  # where a list of Stripe's has its items: a step of the path, and no field of its own to people

#: The fields of an object by name; `None` has no others inside that can be left out by themselves.
Fields: TypeAlias = Mapping[str, "Fields | None"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field that can be left out, with those inside it."""

    name: str
    path: str
    is_chosen: bool
    below: tuple[Field, ...]

    @property
    def is_open(self) -> bool:
        """Whether it is chosen, or something inside it, so that it has to be seen."""
        return self.is_chosen or any(one.is_open for one in self.below)


@dataclass(frozen=True, slots=True)
class FieldsOf:
    """The fields of one resource; those that are not chosen are there once it is opened."""

    resource: str
    label: str
    chosen: tuple[str, ...]
    others: tuple[str, ...]  # chosen, and unknown to Stripe's types
    fields: tuple[Field, ...] | None


def fields_of(resource: str, chosen: Collection[str], *, is_opened: bool) -> FieldsOf:
    """Return what a form shows of the resource, with the `chosen` paths ticked."""
    fields = tuple(_grow(known_fields()[resource], frozenset(chosen))) if is_opened else None
    known = {one.path for one in _flatten(fields)} if fields else frozenset[str]()
    others = tuple(sorted(set(chosen) - known)) if is_opened else ()
    return FieldsOf(resource, label_of(resource), tuple(sorted(set(chosen))), others, fields)


@cache
def known_fields() -> Mapping[str, Fields]:
    """Return the fields of every resource of the catalogue, without those that are never left out."""
    found: Mapping[str, Fields] = json.loads(FIELDS.read_text(encoding="utf-8"))
    return found


def _grow(fields: Fields, chosen: frozenset[str], before: str = "") -> Iterator[Field]:
    for name, inside in fields.items():
        path, below = f"{before}{name}", inside or {}
        if list(below) == [ITEMS]:
            items = tuple(_grow(below[ITEMS] or {}, chosen, f"{path}.{ITEMS}."))
        else:
            items = tuple(_grow(below, chosen, f"{path}."))
        yield Field(name, path, path in chosen, items)


def _flatten(fields: Collection[Field]) -> Iterator[Field]:
    for one in fields:
        yield one
        yield from _flatten(one.below)
