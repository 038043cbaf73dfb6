"""How many objects a time range holds, from at most ten calls: Stripe tells no counts.

The newest page of each of the largest lists is exact where it is all there is. Else how far it reaches back tells how
dense the list is at the range's end, and a page that ends in the middle tells it there. A range that is open to the
past begins with the first object, which a few questions find to a year.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.budget import ENDPOINT_RATE, LIVE_RATE, TEST_RATE
from shared.catalogue import BY_NAME, Resource
from shared.errors import StripeRefusedError
from shared.stripe_api import StripeApi
from shared.stripe_pages import PAGE_LIMIT, Page, parse_item

FIRST_CALLS = 6  # the newest page of so many lists
MORE_CALLS = 4  # then the middle of the densest, or the beginning of everything
WRITTEN_PER_SECOND = 2000.0  # rows; what one writer does beside everything else, see bench/
STRIPE_BEGAN = 1_293_840_000  # 2011-01-01: no object is older
# The lists that are usually the longest, for an account of which nothing is known yet.
USUALLY_LARGE = ("balance_transaction", "charge", "payment_intent", "invoice", "customer", "invoice_payment")


@dataclass(frozen=True, slots=True)
class Range:
    """A part of the past, in Unix seconds; `start` is `None` where it begins with the first object."""

    start: int | None
    end: int


@dataclass(frozen=True, slots=True)
class Sample:
    """What the calls tell."""

    by_resource: Mapping[str, int | None]  # about so many; None where it can't be told
    calls: int


def largest(resources: Sequence[str], known: Mapping[str, int]) -> list[Resource]:
    """Return the lists that are worth a call, largest first: by what was read before, else by experience."""
    usual = {name: len(USUALLY_LARGE) - rank for rank, name in enumerate(USUALLY_LARGE)}
    lists = [BY_NAME[name] for name in resources if BY_NAME[name].has_created_filter]
    ranked = sorted(lists, key=lambda row: (-known.get(row.name, 0), -usual.get(row.name, 0), row.name))
    return ranked[:FIRST_CALLS]


async def sample(api: StripeApi, resources: Sequence[Resource], wanted: Range) -> Sample:
    """Estimate each list; what the key may not read stays unknown. Raises `StripeUnavailableError`."""
    pages = await asyncio.gather(*(_page(api, resource, wanted.start, wanted.end) for resource in resources))
    newest = {resource.name: page for resource, page in zip(resources, pages, strict=True)}
    counts = {name: None if page is None else len(page.objects) for name, page in newest.items()}
    dense = {name: found for name, page in newest.items() if page and (found := density(page, wanted.end))}
    ranked = [BY_NAME[name] for name in sorted(dense, key=lambda name: -dense[name])]
    if ranked and wanted.start is None:
        begin = await _beginning(api, ranked[0], wanted.end)
        counts |= {name: grown(at_end, wanted.end - begin) for name, at_end in dense.items()}
    elif wanted.start is not None:
        counts |= await _with_middles(api, ranked, Range(wanted.start, wanted.end), dense)
    return Sample(counts, api.calls.made)


async def _with_middles(
    api: StripeApi, ranked: Sequence[Resource], wanted: Range, dense: Mapping[str, float]
) -> dict[str, int | None]:
    """Return the counts of lists of which the newest page is not all, with a second call for the densest."""
    start = wanted.start or STRIPE_BEGAN
    middle, length = (start + wanted.end) // 2, wanted.end - start
    asked = ranked[:MORE_CALLS]
    pages = await asyncio.gather(*(_page(api, resource, start, middle) for resource in asked))
    counts: dict[str, int | None] = {name: round(at_end * length) for name, at_end in dense.items()}
    for resource, page in zip(asked, pages, strict=True):
        if page is not None:
            counts[resource.name] = between(dense[resource.name], page, middle, length)
    return counts


async def _beginning(api: StripeApi, resource: Resource, end: int) -> int:
    """Return a second before which there is nothing, at most about a year too early."""
    low, high = STRIPE_BEGAN, end
    for _ in range(MORE_CALLS):
        middle = (low + high) // 2
        page = await _page(api, resource, None, middle, limit=1)
        low, high = (low, middle) if page and page.objects else (middle, high)
    return low


async def _page(
    api: StripeApi, resource: Resource, start: int | None, end: int, *, limit: int = PAGE_LIMIT
) -> Page | None:
    parameters = [*resource.walks[0], ("created[lt]", str(end)), ("limit", str(limit))]
    if start is not None:
        parameters.append(("created[gte]", str(start)))
    try:
        return await api.list_page(resource.list_path, parameters)
    except StripeRefusedError:
        return None


def density(page: Page, end: int) -> float | None:
    """Return objects per second before `end`, from the newest page there; `None` when the page is all there is."""
    created = [at for body in page.objects if (at := parse_item(body).created_at) is not None]
    return len(created) / max(end - min(created), 1) if page.has_more and created else None


def between(at_end: float, older: Page, middle: int, length: int) -> int:
    """Return about how many a range holds: `older` is the newest page of its older half."""
    at_middle = density(older, middle)
    if at_middle is None:  # the older half is known to the object
        in_older = len(older.objects)
        return in_older + round(length / 2 * (at_end + in_older * 2 / length) / 2)
    return round(length * at_middle)  # of a density that grows evenly the middle is the mean


def grown(at_end: float, length: int) -> int:
    """Return about how many a list holds that began with nothing and grew evenly."""
    return math.ceil(at_end * length / 2)


def seconds_for(counts: Mapping[str, int], *, livemode: bool, share: float) -> float:
    """Return how long a backfill of so many objects takes inside our share of Stripe's limits, and to be written."""
    pages = {name: math.ceil(count / PAGE_LIMIT) + 1 for name, count in counts.items()}
    by_endpoint = max(pages.values(), default=0) / (ENDPOINT_RATE * share)
    by_account = sum(pages.values()) / ((LIVE_RATE if livemode else TEST_RATE) * share)
    return max(by_endpoint, by_account, sum(counts.values()) / WRITTEN_PER_SECOND)


def in_words(objects: int | None, seconds: float | None) -> str:
    """Say it as people do, rounded, since it is an estimate."""
    if objects is None or seconds is None:
        return "It can't be told how many objects that is: Stripe gives no counts, and a sample did not tell either."
    if not objects:
        return "There is nothing to fetch."
    return f"About {_rounded(objects):,} objects, about {_duration(seconds)}."


def _rounded(count: int) -> int:
    """Keep two digits."""
    step = int(10 ** max(0, len(str(count)) - 2))
    return round(count / step) * step


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(5, round(seconds / 5) * 5)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
