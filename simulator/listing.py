"""Stripe's pagination: which objects are on a page, newest first, and whether there are more."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulator.shapes import State
from simulator.store import Table


@dataclass(frozen=True, slots=True)
class Query:
    """One list request. `created_from` is included and `created_to` is not; both are Unix seconds."""

    limit: int = 10
    starting_after: str | None = None
    ending_before: str | None = None
    created_from: int | None = None
    created_to: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    states: list[State]
    has_more: bool


def select_page(
    table: Table, query: Query, *, matches: Callable[[State], bool] | None, among: Sequence[int] | None = None
) -> Page:
    """Give one page of a table, narrowed to the positions in `among` (ascending) and to what `matches`.

    The cursors of the query must exist in the table.
    """
    positions = range(len(table.ids)) if among is None else among
    low, high = _bounds(table, query)
    first, last = bisect_left(positions, low), bisect_left(positions, high)
    upwards = query.ending_before is not None
    order = range(first, last) if upwards else range(last - 1, first - 1, -1)
    states: list[State] = []
    for i in order:
        state = table.at(positions[i])
        if state is None or (matches is not None and not matches(state)):
            continue
        if len(states) == query.limit:
            return Page(states[::-1] if upwards else states, True)
        states.append(state)
    return Page(states[::-1] if upwards else states, False)


def _bounds(table: Table, query: Query) -> tuple[int, int]:
    low, high = 0, len(table.ids)
    if query.created_from is not None:
        low = bisect_left(table.created, query.created_from)
    if query.created_to is not None:
        high = bisect_left(table.created, query.created_to)
    if query.starting_after is not None:
        high = min(high, table.positions[query.starting_after])
    if query.ending_before is not None:
        low = max(low, table.positions[query.ending_before] + 1)
    return low, max(low, high)
