"""Gaps heal: what the feed has and the log lacks is asked for, each object once."""

from __future__ import annotations

from shared.catalogue import BY_NAME
from shared.messages import RecordHeaders
from shared.stripe_api import parse_item
from shared.topics import SNAPSHOTS
from tests.integration.sync_worker.worlds import World


async def test_an_event_that_was_missed_brings_its_object(here: World) -> None:
    await here.control("POST", "scenarios/refund")
    assert await here.fill() > 0
    assert any(identity and identity.startswith("ch_") for identity in here.published_ids())


async def test_what_is_known_costs_one_call(here: World) -> None:
    await here.control("POST", "scenarios/refund")
    await here.fill()
    before = len(await here.calls())
    assert await here.fill() == 0
    assert len(await here.calls()) - before == 1


async def test_many_events_about_an_object_ask_for_it_once(here: World) -> None:
    await here.control("POST", "scenarios/renewal")
    await here.fill()
    asked = [call["path"] for call in await here.calls() if call["path"].startswith("/v1/invoices/")]
    retrieved = [path for path in asked if path.count("/") == 3]
    assert len(retrieved) == len(set(retrieved))


async def test_a_deleted_object_becomes_a_deletion(here: World) -> None:
    await here.control("POST", "scenarios/delete_customer")
    await here.fill()
    deletions = [
        parse_item(record.value).id
        for record in here.producer.records(SNAPSHOTS)
        if RecordHeaders.decode(record.headers).is_deleted
    ]
    assert any(identity and identity.startswith("cus_") for identity in deletions)


async def test_the_mark_advances_to_what_was_read(here: World) -> None:
    assert (await here.connection()).events_complete_to is None
    await here.fill()
    marked = (await here.connection()).events_complete_to
    assert marked is not None
    assert abs(marked - here.simulation.now()) < 15


async def test_an_answer_is_stamped_before_it_was_asked_for(here: World) -> None:
    identity = sorted(here.truth("charge"))[0]
    connection = await here.connection()
    async with here.clients.calling(connection) as api:
        await here.objects.refresh(connection, api, BY_NAME["charge"], identity)
    [record] = here.producer.records(SNAPSHOTS)
    assert RecordHeaders.decode(record.headers).stamp <= here.simulation.now() - 5
