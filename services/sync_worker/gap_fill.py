"""Compares with Stripe's event feed and makes up for what was missed.

The feed has 30 days, and bodies in the API version of the account at the time of the event. So an event in our
version is published as if Stripe had delivered it; one in another version is a hint, and its object is asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from services.sync_worker.event_feed import EventLog
from services.sync_worker.objects import Objects
from services.sync_worker.publishing import Publisher
from shared.catalogue import BY_NAME, Resource, dependents, resource_for_event
from shared.connections import Connection, ConnectionStore
from shared.kafka import Outgoing
from shared.messages import Event, EventHeaders, parse_event
from shared.stripe_api import API_VERSION, StripeApi
from shared.topics import EVENTS, record_key

OVERLAP = 300  # seconds that are compared again: the feed is eventually consistent (an event may show late)
FEED_DAYS = 30  # https://docs.stripe.com/api/events
PARALLEL = 8  # objects that are asked for at the same time; the budget sets the pace

Offsets = dict[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """An event of the feed, with its bytes."""

    event: Event
    body: bytes


class GapFill:
    """Fills the gap between the feed and the event log."""

    def __init__(
        self,
        log: EventLog,
        connections: ConnectionStore,
        publisher: Publisher,
        objects: Objects,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._connections = connections
        self._publisher = publisher
        self._objects = objects
        self._now = now

    async def fill(self, connection: Connection, api: StripeApi, *, slice_id: int | None = None) -> tuple[Offsets, int]:
        """Publish what the feed has and we have not; return the last offsets, and how many records it was."""
        since = self._since(connection)
        missed, complete_to = await self._missed(connection, api, since)
        ours = [e for e in missed if e.event.api_version == API_VERSION]
        hints = [e.event for e in missed if e.event.api_version != API_VERSION]
        offsets = await self._publisher.send(EVENTS, [_outgoing(connection, e, self._now()) for e in ours])
        asked = await self._ask(connection, api, hints, slice_id)
        await self._log.note(connection.id, [(event, _resource_name(event)) for event in hints], outcome="asked_stripe")
        await self._connections.advance_events(connection.id, complete_to)
        for more in asked:
            offsets = {where: max(offsets.get(where, -1), more.get(where, -1)) for where in {*offsets, *more}}
        return offsets, len(ours) + len(asked)

    def _since(self, connection: Connection) -> int:
        oldest = int(self._now()) - FEED_DAYS * 86_400
        complete_to = connection.events_complete_to or int(connection.created_at.timestamp())
        return max(oldest, complete_to - OVERLAP)

    async def _missed(self, connection: Connection, api: StripeApi, since: int) -> tuple[list[FeedEvent], int]:
        """Return the events that are not in the log, oldest first, and the second up to which the feed was read."""
        missed: list[FeedEvent] = []
        cursor: str | None = None
        complete_to: int | None = None
        while True:
            parameters = [("created[gte]", str(since)), *([("starting_after", cursor)] if cursor else [])]
            page = await api.list_page("/v1/events", parameters)
            complete_to = page.stamp if complete_to is None else complete_to
            events = [FeedEvent(parse_event(body), body) for body in page.objects]
            unknown = {e.id for e in await self._log.unknown(connection.id, [e.event for e in events])}
            missed += [e for e in events if e.event.id in unknown]
            if not page.has_more or not events:
                return list(reversed(missed)), complete_to
            cursor = events[-1].event.id

    async def _ask(
        self, connection: Connection, api: StripeApi, hints: Sequence[Event], slice_id: int | None
    ) -> list[Offsets]:
        """Ask for each object once, however many events hint at it."""
        turns = asyncio.Semaphore(PARALLEL)

        async def ask(resource: str, object_id: str) -> Offsets:
            async with turns:
                return await self._objects.refresh(connection, api, BY_NAME[resource], object_id, slice_id=slice_id)

        async with asyncio.TaskGroup() as tasks:
            asking = [tasks.create_task(ask(*wanted)) for wanted in sorted(_wanted(connection, hints))]
        return [task.result() for task in asking]


def _wanted(connection: Connection, hints: Iterable[Event]) -> set[tuple[str, str]]:
    wanted: set[tuple[str, str]] = set()
    for event in hints:
        resource = resource_for_event(event.type, event.subject.object)
        if resource and (event.subject.id or not resource.has_id):
            wanted.add((resource.name, event.subject.id or ""))
        # What an object names is found in its answer: the feed's own body may have another version's shape.
        wanted |= {(row.name, _hinted_id(row)) for row in dependents(event.type) if not (row.named_in and resource)}
    return {(name, object_id) for name, object_id in wanted if name in connection.resources}


def _hinted_id(row: Resource) -> str:
    return "" if row.is_singleton else "*"


def _resource_name(event: Event) -> str | None:
    resource = resource_for_event(event.type, event.subject.object)
    return resource.name if resource else None


def _outgoing(connection: Connection, feed_event: FeedEvent, now: float) -> Outgoing:
    headers = EventHeaders(connection.id, int(now * 1000))
    key = record_key(connection.id, feed_event.event.subject.id or feed_event.event.id)
    return Outgoing(key, feed_event.body, headers.encode())
