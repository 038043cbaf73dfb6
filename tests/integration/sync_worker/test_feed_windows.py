"""A large gap in the feed is filled by several workers at once, page by page, and a crash costs a page of each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from urllib.parse import parse_qsl

import pytest

from services.sync_worker.gap_fill import OVERLAP
from shared.messages import parse_event
from shared.stripe_api import API_VERSION
from shared.syncs import EVENT_FEED, Kind, Status
from shared.topics import EVENTS
from tests.integration.sync_worker.worlds import CONNECTION, World, world

DAY = 86_400


@pytest.fixture
async def busy(database_url: str) -> AsyncIterator[World]:
    """Give a world whose feed has thousands of events, in our version, that were all missed."""
    async with world(database_url, objects=6_000, history_days=29, account_version=API_VERSION) as here:
        await here.connections.advance_events(CONNECTION, int(here.simulation.now()) - 29 * DAY)
        yield here


async def begin(here: World) -> str:
    sync_id = await here.syncs.create(CONNECTION, Kind.GAP_FILL, trigger="test", resources=[EVENT_FEED])
    await here.completion().start_queued()
    return sync_id


async def fetch_together(here: World, *, workers: int = 4) -> None:
    async def work(number: int) -> None:
        backfill = here.backfill(f"worker-{number}")
        while await is_open(here):
            if not await backfill.fetch_one():
                await asyncio.sleep(0.01)

    await asyncio.gather(*(work(number) for number in range(workers)))


async def is_open(here: World) -> bool:
    return bool(await here.pool.fetchval("SELECT EXISTS (SELECT FROM slices WHERE status = 'planned')"))


def published(here: World) -> Counter[str]:
    return Counter(parse_event(record.value).id for record in here.producer.records(EVENTS))


def missed(here: World) -> set[str]:
    """Return the events that the feed lists, which has none of refunds, and none of connected accounts."""
    since = here.simulation.now() - 29 * DAY - OVERLAP
    events = here.simulation.platform.journal.events
    listed = (e for e in events if not e.type.startswith("refund.") and not e.account)
    return {event.id for event in listed if event.created >= since}


async def test_every_missed_event_is_published_once_by_several_windows(busy: World) -> None:
    await begin(busy)
    await fetch_together(busy)
    assert len(missed(busy)) > 2_000
    assert published(busy) == Counter(missed(busy))
    assert await busy.pool.fetchval("SELECT count(*) FROM slices") > 2


async def test_windows_cost_hardly_more_calls_than_there_are_pages(busy: World) -> None:
    await begin(busy)
    await fetch_together(busy)
    pages = -(-len(missed(busy)) // 100)
    assert len(await busy.calls("/v1/events")) <= pages * 1.2 + 4


async def test_the_mark_advances_when_all_windows_are_published_to_when_the_first_was_read(busy: World) -> None:
    before = (await busy.connection()).events_complete_to
    await begin(busy)
    began = busy.simulation.now()
    await busy.pool.execute("UPDATE slices SET lease_until = NULL")
    await busy.backfill().fetch_one()  # the newest window, which leaves older ones behind
    assert await is_open(busy)
    assert (await busy.connection()).events_complete_to == before
    await fetch_together(busy)
    marked = (await busy.connection()).events_complete_to
    assert marked is not None
    assert began - 10 <= marked <= began + 1


async def test_a_worker_that_dies_leaves_a_page_to_read_again_and_nothing_is_missing(busy: World) -> None:
    await begin(busy)
    publish, pages = busy.producer.publish_all, [0]

    async def die_after_five(*what: object) -> object:
        made = await publish(*what)  # type: ignore[arg-type]
        pages[0] += 1
        if pages[0] == 5:
            raise asyncio.CancelledError
        return made

    busy.producer.publish_all = die_after_five  # type: ignore[method-assign, assignment]
    with pytest.raises(asyncio.CancelledError):
        await busy.backfill().fetch_one()
    busy.producer.publish_all = publish  # type: ignore[method-assign]
    await busy.pool.execute("UPDATE slices SET lease_until = NULL")
    await fetch_together(busy)
    counts = published(busy)
    assert set(counts) == missed(busy)
    assert sum(counts.values()) - len(counts) <= 100


async def test_what_is_published_is_never_more_than_a_page(busy: World) -> None:
    sizes: list[int] = []
    publish = busy.producer.publish_all

    async def note(topic: object, records: list[object]) -> object:
        sizes.append(len(records))
        return await publish(topic, records)  # type: ignore[arg-type]

    busy.producer.publish_all = note  # type: ignore[method-assign, assignment]
    await begin(busy)
    await fetch_together(busy)
    assert max(sizes) <= 100


async def test_events_that_come_while_the_windows_are_read_are_found_next_time(busy: World) -> None:
    await begin(busy)
    await busy.backfill().fetch_one()
    await busy.control("POST", "scenarios/update_customer")
    await fetch_together(busy)
    await begin(busy)
    await fetch_together(busy)
    assert set(published(busy)) >= missed(busy)


async def test_a_gap_fill_that_has_published_all_waits_for_the_writers(busy: World) -> None:
    sync_id = await begin(busy)
    await fetch_together(busy)
    await busy.completion().finish_confirmed()
    assert (await busy.syncs.get(sync_id)).status is Status.RUNNING
    await busy.confirm_everything()
    await busy.completion().finish_confirmed()
    sync = await busy.syncs.get(sync_id)
    assert (sync.status, sync.read) == (Status.SUCCEEDED, len(missed(busy)))
    assert sync.stripe_calls == len(await busy.calls("/v1/events"))


async def test_the_feed_is_read_from_the_mark_that_was_known_when_it_was_begun(busy: World) -> None:
    """Also when the mark has moved before a slice runs again, since the broker lost what it had published."""
    since = int(busy.simulation.now()) - 29 * DAY - OVERLAP
    await begin(busy)
    await busy.connections.advance_events(CONNECTION, int(busy.simulation.now()))
    await busy.backfill().fetch_one()
    [first, *_] = await busy.calls("/v1/events")
    assert abs(int(dict(parse_qsl(first["query"]))["created[gte]"]) - since) < 10
