"""How many objects a time range holds, from about ten calls: Stripe tells no counts.

The newest page of each of the largest lists is exact where it is all there is. Else the densest list is probed: a page
that ends at a moment tells how dense the list is there. The next probe goes where least is known, in the middle by age
on a scale of powers, so that a quiet past and a busy hour are told apart. The other lists are taken to follow its
shape. What comes out is a range.
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
from shared.stripe_pages import PAGE_LIMIT, parse_item

FIRST_CALLS = 6  # the newest page of so many lists
MORE_CALLS = 6  # then probes of the densest
WRITTEN_PER_SECOND = 2000.0  # rows; what one writer does beside everything else, see bench/
STRIPE_BEGAN = 1_293_840_000  # 2011-01-01: no object is older
NOISE = 1.25  # factor: a page of a hundred tells a density no closer
CLEAR = 1.2  # factor between most and least below which one number is said
# The lists that are usually the longest, for an account of which nothing is known yet.
USUALLY_LARGE = ("balance_transaction", "charge", "payment_intent", "invoice", "customer", "invoice_payment")


@dataclass(frozen=True, slots=True)
class Range:
    """A part of the past, in Unix seconds; `start` is `None` where it begins with the first object."""

    start: int | None
    end: int


@dataclass(frozen=True, slots=True)
class Span:
    """How many there are: at least, about, at most. All are equal where it is known."""

    least: float
    about: float
    most: float

    def __add__(self, other: Span) -> Span:
        """Add two that hold apart from each other."""
        return Span(self.least + other.least, self.about + other.about, self.most + other.most)

    def times(self, factor: float) -> Span:
        """Return so many times as many."""
        return Span(self.least * factor, self.about * factor, self.most * factor)


NOTHING = Span(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Probe:
    """The newest page of what was created before `end`: `count` objects back to `reach`, and whether more is older."""

    end: int
    reach: int
    count: int
    has_more: bool

    @property
    def density(self) -> float:
        """Objects in a second."""
        return self.count / max(self.end - self.reach, 1)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the past between two probes, or one that a probe has seen."""

    start: int
    end: int
    span: Span


@dataclass(frozen=True, slots=True)
class Sample:
    """What the calls tell."""

    by_resource: Mapping[str, Span | None]  # None where it can't be told
    calls: int


def largest(resources: Sequence[str], known: Mapping[str, int]) -> list[Resource]:
    """Return the lists that are worth a call, largest first: by what was read before, else by experience."""
    usual = {name: len(USUALLY_LARGE) - rank for rank, name in enumerate(USUALLY_LARGE)}
    lists = [BY_NAME[name] for name in resources if BY_NAME[name].has_created_filter]
    ranked = sorted(lists, key=lambda row: (-known.get(row.name, 0), -usual.get(row.name, 0), row.name))
    return ranked[:FIRST_CALLS]


async def sample(api: StripeApi, resources: Sequence[Resource], wanted: Range) -> Sample:
    """Estimate each list; what the key may not read stays unknown. Raises `StripeUnavailableError`."""
    start = wanted.start or STRIPE_BEGAN
    found = await asyncio.gather(*(_probe(api, resource, start, wanted.end) for resource in resources))
    newest = {resource.name: probe for resource, probe in zip(resources, found, strict=True)}
    cut = {name: probe for name, probe in newest.items() if probe and probe.has_more}
    spans = {name: Span(probe.count, probe.count, probe.count) if probe else None for name, probe in newest.items()}
    if cut:
        densest = max(cut, key=lambda name: cut[name].density)
        probes = [cut[densest]]
        for _ in range(MORE_CALLS):
            at = next_probe(probes, start)
            probe = await _probe(api, BY_NAME[densest], start, at) if at else None
            if probe is None:
                break
            probes.append(probe)
        shape = stretches(probes, start)
        spans |= {name: follow(probe, shape, start) for name, probe in cut.items() if name != densest}
        spans[densest] = between(shape, start, wanted.end)
    return Sample(spans, api.calls.made)


async def _probe(api: StripeApi, resource: Resource, start: int, end: int) -> Probe | None:
    parameters = [*resource.walks[0], ("created[gte]", str(start)), ("created[lt]", str(end))]
    try:
        page = await api.list_page(resource.list_path, [*parameters, ("limit", str(PAGE_LIMIT))])
    except StripeRefusedError:
        return None
    created = [at for body in page.objects if (at := parse_item(body).created_at) is not None]
    return Probe(end, min(created, default=start), len(page.objects), has_more=page.has_more and bool(created))


