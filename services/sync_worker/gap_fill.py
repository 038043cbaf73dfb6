"""Compares with Stripe's event feed and makes up for what was missed.

The feed has 30 days, and bodies in the API version of the account at the time of the event. So an event in our
version is published as if Stripe had delivered it; one in another version is a hint, and its object is asked for:
alone, or together with others that were made at about the same time.
It is read newest first and page by page: what a page has is published before the next one is read.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from services.sync_worker.event_feed import EventLog
from services.sync_worker.hint_spans import Span, find_spans
from services.sync_worker.objects import Objects, iter_pages
from services.sync_worker.publishing import Publisher
from shared.catalogue import BY_NAME, Resource, dependents, resource_for_event
from shared.connections import Connection, ConnectionStore
from shared.errors import (
    KeyInvalidError,
    MessageError,
    ObjectUnreadableError,
    PermissionMissingError,
    ResourceUnavailableError,
    StripeRefusedError,
)
from shared.kafka import Outgoing
from shared.log import get_logger
from shared.messages import Event, EventHeaders, parse_event
from shared.stripe_api import API_VERSION, StripeApi
from shared.stripe_pages import Page
from shared.topics import EVENTS, record_key

OVERLAP = 300  # seconds that are compared again: the feed is eventually consistent (an event may show late)
FEED_DAYS = 30  # https://docs.stripe.com/api/events
EXPIRES_MEANWHILE = 3600  # seconds that reading a long gap may take, while the oldest events expire
PARALLEL = 8  # objects that are asked for at the same time; the budget sets the pace

FEED = "/v1/events"

T = TypeVar("T")
Offsets = dict[tuple[str, int], int]
Asked = set[tuple[str, str]]  # a resource and an id each


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

    async def fill(self, connection: Connection, api: StripeApi) -> int:
        """Publish what the feed has and we have not, from the last complete point on; return how many records it was.

        Raises what `take` raises, and `PermissionMissingError` when the key may not read the feed.
        """
        asked: Asked = set()
        log_id = self._publisher.log_id
        found, read_at = 0, None
        async for page, _ in iter_pages(api, FEED, [("created[gte]", str(self.since(connection)))]):
            read_at = page.stamp if read_at is None else read_at
            found += (await self.take(connection, api, page, asked))[1]
        if read_at is not None:
            await self._connections.advance_events(connection.id, read_at, log_id=log_id)
        return found

    async def take(
        self, connection: Connection, api: StripeApi, page: Page, asked: Asked, *, slice_id: int | None = None
    ) -> tuple[Offsets, int]:
        """Publish what is new on a page; return the last offsets, and how many records it was.

        `asked` are objects that this walk has asked for: what older events hint at is in the answer already. What the
        key may not read becomes questions that wait for the permission.
        """
        await self._publisher.bury_unreadable(connection, page)
        missed = await self._missed(connection, page)
        if missed:
            await self._log.note_missed(connection.id, [e.event for e in missed])
        ours = [e for e in missed if e.event.api_version == API_VERSION]
        hints = [e.event for e in missed if e.event.api_version != API_VERSION]
        offsets = await self._publisher.send(EVENTS, [_outgoing(connection, e, self._now()) for e in ours])
        wanted = _wanted(connection, hints) - asked
        listed, found = await self._list(connection, api, find_spans(hints, wanted), slice_id)
        answers = await self._ask(connection, api, wanted - found, slice_id)
        asked |= wanted
        named = [(event, _resource_name(event)) for event in hints]
        await self._log.note(connection.id, named, outcome="asked_stripe")
        for more in (*listed, *answers):
            offsets = {where: max(offsets.get(where, -1), more.get(where, -1)) for where in {*offsets, *more}}
        return offsets, len(ours) + len(found) + len(answers)

    async def publish_again(self, connection: Connection, api: StripeApi, *, since: int, until: int) -> None:
        """Publish every event of these seconds, also those that the log has; what is in another version is asked for.

        Raises `PermissionMissingError` when the key may not read the feed.
        """
        hints: list[Event] = []
        async for page, _ in iter_pages(api, FEED, [("created[gte]", str(since)), ("created[lte]", str(until))]):
            events = [event for body in page.objects if (event := _readable(body))]
            ours = [_outgoing(connection, e, self._now()) for e in events if e.event.api_version == API_VERSION]
            hints += [e.event for e in events if e.event.api_version != API_VERSION]
            await self._publisher.send(EVENTS, ours)
        wanted: dict[str, list[str]] = defaultdict(list)
        for resource, object_id in sorted(_wanted(connection, hints)):
            wanted[resource].append(object_id)
        for resource, ids in wanted.items():
            await self._objects.ask_later(connection, resource, ids)

    def since(self, connection: Connection) -> int:
        """Return the second from which on the feed has to be compared."""
        return feed_start(connection.events_complete_to, connection.created_at, now=self._now())

    async def _missed(self, connection: Connection, page: Page) -> list[FeedEvent]:
        """Return the events of the page that are not in the log, oldest first."""
        events = [event for body in page.objects if (event := _readable(body))]
        unknown = {e.id for e in await self._log.unknown(connection.id, [e.event for e in events])}
        return [e for e in reversed(events) if e.event.id in unknown]

    async def _list(
        self, connection: Connection, api: StripeApi, spans: Iterable[Span], slice_id: int | None
    ) -> tuple[list[Offsets], Asked]:
        """Read pages of lists; return the last offsets, and which of the objects that are looked for were on them."""
        faulty = {fault.resource for fault in connection.faults}

        async def read(span: Span) -> tuple[Offsets, Asked]:
            try:
                offsets, shown = await self._objects.refresh_span(connection, api, span, slice_id=slice_id)
            except KeyInvalidError:
                raise
            except StripeRefusedError:
                return {}, set()  # each is asked for, and what comes of it is noted there
            return offsets, {(span.resource, object_id) for object_id in shown.found}

        results = await _together(read(span) for span in spans if span.resource not in faulty)
        return [offsets for offsets, _ in results], {one for _, found in results for one in found}

    async def _ask(
        self, connection: Connection, api: StripeApi, wanted: Iterable[tuple[str, str]], slice_id: int | None
    ) -> list[Offsets]:
        """Ask for each object, a resource and an id; what the key may not read is asked for later."""
        turns = asyncio.Semaphore(PARALLEL)
        refused = {fault.resource for fault in connection.faults}
        later: dict[str, list[str]] = defaultdict(list)

        async def ask(resource: str, object_id: str) -> Offsets:
            async with turns:
                if resource not in refused:
                    try:
                        return await self._objects.refresh(
                            connection, api, BY_NAME[resource], object_id, slice_id=slice_id
                        )
                    except PermissionMissingError:
                        refused.add(resource)
                    except (StripeRefusedError, ObjectUnreadableError) as error:
                        if isinstance(error, KeyInvalidError):
                            raise
                        # Asking again would be refused again. An account without the product has nothing to be told.
                        if not isinstance(error, ResourceUnavailableError):
                            await self._publisher.bury_question(connection, BY_NAME[resource], object_id, error)
                        return {}
                later[resource].append(object_id)
                return {}

        answers = await _together(ask(*one) for one in sorted(wanted))
        for resource, ids in later.items():
            await self._objects.ask_later(connection, resource, ids)
        return answers


async def _together(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    try:
        async with asyncio.TaskGroup() as tasks:
            asking = [tasks.create_task(call) for call in calls]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed  # its class says what is to be done
    return [task.result() for task in asking]


def feed_start(complete_to: int | None, connected_at: datetime, *, now: float) -> int:
    """Return the second from which on the feed has to be compared, so far as it reaches."""
    return max(int(now) - FEED_DAYS * 86_400, _known_to(complete_to, connected_at) - OVERLAP)


def is_beyond_feed(complete_to: int | None, connected_at: datetime, *, now: float) -> bool:
    """Tell whether what was missed may be older than all that the feed has, or expire while it is read."""
    return _known_to(complete_to, connected_at) < now - FEED_DAYS * 86_400 + EXPIRES_MEANWHILE


def _known_to(complete_to: int | None, connected_at: datetime) -> int:
    return int(connected_at.timestamp()) if complete_to is None else complete_to


def _readable(body: bytes) -> FeedEvent | None:
    try:
        return FeedEvent(parse_event(body), body)
    except MessageError as error:
        get_logger().warning("event_skipped", reason=error.message)
        return None


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
    headers = EventHeaders(
        connection.id, int(now * 1000), account_id=connection.account_id, livemode=connection.livemode
    )
    key = record_key(connection.id, feed_event.event.subject.id or feed_event.event.id)
    return Outgoing(key, feed_event.body, headers.encode())
