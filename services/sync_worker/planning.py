"""How a backfill is cut into slices: pure functions.

A slice walks a range of `created` from its newest object back to its oldest. It begins as one per list and is
split while others could help, so that no call is spent on a range that turns out to be empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from shared.catalogue import BY_NAME, WEBHOOK_ENDPOINT, Resource
from shared.sync_progress import STRIPE_BEGAN
from shared.syncs import EVENT_FEED

MOST_PARALLEL = 4  # slices of one list: at 200 ms a call, three fill the endpoint's budget
MOST_OF_FEED = 6  # slices of the event feed: its pages bring questions along
WORTH_SPLITTING = 6  # pages that must lie ahead, by the density seen so far
REACH = 8  # pages that the upper part of the first split is expected to hold at most


@dataclass(frozen=True, slots=True)
class Plan:
    """A slice that is to be fetched. A range of `None` is open at that end."""

    resource: str
    walk: int = 0
    range_start: int | None = None  # Stripe's clock, in seconds; inclusive
    range_end: int | None = None  # exclusive
    object_id: str | None = None  # this object alone
    page_limit: int | None = None  # pages that are read of it


def plan(
    resources: Iterable[str],
    *,
    start: int | None,
    end: int,
    object_id: str | None = None,
    feed_start: int | None = None,
) -> Iterator[Plan]:
    """Yield one slice per list and walk, over what was created from `start` until before `end`; or one per object.

    The event feed is read from `feed_start` to its newest event.
    """
    for name in resources:
        if object_id is not None:
            yield Plan(name, object_id=object_id)
            continue
        if name in (EVENT_FEED, WEBHOOK_ENDPOINT):
            yield Plan(name, range_start=feed_start if name == EVENT_FEED else None)
            continue
        resource = BY_NAME[name]
        for walk in range(resource.walk_count):
            if resource.has_created_filter and resource.within_of(walk) is None:
                yield Plan(name, walk, start, end)
            else:
                yield Plan(name, walk)


def split_at(start: int | None, page_created: Sequence[int], *, now: int) -> int | None:
    """Return where to split what a slice has left, below its last page; `None` when it is not worth a call.

    `page_created` has the creation times of the last page, newest first. The split lies in the middle of the rest,
    but not further below the page than the list has been walked down from `now`, or than `REACH` pages of this
    density: a range that is open to the past is mostly empty. So a list costs a few calls more than it has pages.
    """
    if len(page_created) < 2:
        return None
    newest, oldest = page_created[0], page_created[-1]
    span = max(newest - oldest, 1)
    floor = STRIPE_BEGAN if start is None else start
    if oldest - floor < WORTH_SPLITTING * span:
        return None
    return max((floor + oldest) // 2, oldest - max(REACH * span, now - newest))


def list_parameters(
    resource: str, walk: int, *, start: int | None, end: int | None, cursor: str | None
) -> list[tuple[str, str]]:
    """Return the parameters of the next page of a slice."""
    parameters: list[tuple[str, str]] = []
    if resource != EVENT_FEED:
        parameters = _own_parameters(BY_NAME[resource], walk)
    if start is not None:
        parameters.append(("created[gte]", str(start)))
    if end is not None:
        parameters.append(("created[lt]", str(end)))
    if cursor is not None:
        parameters.append(("starting_after", cursor))
    return parameters


def list_path(resource: str, walk: int) -> str:
    """Return the list that a walk reads: the resource's own, or one of parents."""
    row = BY_NAME[resource]
    within = row.within_of(walk)
    return row.list_path if within is None else within.list_path


def _own_parameters(row: Resource, walk: int) -> list[tuple[str, str]]:
    within = row.within_of(walk)
    if within is not None:
        return [("expand[]", f"data.{within.field}")] if within.field else []
    return [*row.walks[walk], *(("expand[]", f"data.{field}") for field in row.expand)]
