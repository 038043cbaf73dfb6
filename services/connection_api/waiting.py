"""What waits for a destination: how many records, and what is tried again there, with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.connection_api.debt_sentences import MOST_COUNTED
from shared.db import Pool, database_errors
from shared.delays import Delay, delays_of_destination

PARKED = f"""
SELECT d.id, p.parked, p.since, EXISTS (SELECT FROM delays y WHERE y.destination_id = d.id) AS is_delayed
FROM unnest($1::text[]) AS d (id)
CROSS JOIN LATERAL (
    SELECT count(*) AS parked, min(parked_at) AS since FROM (
        SELECT r.parked_at FROM parked_records r WHERE r.destination_id = d.id LIMIT {MOST_COUNTED}) r
) p
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for one destination; of more than a thousand records a thousand are counted."""

    parked: int = 0
    since: datetime | None = None  # when the oldest of them came
    delays: Sequence[Delay] = ()


async def read_waiting(pool: Pool, destination_ids: Sequence[str]) -> dict[str, Waiting]:
    """Return what waits for each destination; raise `DatabaseUnavailableError`."""
    with database_errors():
        rows = await pool.fetch(PARKED, list(destination_ids))
    delays = {row["id"]: await delays_of_destination(pool, row["id"]) for row in rows if row["is_delayed"]}
    return {row["id"]: Waiting(row["parked"], row["since"], tuple(delays.get(row["id"], ()))) for row in rows}
