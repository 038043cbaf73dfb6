"""Fetches slices: a page from Stripe, onto Kafka, then the checkpoint. A crash costs at most one page."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from zlib import crc32

from services.sync_worker.clients import CallsStoppedError, Clients
from services.sync_worker.endpoint_check import EndpointCheck, EndpointRefusedError
from services.sync_worker.faults import Faults
from services.sync_worker.gap_fill import FEED, Asked, GapFill
from services.sync_worker.nested_lists import children_of
from services.sync_worker.objects import Objects
from services.sync_worker.planning import list_parameters, list_path, split_at
from services.sync_worker.publishing import Published, Publisher, Snapshot
from services.sync_worker.retrying import Retrying
from services.sync_worker.slices import Checkpoint, LeaseLostError, Slice, Slices
from shared.catalogue import BY_NAME, WEBHOOK_ENDPOINT, Resource
from shared.connections import Connection, ConnectionStore
from shared.db import Pool
from shared.delays import Work
from shared.errors import (
    ConnectionDisabledError,
    KeyInvalidError,
    NotFoundError,
    ObjectUnreadableError,
    PermissionMissingError,
    ResourceUnavailableError,
    StripeAnswerError,
    StripeNotFoundError,
    StripeRefusedError,
    TerminalError,
    TransientError,
)
from shared.log import get_logger
from shared.messages import Origin
from shared.retries import pause_seconds
from shared.stripe_api import StripeApi
from shared.stripe_pages import Page, PageSize
from shared.syncs import EVENT_FEED

IDLE_INTERVAL = 0.5  # seconds between two looks for work
TURN = 5  # pages of a list that are read before another connection has its turn
FEED_TURN = 20  # of the event feed: what it has asked for would be asked for again
URGENT = (EVENT_FEED, WEBHOOK_ENDPOINT)  # what heals missed webhooks: some fetchers do nothing else
LONGEST_PAUSE = 15.0  # seconds until a slice that failed is tried again
# Another worker goes on with the slice, its connection waits or was removed, or its key has to be renewed first.
LEFT = (LeaseLostError, NotFoundError, KeyInvalidError, CallsStoppedError, ConnectionDisabledError)
NOT_SYNCED = "not_synced"


class Backfill:
    """Claims slices and fetches them to their end."""

    def __init__(
        self,
        pool: Pool,
        slices: Slices,
        connections: ConnectionStore,
        clients: Clients,
        publisher: Publisher,
        objects: Objects,
        gap_fill: GapFill,
        faults: Faults,
        endpoint: EndpointCheck,
    ) -> None:
        self._pool = pool
        self._slices = slices
        self._connections = connections
        self._clients = clients
        self._publisher = publisher
        self._objects = objects
        self._gap_fill = gap_fill
        self._faults = faults
        self._endpoint = endpoint
        self._sizes: dict[tuple[str, str], PageSize] = {}  # connection and resource → its pages
        self._failures: dict[int, int] = {}  # slice → how often it was put off in a row

    async def run(self, wake: asyncio.Event, *, of: Sequence[str] | None = None) -> None:
        """Fetch one slice after the other, for ever, only of the resources `of` if given; `wake` ends a pause early."""
        failures = 0
        while True:
            try:
                busy = await self.fetch_one(of=of)
                failures = 0
            except TransientError as error:  # of the database: what Stripe delays has been put off
                get_logger().warning("slices_delayed", reason=error.message)
                await _wait(wake, pause_seconds(failures, base=0.5, cap=LONGEST_PAUSE))
                failures, busy = failures + 1, True
            if not busy:
                await _wait(wake, IDLE_INTERVAL)

    async def fetch_one(self, *, of: Sequence[str] | None = None) -> bool:
        """Claim a slice and fetch it as far as it goes now; tell whether there was one.

        One that Stripe or Kafka delays is put off, with the delay noted, so that nobody waits for it.
        """
        held = await self._slices.claim(of=of)
        if held is None:
            return False
        retrying = self._retrying(held)
        async with self._slices.held(held):
            try:
                connection = await self._connections.get(held.connection_id)
                await self._fetch_unless_refused(held, connection, retrying)
                self._failures.pop(held.id, None)
            except LEFT as error:
                get_logger().info("slice_left", slice=held.id, reason=type(error).__name__)
            except TerminalError as error:
                await self._slices.fail(held, code=error.code, cause=error.message)
            except TransientError as error:
                await self._put_off(held, retrying, error)
        return True

    def _retrying(self, held: Slice) -> Retrying:
        owner, is_delayed = held.connection_id, held.is_delayed
        return Retrying(
            self._pool, Work.SLICE, str(held.id), connection_id=owner, sync_id=held.sync_id, is_delayed=is_delayed
        )

    async def _put_off(self, held: Slice, retrying: Retrying, error: TransientError) -> None:
        failures = self._failures.get(held.id, 0)
        pause = pause_seconds(failures, base=0.5, cap=LONGEST_PAUSE, at_least=error.retry_after_seconds)
        get_logger().warning("slice_delayed", slice=held.id, reason=error.message, pause_seconds=round(pause, 1))
        self._failures[held.id] = failures + 1
        await retrying.failed(error, pause)
        await self._slices.postpone(held, pause)

    async def _fetch_unless_refused(self, held: Slice, connection: Connection, retrying: Retrying) -> None:
        if held.resource not in (*URGENT, *connection.resources):
            await self._slices.fail(held, code=NOT_SYNCED, cause="This is not synced any more.")
            return
        try:
            async with self._clients.calling(connection, on_failure=retrying.call_failed) as api:
                await self._fetch(held, connection, api, retrying)
        except (PermissionMissingError, EndpointRefusedError) as error:
            await self._faults.note(connection, held.resource, error)  # the slice waits
        except (KeyInvalidError, ResourceUnavailableError):
            raise
        except StripeRefusedError as error:
            if held.object_id is not None:
                raise  # that object alone
            await self._faults.note(connection, held.resource, error)

    async def _fetch(self, held: Slice, connection: Connection, api: StripeApi, retrying: Retrying) -> None:
        if held.resource == EVENT_FEED:
            await self._fetch_feed(held, connection, api, retrying)
        elif held.resource == WEBHOOK_ENDPOINT:
            await self._endpoint.check(connection, api)
            done = Checkpoint(None, None, 0, {}, True, api.calls.made, api.calls.rate_limited)
            await self._slices.checkpoint(held, done)
        elif held.object_id is not None:
            await self._fetch_object(held, held.object_id, connection, api)
        elif BY_NAME[held.resource].is_singleton:
            await self._fetch_singleton(held, connection, api)
        else:
            await self._fetch_list(held, connection, api, retrying)

    async def _fetch_object(self, held: Slice, object_id: str, connection: Connection, api: StripeApi) -> None:
        resource, failed = BY_NAME[held.resource], 0
        try:
            if held.compares:
                asked = await self._objects.ask(api, resource, object_id)
                snapshots = [replace(asked, is_compared=True)] if asked else []
                offsets = await self._publisher.publish(connection, snapshots, slice_id=held.id)
            else:
                offsets = await self._objects.refresh(connection, api, resource, object_id, slice_id=held.id)
        except ObjectUnreadableError as error:
            await self._publisher.bury_question(connection, resource, object_id, error)
            offsets, failed = {}, 1
        records = 1 if offsets or failed else 0  # what comes along with it is not what was asked for
        cost = (api.calls.made, api.calls.rate_limited)
        await self._slices.checkpoint(held, Checkpoint(None, None, records, offsets, True, *cost, failed=failed))

    async def _fetch_singleton(self, held: Slice, connection: Connection, api: StripeApi) -> None:
        resource, failed = BY_NAME[held.resource], 0
        try:
            fetched = await api.retrieve(resource.retrieve_path)
            snapshot = Snapshot(resource, fetched.body, fetched.stamp, Origin.LISTED, is_compared=held.compares)
            offsets = await self._publisher.publish(connection, [snapshot], slice_id=held.id)
        except ObjectUnreadableError as error:
            await self._publisher.bury_question(connection, resource, connection.account_id, error)
            offsets, failed = {}, 1
        cost = (api.calls.made, api.calls.rate_limited)
        await self._slices.checkpoint(held, Checkpoint(None, None, 1, offsets, True, *cost, failed=failed))

    async def _fetch_feed(self, held: Slice, connection: Connection, api: StripeApi, retrying: Retrying) -> None:
        asked: Asked = set()

        async def take(page: Page) -> Published:
            offsets, records = await self._gap_fill.take(connection, api, page, asked, slice_id=held.id)
            return Published(offsets, records + len(page.unreadable), len(page.unreadable))

        start = self._gap_fill.since(connection) if held.range_start is None else held.range_start
        await self._walk(held, api, FEED, start, take, retrying)
        read_at = await self._slices.feed_read_at(held.sync_id)
        if read_at is not None:
            await self._connections.advance_events(connection.id, read_at, log_id=held.log_id)

    async def _fetch_list(self, held: Slice, connection: Connection, api: StripeApi, retrying: Retrying) -> None:
        resource = BY_NAME[held.resource]
        within = resource.within_of(held.walk)
        # Once for each list that is compared: of its newest part, on the first page that has objects.
        is_to_be_read_alone = held.compares and within is None and held.cursor is None and _is_newest(held)

        async def take(page: Page) -> Published:
            nonlocal is_to_be_read_alone
            shown = page if within is None else await children_of(api, within, page)
            if is_to_be_read_alone and shown.objects:
                shown = await self._with_one_retrieved(api, resource, shown, crc32(held.sync_id.encode()))
                is_to_be_read_alone = False
            return await self._publisher.publish_page(
                connection, resource, shown, slice_id=held.id, is_compared=held.compares
            )

        await self._walk(held, api, list_path(held.resource, held.walk), held.range_start, take, retrying)

    async def _with_one_retrieved(self, api: StripeApi, resource: Resource, page: Page, chance: int) -> Page:
        """Return the page with one object as it is when it is read alone: a list may show less of it.

        One that can't be read alone stays as it is listed.
        """
        number = chance % len(page.objects)
        object_id = page.items[number].id
        try:
            asked = await self._objects.ask(api, resource, object_id) if object_id else None
        except ObjectUnreadableError as error:
            get_logger().warning("object_unreadable", resource=resource.name, object=object_id, reason=error.message)
            return page
        if asked is None or asked.is_deleted:
            return page
        return replace(page, objects=(*page.objects[:number], asked.body, *page.objects[number + 1 :]))

    async def _walk(
        self,
        held: Slice,
        api: StripeApi,
        path: str,
        start: int | None,
        take: Callable[[Page], Awaitable[Published]],
        retrying: Retrying,
    ) -> None:
        """Read a list from its cursor on, newest first; each page is taken, then checkpointed."""
        end, cursor, cursor_created = None if held.is_newest else held.range_end, held.cursor, held.cursor_created
        size = self._sizes.setdefault((held.connection_id, held.resource), PageSize())
        is_last, pages = False, held.pages
        turn = held.pages + (FEED_TURN if held.resource == EVENT_FEED else TURN)
        while not is_last and pages < turn:  # then the slice is given back: another connection may wait
            made, limited = api.calls.made, api.calls.rate_limited
            parameters = list_parameters(held.resource, held.walk, start=start, end=end, cursor=cursor)
            try:
                page = await api.list_page(path, parameters, size=size)
            except StripeNotFoundError:
                if cursor is None:
                    raise
                # The cursor's object was deleted: go on from its second, or from the list's beginning.
                cursor, end = None, cursor_created + 1 if cursor_created and _has_dates(held) else end
                continue
            taken = await take(page)
            created = [second for item in page.items if (second := item.created_at) is not None]
            split = await self._find_split(held, page, start, created)
            pages += 1
            is_last = not page.has_more or pages == held.page_limit
            cursor, cursor_created = _behind(page, cursor_created) if page.has_more else (cursor, cursor_created)
            cost = (api.calls.made - made, api.calls.rate_limited - limited)
            done = Checkpoint(
                *(cursor, cursor_created, taken.records, taken.offsets, is_last, *cost, split, page.stamp),
                failed=taken.failed,
            )
            await self._slices.checkpoint(held, done)
            await retrying.went_on()
            start = split if split is not None else start

    async def _find_split(self, held: Slice, page: Page, start: int | None, created: list[int]) -> int | None:
        # A split costs about a page, and nobody waits for a comparison.
        if not page.has_more or not _has_dates(held) or held.compares:
            return None
        split = split_at(start, created, now=page.stamp)
        return split if split is not None and await self._slices.may_split(held) else None


def _behind(page: Page, cursor_created: int | None) -> tuple[str, int | None]:
    """Return where the next page begins: the id and the second of the last object."""
    if page.last is None or not page.last.id:
        raise StripeAnswerError(
            "Stripe's list ends with an object that has no id, so its next page can't be asked for."
        )
    return page.last.id, page.last.created_at or cursor_created


def _has_dates(held: Slice) -> bool:
    """Tell whether the list can be cut by date; the feed's end is open, since it is its newest event."""
    return held.range_end is not None or held.resource == EVENT_FEED


def _is_newest(held: Slice) -> bool:
    return held.is_newest or held.range_end is None


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
    event.clear()
