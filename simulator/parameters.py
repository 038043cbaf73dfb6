"""Query parameters as Stripe takes them; what it does not know it refuses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from simulator.errors import bad_parameter, no_such
from simulator.listing import Query
from simulator.store import Table

_PAGING = frozenset({"limit", "starting_after", "ending_before", "expand"})
_BOUNDS = {"gt": (1, None), "gte": (0, None), "lt": (None, 0), "lte": (None, 1)}
_MAX_EXPAND_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Parameters:
    """A list request: its paging, its filters by name, and the paths to expand."""

    query: Query
    filters: Mapping[str, str]
    expand: tuple[str, ...]


def parse_list(
    pairs: Iterable[tuple[str, str]], *, table: Table | None, resource: str, filters: Iterable[str], created: bool
) -> Parameters:
    """Read a list request's parameters, or raise Stripe's 400. Cursors are looked up in `table`."""
    pairs = list(pairs)
    known = _PAGING | frozenset(filters) | ({"created"} if created else frozenset())
    for name, _ in pairs:
        if _stem(name) not in known:
            raise bad_parameter(f"Received unknown parameter: {_stem(name)}", _stem(name), "parameter_unknown")
    single = {name: value for name, value in pairs if "[" not in name}
    low, high = _created_bounds(pairs)
    after, before = single.get("starting_after"), single.get("ending_before")
    if after and before:
        raise bad_parameter("You can only use one of `starting_after` and `ending_before`.", "ending_before")
    for param, cursor in (("starting_after", after), ("ending_before", before)):
        if cursor and table is not None and table.find(cursor) is None:
            raise no_such(resource, cursor, param=param, status=400)
    wanted = {name: value for name, value in pairs if _stem(name) not in _PAGING and _stem(name) != "created"}
    query = Query(_limit(single.get("limit", "10")), after or None, before or None, low, high)
    return Parameters(query, wanted, parse_expand(pairs))


def parse_expand(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Read `expand[]`, or raise Stripe's 400 if a path is too deep."""
    paths = tuple(value for name, value in pairs if _stem(name) == "expand")
    for path in paths:
        if path.count(".") + 1 - path.startswith("data.") > _MAX_EXPAND_DEPTH:
            raise bad_parameter(
                f"You cannot expand more than {_MAX_EXPAND_DEPTH} levels of a property. Property: {path}", "expand"
            )
    return paths


def _limit(text: str) -> int:
    if not re.fullmatch(r"-?\d+", text):
        raise bad_parameter(f"Invalid integer: {text}", "limit", "parameter_invalid_integer")
    limit = int(text)
    if limit < 1:
        raise bad_parameter("This value must be greater than or equal to 1.", "limit", "parameter_invalid_integer")
    if limit > 100:
        raise bad_parameter("This value must be less than or equal to 100.", "limit", "parameter_invalid_integer")
    return limit


def _created_bounds(pairs: Iterable[tuple[str, str]]) -> tuple[int | None, int | None]:
    low: int | None = None
    high: int | None = None
    for name, text in pairs:
        if _stem(name) != "created":
            continue
        if not text.isdigit():
            raise bad_parameter(f"Invalid integer: {text}", name, "parameter_invalid_integer")
        at_least, below = _created_offsets(name)
        if at_least is not None:
            low = max(int(text) + at_least, low or 0)
        if below is not None:
            high = int(text) + below if high is None else min(high, int(text) + below)
    return low, high


def _created_offsets(name: str) -> tuple[int | None, int | None]:
    if name == "created":
        return 0, 1
    operator = name[len("created[") : -1]
    if operator not in _BOUNDS:
        raise bad_parameter(f"Received unknown parameter: {name}", name, "parameter_unknown")
    return _BOUNDS[operator]


def _stem(name: str) -> str:
    return name.partition("[")[0]
