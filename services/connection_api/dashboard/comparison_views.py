"""How a comparison with Stripe is shown: its counts in total and by resource, and what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.connection_api.labels import label_of, rank_of
from services.connection_api.state import State
from shared.catalogue import BY_NAME
from shared.comparisons import DIFFERENCE_FIELDS, KEPT, Comparison, Difference, Waiting
from shared.syncs import Kind, Sync

PAGE_SIZE = 50
MEANINGS: Mapping[str, str] = {
    "different": "differs",
    "missing": "is missing here",
    "extra": "is not at Stripe",
}


@dataclass(frozen=True, slots=True)
class DifferenceView:
    """A row that is not what Stripe has."""

    difference: Difference

    @property
    def label(self) -> str:
        """Its resource, for people."""
        return label_of(self.difference.resource)

    @property
    def meaning(self) -> str:
        """What is wrong with it."""
        return MEANINGS[self.difference.kind]


@dataclass(frozen=True, slots=True)
class ComparisonLine:
    """The counts of one resource at one destination."""

    counts: Comparison

    @property
    def label(self) -> str:
        """The resource, for people."""
        return label_of(self.counts.resource)


@dataclass(frozen=True, slots=True)
class ComparisonView:
    """All of a comparison."""

    lines: Sequence[ComparisonLine]
    differences: Sequence[DifferenceView]
    next_after: int | None  # the id after which the next page begins
    waiting: Sequence[Waiting]
    can_repair: bool
    is_full: bool

    def total(self, name: str) -> int:
        """Return a count over all resources and destinations."""
        return sum(getattr(line.counts, name) for line in self.lines)

    @property
    def wrong(self) -> int:
        """How many rows differ, in whatever way."""
        return sum(self.total(name) for name in DIFFERENCE_FIELDS)

    @property
    def has_many_destinations(self) -> bool:
        """Whether it has to be said where a row lies."""
        return len({line.counts.destination_id for line in self.lines}) > 1

    @property
    def hidden(self) -> Sequence[tuple[str, Sequence[str]]]:
        """What Stripe's lists hide of the resources that were compared, by their labels."""
        names = dict.fromkeys(line.counts.resource for line in self.lines)
        return [(label_of(name), BY_NAME[name].hidden) for name in names if name in BY_NAME and BY_NAME[name].hidden]

    @property
    def unnamed(self) -> int:
        """How many differences are counted and not named."""
        return max(0, self.wrong - KEPT)


async def read_comparison(state: State, sync: Sync, *, after: int = 0) -> ComparisonView | None:
    """Return what a sync has compared; `None` for one of another kind."""
    if sync.kind is not Kind.VERIFY:
        return None
    counts = await state.comparisons.counts(sync.id)
    found = await state.comparisons.differences(sync.id, after=after, limit=PAGE_SIZE + 1)
    page = found[:PAGE_SIZE]
    return ComparisonView(
        lines=[ComparisonLine(one) for one in sorted(counts, key=lambda one: (rank_of(one.resource), one.destination))],
        differences=[DifferenceView(one) for one in page],
        next_after=page[-1].id if len(found) > PAGE_SIZE else None,
        waiting=await state.comparisons.waiting(sync.id),
        can_repair=bool(found) and sync.finished_at is not None,
        is_full=await state.comparisons.is_full(sync.id),
    )
