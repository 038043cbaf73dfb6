"""Reads the event log: what Stripe sent, and what became of it at each destination."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from services.connection_api.rest.event_search import EventSearch
from services.connection_api.rest.models import (
    ChangesAnswer,
    EventAnswer,
    EventDeliveryAnswer,
    EventDestinationAnswer,
    EventLifeAnswer,
    EventPathAnswer,
    EventQuestionAnswer,
    StripeAnswerAnswer,
)
from shared.changes import Changes, unseal
from shared.connections import CALLED
from shared.crypto import KeyRing, SecretUnreadableError
from shared.db import Pool, Row, database_errors
from shared.errors import NotFoundError
from shared.log import get_logger

NAME = f"(SELECT {CALLED.format('c')} FROM connections c WHERE c.id = event_log.connection_id)"
EVENTS = """
SELECT connection_id, event_id, type, resource, object_id, created, outcome, received_at, written_at,
       deliveries, {name} AS connection_name
FROM event_log
WHERE {filters} AND ($1::timestamptz IS NULL OR (written_at, connection_id, event_id) < ($1, $2, $3))
ORDER BY written_at DESC, connection_id DESC, event_id DESC LIMIT $4
"""
# Its indexes begin with the connection: naming all of them lets a search by event or object use one.
ANY_CONNECTION = "connection_id = ANY (ARRAY(SELECT id FROM connections))"
PATHS = f"""
SELECT *, {NAME} AS connection_name FROM event_log WHERE event_id = $1 AND {ANY_CONNECTION} ORDER BY connection_id
"""
# A dead letter, or a record that waits, is this event's if it lies at the same place of the topic.
DESTINATIONS = """
SELECT e.connection_id, d.id AS destination_id, d.name AS destination_name, p.destination_id IS NOT NULL AS is_waiting,
       f.code, coalesce(f.reason, p.reason) AS reason, f.first_seen_at AS failed_at, p.parked_at,
       nullif(p.next_try_at, 'infinity') AS next_try_at,
       e.deliveries -> d.id AS delivery, e.answers -> d.id AS answer
FROM event_log e
JOIN destinations d ON e.deliveries ? d.id OR EXISTS (
    SELECT FROM connection_destinations l WHERE l.connection_id = e.connection_id AND l.destination_id = d.id)
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
QUESTIONS = """
SELECT e.connection_id, r.reason, r.due_at, r.attempts FROM event_log e
JOIN refetches r ON r.connection_id = e.connection_id AND r.resource = e.resource
    AND r.object_id = coalesce(e.object_id, '')
WHERE e.event_id = $1 AND e.connection_id = ANY ($2::text[])
"""
CHANGES = """
SELECT connection_id, event_id, changes FROM event_log
WHERE connection_id = $1 AND event_id = ANY ($2::text[]) AND changes IS NOT NULL
"""
FAILED, PARKED = "failed", "parked"  # words of the log
#: Why nothing else became of an event at a destination, for people; the dashboard and the command line say the same.
REASONS: Mapping[str, str] = {
    "older": "A newer version is there already.",
    "equal": "Already up to date.",
    "tombstone": "The object was deleted later, or in the same second.",
    "tie": "Another version has the same second, so Stripe was asked which one holds.",
    "resource_not_synced": "This resource is not synced.",
    "before_start_date": "The object was made before the start date.",
    "destination_removed": "The connection does not deliver to this destination any more.",
}


