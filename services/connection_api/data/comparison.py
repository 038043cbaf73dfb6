"""Where an object's row differs from what Stripe has now, field by field: a pure comparison of two JSON objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

LONGEST_VALUE = 200  # characters of a value that are shown
MOST_DIFFERENCES = 50
NOT_THERE = "–"


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that differs, with both values as JSON."""

    field: str
    here: str
    at_stripe: str


def differences(here: Mapping[str, Any], at_stripe: Mapping[str, Any], omitted: Sequence[str]) -> list[Difference]:
    """Return the fields in which the row differs from Stripe's object; fields that are left out count as equal.

    A list counts as one value: Stripe sends it whole. At most `MOST_DIFFERENCES` are returned.
    """
    found = _compare(here, at_stripe, (), frozenset(omitted))
    return [one for one, _ in zip(found, range(MOST_DIFFERENCES), strict=False)]


def _compare(
    here: Mapping[str, Any], there: Mapping[str, Any], path: tuple[str, ...], omitted: frozenset[str]
) -> Iterator[Difference]:
    for name in sorted(here.keys() | there.keys()):
        steps = (*path, name)
        dotted = ".".join(steps)
        old, new = here.get(name, NOT_THERE), there.get(name, NOT_THERE)
        if dotted in omitted or old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _compare(old, new, steps, omitted)
        elif not any(one.startswith(f"{dotted}.") for one in omitted):
            yield Difference(dotted, _shown(old), _shown(new))


def _shown(value: Any) -> str:
    text = NOT_THERE if value == NOT_THERE else msgspec.json.encode(value).decode()
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
