"""Finds a queued sync that will do what is asked for, so that asking many times reads Stripe once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from shared.db import Connection as Database
from shared.db import Pool, database_errors

# One that has begun is no answer: it may have read before what the person means. One that waits for a later moment
# is none either. A range that begins earlier has all of the wanted one: that of a comparison moves with the clock.
_FIND = """
SELECT id FROM syncs
WHERE connection_id = $1 AND kind = $2 AND status = 'queued' AND started_at IS NULL
  AND coalesce(not_before <= clock_timestamp(), true)
  AND resources @> $3::text[] AND resources <@ $3::text[] AND object_id IS NOT DISTINCT FROM $4
  AND (range_start IS NULL OR range_start <= $5::timestamptz) AND range_end IS NULL
  AND sample_pages IS NOT DISTINCT FROM $6::int
ORDER BY created_at LIMIT 1
"""


async def find_queued(
    db: Database | Pool,
    connection_id: str,
    kind: str,
    *,
    resources: Sequence[str],
    object_id: str | None = None,
    range_start: datetime | None = None,
    sample_pages: int | None = None,
) -> str | None:
    """Return the id of a sync that waits to begin and does the same, if there is one.

    Of several who ask at once, only a caller whose transaction has locked the connection's row can rely on it.
    Raises `DatabaseUnavailableError`.
    """
    with database_errors():
        found = await db.fetchval(_FIND, connection_id, kind, list(resources), object_id, range_start, sample_pages)
    return str(found) if found else None
