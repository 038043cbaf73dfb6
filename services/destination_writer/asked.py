"""Which suspected differences Stripe is being asked about: the answer may make the row right."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from shared.db import Pool, database_errors

# A question that waits longer is held back, or fails again and again: that is told elsewhere.
SOON = timedelta(minutes=1)

# The newest of a list is asked for all the time where much happens: one reading after the comparison's is enough. An
# answer is there when the writer has passed it.
ASKED = """
SELECT d.id FROM differences d
WHERE d.id = ANY ($1::bigint[])
  AND NOT EXISTS (SELECT FROM resource_faults x WHERE x.connection_id = d.connection_id AND x.resource = d.resource)
  AND (EXISTS (
        SELECT FROM refetches q
        LEFT JOIN list_tails t ON t.connection_id = q.connection_id AND t.resource = q.resource
        WHERE q.connection_id = d.connection_id AND q.resource = d.resource AND q.object_id IN (d.object_id, '*')
          AND q.due_at <= now() + $2::interval AND (q.object_id <> '*' OR coalesce(t.listed_to, 0) < d.stamp))
    OR EXISTS (
        SELECT FROM answers a
        WHERE a.connection_id = d.connection_id AND a.resource = d.resource AND a.object_id IN (d.object_id, '*')
          AND NOT EXISTS (SELECT FROM writer_progress w
                          WHERE (w.cluster_id, w.topic, w.partition) = (a.log_id, a.topic, a.partition)
                            AND w.next_offset > a.last_offset)))
"""


async def asked_about(pool: Pool, ids: Sequence[int]) -> set[int]:
    """Return those of the differences whose object Stripe is being asked for; raises `DatabaseUnavailableError`."""
    with database_errors():
        return {row["id"] for row in await pool.fetch(ASKED, ids, SOON)}
