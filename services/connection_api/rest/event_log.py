"""Reads the event log: what Stripe sent, and what became of it at each destination."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from services.connection_api.rest.models import EventAnswer, EventDestinationAnswer, EventLifeAnswer, EventPathAnswer
from shared.db import Pool, Row, database_errors
from shared.errors import NotFoundError

EVENTS = """
SELECT connection_id, event_id, type, resource, object_id, created, outcome, received_at, written_at
FROM event_log
WHERE {filters} AND ($1::timestamptz IS NULL OR (written_at, connection_id, event_id) < ($1, $2, $3))
ORDER BY written_at DESC, connection_id DESC, event_id DESC LIMIT $4
"""
# Its indexes begin with the connection: naming all of them lets a search by event or object use one.
ANY_CONNECTION = "connection_id = ANY (ARRAY(SELECT id FROM connections))"
PATHS = f"SELECT * FROM event_log WHERE event_id = $1 AND {ANY_CONNECTION} ORDER BY connection_id"
# A dead letter, or a record that waits, is this event's if it lies at the same place of the topic.
DESTINATIONS = """
SELECT e.connection_id, d.id AS destination_id, d.name AS destination_name, p.destination_id IS NOT NULL AS is_waiting,
       f.code, coalesce(f.reason, p.reason) AS reason, coalesce(f.first_seen_at, p.parked_at) AS since
FROM event_log e
JOIN connection_destinations l ON l.connection_id = e.connection_id
JOIN destinations d ON d.id = l.destination_id
LEFT JOIN LATERAL (
    SELECT code, reason, first_seen_at FROM dead_letters
    WHERE topic = $3 AND partition = e.partition AND record_offset = e.record_offset AND destination_id IN (d.id, '')
      AND connection_id = e.connection_id
    ORDER BY destination_id DESC LIMIT 1
) f ON true
LEFT JOIN parked_records p ON p.destination_id = d.id AND p.connection_id = e.connection_id
    AND p.resource = e.resource AND p.object_id = e.object_id
    AND p.topic = $3 AND p.partition = e.partition AND p.record_offset = e.record_offset
WHERE e.event_id = $1 AND e.connection_id = ANY ($2::text[])
ORDER BY d.name, d.id
"""
FAILED, PARKED = "failed", "parked"  # words of the log


class EventLog:
    """Every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool, *, topic: str) -> None:
        """`topic` is the name of the topic on which events travel."""
        self._pool = pool
        self._topic = topic

    async def list_newest(
        self, filters: Mapping[str, str], *, before: tuple[datetime, str, str] | None, limit: int
    ) -> list[EventAnswer]:
        """Return events, newest first, whose columns equal `filters`; `before` is the last one's place."""
        at, connection_id, event_id = before or (None, None, None)
        clauses = [f"{column} = ${number}" for number, column in enumerate(filters, start=5)]
        if clauses and "connection_id" not in filters:
            clauses.append(ANY_CONNECTION)
        sql = EVENTS.format(filters=" AND ".join(clauses) or "true")
        with database_errors():
            rows = await self._pool.fetch(sql, at, connection_id, event_id, limit, *filters.values())
        return [EventAnswer.model_validate(dict(row)) for row in rows]

    async def life(self, event_id: str) -> EventLifeAnswer:
        """Return the event's way to every destination; raise `NotFoundError` for one that the log does not have."""
        with database_errors():
            paths = await self._pool.fetch(PATHS, event_id)
            connection_ids = [row["connection_id"] for row in paths]
            places = await self._pool.fetch(DESTINATIONS, event_id, connection_ids, self._topic)
        if not paths:
            raise NotFoundError(f"The events of the last 35 days have no {event_id}.")
        return EventLifeAnswer(
            **{name: paths[0][name] for name in ("event_id", "type", "resource", "object_id", "created")},
            paths=tuple(
                self._path(row, [p for p in places if p["connection_id"] == row["connection_id"]]) for row in paths
            ),
        )

    def _path(self, row: Row, everywhere: Iterable[Row]) -> EventPathAnswer:
        places = [place for place in everywhere if place["connection_id"] == row["connection_id"]]
        return EventPathAnswer(
            connection_id=row["connection_id"],
            received_at=row["received_at"],
            topic=self._topic if row["partition"] is not None else None,
            partition=row["partition"],
            offset=row["record_offset"],
            outcome=row["outcome"],
            written_at=row["written_at"],
            destinations=tuple(_destination(place, row["outcome"], is_only=len(places) == 1) for place in places),
        )


def _destination(place: Row, outcome: str, *, is_only: bool) -> EventDestinationAnswer:
    """Say what is known: the log has one word for an event, which is the destination's where there is one alone."""
    known = FAILED if place["code"] else PARKED if place["is_waiting"] else outcome if is_only else None
    return EventDestinationAnswer(
        destination_id=place["destination_id"],
        destination_name=place["destination_name"],
        outcome=known,
        is_waiting=place["is_waiting"],
        code=place["code"],
        reason=place["reason"],
        since=place["since"],
    )
