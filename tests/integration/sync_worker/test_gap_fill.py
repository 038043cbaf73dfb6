"""Gaps heal: what the feed has and the log lacks is asked for, each object once."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl

import pytest
from aiokafka.structs import RecordMetadata
from msgspec import Raw, structs

from services.sync_worker.gap_fill import FEED_DAYS, OVERLAP
from shared.catalogue import BY_NAME
from shared.errors import KafkaUnavailableError
from shared.kafka import Outgoing
from shared.messages import Event, EventData, Origin, RecordHeaders, parse_event
from shared.stripe_api import API_VERSION
from shared.stripe_pages import parse_item
from shared.syncs import EVENT_FEED, Kind, Status
from shared.topics import EVENTS, SNAPSHOTS, Topic
from tests.integration.sync_worker.worlds import World, world


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


async def test_an_event_in_our_version_is_published_as_it_came(database_url: str) -> None:
    async with world(database_url, objects=300, account_version=API_VERSION) as here:
        await here.control("POST", "scenarios/update_customer")
        await here.fill()
        record = here.producer.records(EVENTS)[-1]
        event = parse_event(record.value)
        assert event.type == "customer.updated"
        assert record.key == f"con_1:{event.subject.id}".encode()
        assert here.published_ids() == []


async def test_an_event_in_our_version_is_known_once_a_writer_has_noted_it(database_url: str) -> None:
    async with world(database_url, objects=300, account_version=API_VERSION) as here:
        await here.control("POST", "scenarios/update_customer")
        await here.fill()
        events = [parse_event(record.value) for record in here.producer.records(EVENTS)]
        await here.log.note("con_1", [(event, "customer") for event in events], outcome="applied")
        assert await here.fill() == 0


async def test_an_event_that_can_not_be_asked_about_does_not_hold_up_the_others(here: World) -> None:
    await here.control("POST", "scenarios/update_customer")
    await here.pool.execute("UPDATE connections SET resources = '{}'")
    assert await here.fill() == 0
    assert (await here.connection()).events_complete_to is not None


async def test_the_mark_stays_when_kafka_does_not_take_the_answers(here: World) -> None:
    await here.control("POST", "scenarios/refund")
    here.producer.error = KafkaUnavailableError()
    with pytest.raises(KafkaUnavailableError):
        await here.fill()
    assert (await here.connection()).events_complete_to is None
    here.producer.error = None
    assert await here.fill() > 0


async def test_the_feed_is_read_from_the_mark_with_an_overlap(here: World) -> None:
    marked = int(here.simulation.now()) - 7200
    await here.connections.advance_events("con_1", marked)
    await here.fill()
    [call] = await here.calls("/v1/events")
    assert dict(parse_qsl(call["query"]))["created[gte]"] == str(marked - OVERLAP)


async def test_the_feed_is_not_asked_for_more_than_it_keeps(here: World) -> None:
    await here.connections.advance_events("con_1", 1)
    await here.fill()
    calls = await here.calls("/v1/events")
    since = int(dict(parse_qsl(calls[0]["query"]))["created[gte]"])
    assert abs(since - (here.simulation.now() - FEED_DAYS * 86_400)) < 5


async def test_a_sync_of_the_feed_waits_for_the_writers_like_any_other(here: World) -> None:
    await here.control("POST", "scenarios/refund")
    sync_id = await here.syncs.create("con_1", Kind.GAP_FILL, trigger="test", resources=[EVENT_FEED])
    await here.completion().start_queued()
    await here.fetch_all()
    await here.completion().finish_confirmed()
    assert (await here.syncs.get(sync_id)).status is Status.RUNNING
    await here.confirm_everything()
    await here.completion().finish_confirmed()
    assert (await here.syncs.get(sync_id)).status is Status.SUCCEEDED


async def test_one_answer_that_kafka_does_not_take_is_a_passing_failure(here: World) -> None:
    await here.control("POST", "scenarios/refund")
    publish = here.producer.publish_all

    async def take_only_events(topic: Topic, records: Sequence[Outgoing]) -> list[RecordMetadata]:
        if topic is SNAPSHOTS:
            raise KafkaUnavailableError
        return await publish(topic, records)

    here.producer.publish_all = take_only_events  # type: ignore[method-assign]
    with pytest.raises(KafkaUnavailableError):
        await here.fill()


async def test_objects_that_were_made_together_are_had_by_pages_of_their_lists(here: World) -> None:
    for _ in range(20):
        await here.control("POST", "scenarios/buy")
    began = here.simulation.now()
    await here.fill()
    made = {name: newest(here, name, began - 60) for name in ("charge", "payment_intent")}
    assert all(len(ids) >= 20 for ids in made.values())
    assert set(here.published_ids()) >= made["charge"] | made["payment_intent"]
    alone = [call["path"] for call in await here.calls() if call["path"].startswith(("/v1/charges/", "/v1/payment_i"))]
    assert len([path for path in alone if path.count("/") == 3]) <= 2
    assert len(await here.calls("/v1/charges")) == 1
    # As answers to a question, they are asked for again where a webhook's stamp lies within the margin.
    origins = {parse_item(value).id: headers.origin for headers, value in here.records()}
    assert {origins[identity] for identity in made["charge"]} == {Origin.REFETCHED}


async def test_an_object_that_is_gone_from_its_list_becomes_a_deletion(here: World) -> None:
    for _ in range(5):
        await here.control("POST", "scenarios/sign_up")
    made = newest(here, "customer", here.simulation.now() - 60)
    gone = min(made)
    here.simulation.platform.remove("customer", gone, "customer.deleted")
    await here.fill()
    deleted = {
        parse_item(record.value).id
        for record in here.producer.records(SNAPSHOTS)
        if RecordHeaders.decode(record.headers).is_deleted
    }
    assert gone in deleted
    assert set(here.published_ids()) >= made


async def test_an_event_of_a_test_clock_that_is_ahead_is_logged_as_of_now(here: World) -> None:
    """So that the answer, with the stamp of our call, is known for an answer to it."""
    ahead = Event("evt_1", "customer.updated", 4_000_000_000, EventData(Raw(b'{"id": "cus_1", "object": "customer"}')))
    past = structs.replace(ahead, id="evt_2", created=5)
    await here.log.note("con_1", [(ahead, "customer"), (past, "customer")], outcome="asked_stripe")
    sql = "SELECT created BETWEEN 6 AND extract(epoch FROM now()) FROM event_log ORDER BY event_id"
    rows = await here.pool.fetch(sql)
    assert [row[0] for row in rows] == [True, False]


def newest(here: World, resource: str, since: float) -> set[str]:
    table = here.simulation.platform.store.tables[resource]
    found = {table.ids[at]: table.at(at) for at in range(len(table.ids))}
    return {identity for identity, state in found.items() if state and state["created"] >= since}
