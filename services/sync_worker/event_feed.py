"""Which of Stripe's events were missed, as the event log says."""

from __future__ import annotations

from collections.abc import Sequence

from shared.db import Pool, database_errors
from shared.messages import Event
from shared.refusals import prove_refusals

KNOWN = "SELECT event_id FROM event_log WHERE connection_id = $1 AND event_id = ANY ($2::text[])"
# What a test clock dates ahead counts as of now, as it does for the writers.
NOTE = """
INSERT INTO event_log (connection_id, event_id, type, resource, object_id, created, outcome)
SELECT $1, event_id, type, resource, object_id, least(created, floor(extract(epoch FROM now()))::bigint), outcome
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[])
     AS u (event_id, type, resource, object_id, created, outcome)
ON CONFLICT (connection_id, event_id) DO NOTHING
"""


class EventLog:
    """Reads and writes the event log; every method raises `DatabaseUnavailableError`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def unknown(self, connection_id: str, events: Sequence[Event]) -> list[Event]:
        """Return the events that no destination has seen."""
        with database_errors():
            rows = await self._pool.fetch(KNOWN, connection_id, [event.id for event in events])
        known = {row["event_id"] for row in rows}
        return [event for event in events if event.id not in known]

    async def note_missed(self, connection_id: str, events: Sequence[Event]) -> None:
        """Note that no webhook told these events: what was refused meanwhile came from Stripe."""
        await prove_refusals(self._pool, connection_id, max(event.created for event in events))

    async def note(self, connection_id: str, events: Sequence[tuple[Event, str | None]], *, outcome: str) -> None:
        """Note events that were answered by asking Stripe, each with its resource."""
        columns = zip(
            *((e.id, e.type, resource, e.subject.id, e.created, outcome) for e, resource in events), strict=True
        )
        if events:
            with database_errors():
                await self._pool.execute(NOTE, connection_id, *map(list, columns))