def stretches(probes: Sequence[Probe], start: int) -> list[Stretch]:
    """Return the past from `start` on, the newest first: what the probes have seen, and what lies between them."""
    found: list[Stretch] = []
    ordered = sorted(probes, key=lambda probe: -probe.end)
    for probe, older in zip(ordered, [*ordered[1:], None], strict=True):
        border = older.end if older else start
        reach = max(probe.reach, border) if probe.has_more else border
        share = (probe.end - reach) / max(probe.end - probe.reach, 1) if probe.has_more and reach > probe.reach else 1.0
        seen = probe.count * share
        found.append(Stretch(reach, probe.end, Span(seen, seen, seen)))
        if not probe.has_more:
            break
        if reach > border:
            found.append(Stretch(border, reach, _unseen(probe.density, older, reach - border)))
    return found


def _unseen(newer: float, older: Probe | None, width: int) -> Span:
    """Return how many lie between two probes: as dense as one of them, or anything between."""
    if older is None:  # a list that began with nothing
        return Span(0, width * newer / 2, width * newer * NOISE)
    low, high = sorted((newer, older.density))
    return Span(width * low / NOISE, width * _mean(low, high), width * high * NOISE)


def _mean(low: float, high: float) -> float:
    """Return the mean of what grows from one to the other by the same factor in the same time; from nothing, evenly."""
    if not low:
        return high / 2
    return low if math.isclose(low, high) else (high - low) / math.log(high / low)


def next_probe(probes: Sequence[Probe], start: int) -> int | None:
    """Return the moment at which a probe tells most; `None` when nothing is left to tell."""
    newest = max(probe.end for probe in probes)
    widest = max(stretches(probes, start), key=lambda one: one.span.most - one.span.least)
    if widest.span.most - widest.span.least < 1:
        return None
    age = math.sqrt(max(newest - widest.end, 1) * (newest - widest.start))
    at = newest - round(age)
    return at if widest.start < at < widest.end else (widest.start + widest.end) // 2


def between(shape: Sequence[Stretch], start: int, end: int) -> Span:
    """Return how many there are from `start` up to `end`."""
    total = NOTHING
    for one in shape:
        overlap = min(one.end, end) - max(one.start, start)
        if overlap > 0:
            total += one.span.times(overlap / (one.end - one.start))
    return total


def follow(newest: Probe, shape: Sequence[Stretch], start: int) -> Span:
    """Return how many a list holds of which only the newest page is known, if it has the shape of another one."""
    in_page = between(shape, newest.reach, newest.end).about
    before = between(shape, start, newest.reach)
    return Span(newest.count, newest.count, newest.count) + before.times(newest.count / max(in_page, 1))


def seconds_for(counts: Mapping[str, float], *, livemode: bool, share: float) -> float:
    """Return how long a backfill of so many objects takes inside our share of Stripe's limits, and to be written."""
    pages = {name: math.ceil(count / PAGE_LIMIT) + 1 for name, count in counts.items()}
    by_endpoint = max(pages.values(), default=0) / (ENDPOINT_RATE * share)
    by_account = sum(pages.values()) / ((LIVE_RATE if livemode else TEST_RATE) * share)
    return max(by_endpoint, by_account, sum(counts.values()) / WRITTEN_PER_SECOND)


def in_words(objects: tuple[float, float] | None, seconds: tuple[float, float] | None) -> str:
    """Say the least and the most as people do, rounded; where both are about the same, as one number."""
    if objects is None or seconds is None:
        return "It can't be told how many objects that is: Stripe gives no counts, and a sample did not tell either."
    if not objects[1]:
        return "There is nothing to fetch."
    least, most = _rounded(objects[0]), _rounded(objects[1])
    if most <= least * CLEAR:
        return f"About {_rounded((objects[0] + objects[1]) / 2):,} objects, about {_duration(seconds[1])}."
    short, long = _duration(seconds[0]), _duration(seconds[1])
    took = long if short == long else f"{short} to {long}"
    return f"{least:,} to {most:,} objects, about {took}."


def _rounded(count: float) -> int:
    """Keep two digits."""
    step = int(10 ** max(0, len(str(round(count))) - 2))
    return round(count / step) * step


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(5, round(seconds / 5) * 5)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
