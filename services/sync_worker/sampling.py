"""Which pages a comparison reads when it reads only some: spread over the time from which the account has objects."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from services.sync_worker.planning import Plan
from shared.catalogue import BY_NAME
from shared.db import Pool, Row, database_errors

# The last cursor of a walk that came to the list's end is the oldest object that the list has.
OLDEST = """
SELECT resource, min(cursor_created) AS oldest FROM slices
WHERE connection_id = $1 AND cursor_created IS NOT NULL GROUP BY resource
"""


async def plan_sample(pool: Pool, sync: Row, *, start: int | None, end: int) -> list[Plan]:
    """Return the slices of a sampled comparison; raise `DatabaseUnavailableError`."""
    with database_errors():
        rows = await pool.fetch(OLDEST, sync["connection_id"])
    oldest = {row["resource"]: row["oldest"] for row in rows}
    return list(
        sample(sync["resources"], start=start, end=end, oldest=oldest, pages=sync["sample_pages"], seed=sync["id"])
    )


def sample(
    resources: Iterable[str], *, start: int | None, end: int, oldest: Mapping[str, int], pages: int, seed: str
) -> Iterator[Plan]:
    """Yield `pages` slices of one page for each list that can be cut by date; of others their newest `pages` pages.

    The time from the oldest object on is cut into equal parts. The newest page is always read, and of each other part
    one from a moment that follows from `seed` on: every sample is another one, and each can be repeated.
    """
    for name in resources:
        resource = BY_NAME[name]
        for walk in range(resource.walk_count):
            begin = max((second for second in (start, oldest.get(name)) if second is not None), default=None)
            has_dates = resource.has_created_filter and resource.within_of(walk) is None
            if not has_dates or begin is None or end - begin < pages:
                yield Plan(name, walk, start if has_dates else None, page_limit=pages)
                continue
            chance = random.Random(f"{seed} {name} {walk}")
            edges = [begin + (end - begin) * part // pages for part in range(pages + 1)]
            for number, (first, last) in enumerate(pairwise(edges)):
                until = last if number == pages - 1 else chance.randint(first + 1, last)
                yield Plan(name, walk, start if number == 0 else first, until, page_limit=1)