class EventLog:
    """Every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool, keys: KeyRing, *, topic: str) -> None:
        """`topic` is the name of the topic on which events travel."""
        self._pool = pool
        self._keys = keys
        self._topic = topic

    async def list_newest(
        self, wanted: EventSearch, *, before: tuple[datetime, str, str] | None, limit: int
    ) -> list[EventAnswer]:
        """Return events, newest first; `before` is the place of the last one of the page before."""
        at, connection_id, event_id = before or (None, None, None)
        conditions, values = wanted.conditions(first=5)
        if conditions and wanted.connection_id is None:
            conditions.append(ANY_CONNECTION)
        sql = EVENTS.format(name=NAME, filters=" AND ".join(conditions) or "true")
        with database_errors():
            rows = await self._pool.fetch(sql, at, connection_id, event_id, limit, *values)
        return [_event(row) for row in rows]

    async def changes(self, connection_id: str, event_ids: Sequence[str]) -> dict[str, Changes]:
        """Return what events of a connection have changed, by their ids; one that changed nothing is missing."""
        with database_errors():
            rows = await self._pool.fetch(CHANGES, connection_id, list(event_ids))
        told = {row["event_id"]: self._unseal(row) for row in rows}
        return {event_id: changes for event_id, changes in told.items() if changes}

    def _unseal(self, row: Row) -> Changes | None:
        """Return what is sealed; `None` where the key is gone, since the event is told without it."""
        if row["changes"] is None:
            return None
        names = {"connection_id": row["connection_id"], "event_id": row["event_id"]}
        try:
            return unseal(self._keys, row["changes"], **names)
        except SecretUnreadableError as error:
            get_logger().warning("changes_unreadable", event_id=row["event_id"], reason=error.message)
            return None

    async def life(self, event_id: str) -> EventLifeAnswer:
        """Return the event's way to every destination; raise `NotFoundError` for one that the log does not have."""
        with database_errors():
            paths = await self._pool.fetch(PATHS, event_id)
            connection_ids = [row["connection_id"] for row in paths]
            places = await self._pool.fetch(DESTINATIONS, event_id, connection_ids, self._topic)
            asked = await self._pool.fetch(QUESTIONS, event_id, connection_ids)
        if not paths:
            raise NotFoundError(f"The events of the last 35 days have no {event_id}.")
        return EventLifeAnswer(
            **{name: paths[0][name] for name in ("event_id", "type", "resource", "object_id", "created")},
            paths=tuple(self._path(row, places, asked) for row in paths),
        )

    def _path(self, row: Row, everywhere: Iterable[Row], asked: Iterable[Row]) -> EventPathAnswer:
        places = [place for place in everywhere if place["connection_id"] == row["connection_id"]]
        questions = (one for one in asked if one["connection_id"] == row["connection_id"])
        return EventPathAnswer(
            connection_id=row["connection_id"],
            connection_name=row["connection_name"],
            received_at=row["received_at"],
            topic=self._topic if row["partition"] is not None else None,
            partition=row["partition"],
            offset=row["record_offset"],
            outcome=row["outcome"],
            written_at=row["written_at"],
            changes=ChangesAnswer.model_validate(changes) if (changes := self._unseal(row)) else None,
            question=next((EventQuestionAnswer.model_validate(dict(one)) for one in questions), None),
            destinations=tuple(_destination(place, row, is_only=len(places) == 1) for place in places),
        )


def _event(row: Row) -> EventAnswer:
    columns = dict(row)
    deliveries = columns.pop("deliveries")
    return EventAnswer(
        **columns,
        destinations=tuple(
            EventDeliveryAnswer(
                destination_id=destination_id,
                outcome=told["outcome"],
                code=told.get("reason"),
                reason=REASONS.get(told.get("reason", "")),
                at=_moment(told["at"]),
            )
            for destination_id, told in sorted(deliveries.items())
        ),
    )


def _destination(place: Row, event: Row, *, is_only: bool) -> EventDestinationAnswer:
    """Say what is known; of an event that no destination was asked to take, its own outcome is that of each."""
    told: Mapping[str, Any] = place["delivery"] or {}
    knows_all = not event["deliveries"] and (is_only or event["outcome"] in ("asked_stripe", "not_synced"))
    known = told.get("outcome") or (event["outcome"] if knows_all else None)
    code = told.get("reason")
    return EventDestinationAnswer(
        destination_id=place["destination_id"],
        destination_name=place["destination_name"],
        outcome=FAILED if place["code"] else PARKED if place["is_waiting"] else known,
        code=place["code"] or code,
        reason=place["reason"] or REASONS.get(code or ""),
        at=place["failed_at"] or (_moment(told["at"]) if told else event["written_at"] if knows_all else None),
        parked_at=place["parked_at"] or (_moment(told["parked_at"]) if "parked_at" in told else None),
        is_waiting=place["is_waiting"],
        next_try_at=place["next_try_at"],
        answer=_answer(place["answer"]),
    )


def _answer(told: Mapping[str, Any] | None) -> StripeAnswerAnswer | None:
    if told is None:
        return None
    return StripeAnswerAnswer(
        outcome=told["outcome"], reason=REASONS.get(told.get("reason", "")), at=_moment(told["at"])
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
