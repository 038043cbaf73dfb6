"""Poison of every kind beside good records, through real topics: the good ones are written, the poison is put aside.

Only what can never be written ends as a dead letter; a destination or a database that is away is waited for.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog

from shared.kafka import MAX_RECORD_BYTES, Outgoing
from shared.messages import EventHeaders, Origin, RecordHeaders
from shared.topics import EVENTS, SNAPSHOTS, Topic, record_key
from tests.eventually import eventually
from tests.integration.destination_writer.state import make_settings
from tests.integration.destination_writer.world import World, event, open_world, running, snapshot

NOW = int(time.time())
GOOD = 20


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as found:
        yield found


@pytest.fixture
async def world(database_url: str, kafka_bootstrap_servers: str, topic_prefix: str) -> AsyncIterator[World]:
    async with open_world(make_settings(database_url, kafka_bootstrap_servers, topic_prefix)) as world:
        yield world


def listed(body: bytes, object_id: str = "cus_odd", **headers: Any) -> Outgoing:
    values = {"connection_id": "con_1", "resource": "customer", "stamp": NOW, "origin": Origin.LISTED} | headers
    return Outgoing(record_key("con_1", object_id), body, RecordHeaders(**values).encode())


def happened(body: bytes, object_id: str = "cus_odd") -> Outgoing:
    return Outgoing(record_key("con_1", object_id), body, EventHeaders("con_1", NOW * 1000).encode())


def odd_event(**changes: Any) -> Outgoing:
    sent = event(999, "cus_odd", NOW, name="Ada")
    return Outgoing(sent.key, json.dumps(json.loads(sent.value) | changes).encode(), sent.headers)


def arrived(at_ms: int) -> Outgoing:
    sent = odd_event()
    return Outgoing(sent.key, sent.value, EventHeaders("con_1", at_ms).encode())


def lines_of(body: bytes) -> Outgoing:
    return listed(body, "in_odd", resource="invoice_line_item", parent_id="in_odd", is_complete=True)


BODY = {"id": "cus_odd", "object": "customer"}
DEEP = b'{"id":"cus_odd","object":"customer","metadata":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
# Kind → its topic, its record, the code under which it ends, and what its reason says.
POISON: dict[str, tuple[Topic, Outgoing, str, str]] = {
    "bad UTF-8 in a listing": (SNAPSHOTS, listed(b'{"id":"cus_odd","name":"\xff"}'), "message_invalid", "UTF-8"),
    "bad UTF-8 in an event": (EVENTS, happened(b'{"id":"evt_1","type":"\xff"}'), "message_invalid", "UTF-8"),
    "NUL in a text": (SNAPSHOTS, snapshot("cus_odd", NOW, name="a\0b"), "destination_rejected", "NUL"),
    "NUL in an event": (EVENTS, event(999, "cus_odd", NOW, name="a\0b"), "destination_rejected", "NUL"),
    "not an object": (SNAPSHOTS, listed(b'"text"'), "message_invalid", "no JSON object"),
    "cut JSON": (SNAPSHOTS, listed(b'{"id":"cus_odd",'), "message_invalid", "truncated"),
    "wrong type of the envelope": (EVENTS, odd_event(created="soon"), "message_invalid", "created"),
    "an object of another type": (EVENTS, odd_event(data={"object": [1]}), "message_invalid", ""),
    "unknown resource": (SNAPSHOTS, listed(b"{}", resource="spaceship"), "message_invalid", "spaceship is unknown"),
    "event without an id": (EVENTS, odd_event(id=""), "message_invalid", ""),
    "number beyond every limit": (
        SNAPSHOTS,
        listed(b'{"id":"cus_odd","object":"customer","balance":1e999999}'),
        "message_invalid",
        "Number out of range",
    ),
    "stamp beyond every clock": (SNAPSHOTS, listed(b"{}", stamp=10**18), "out_of_bounds", "no moment"),
    "stamp of tomorrow": (SNAPSHOTS, listed(b"{}", stamp=NOW + 86_400), "out_of_bounds", "ahead of the clock"),
    "event of the year 2100": (EVENTS, odd_event(created=4_102_444_800), "out_of_bounds", "ahead of the clock"),
    "very long id of an event": (EVENTS, odd_event(id="evt_" + "7f" * 4000), "out_of_bounds", "longer than 255"),
    "NUL in the id of an event": (EVENTS, odd_event(id="evt_\0"), "out_of_bounds", "id"),
    "very long type": (EVENTS, odd_event(type="x" * 5000), "out_of_bounds", "longer than 100"),
    "very long id of an object": (EVENTS, event(999, "cus_" + "7f" * 4000, NOW), "out_of_bounds", "longer than 255"),
    "very long id of a listed object": (SNAPSHOTS, snapshot("cus_" + "7f" * 4000, NOW), "out_of_bounds", "longer than"),
    "slice beyond every number": (SNAPSHOTS, listed(b"{}", slice_id=10**30), "out_of_bounds", "out of range"),
    "connection with a NUL": (SNAPSHOTS, listed(b"{}", connection_id="con_1\0"), "out_of_bounds", "connection"),
    "arrival beyond every date": (EVENTS, arrived(10**18), "out_of_bounds", "no moment"),
    "child without an id": (SNAPSHOTS, lines_of(b'{"data":[{"object":"line_item"}]}'), "out_of_bounds", "id is empty"),
    "bad date of an event": (EVENTS, odd_event(created=-(10**12)), "out_of_bounds", "no moment"),
    "deep JSON": (SNAPSHOTS, listed(DEEP), "message_invalid", "recursion"),
    "JSON of 300 levels": (SNAPSHOTS, listed(b'{"a":' * 300 + b"1" + b"}" * 300), "out_of_bounds", "nested deeper"),
    "deep JSON in an event": (EVENTS, happened(b'{"id":"evt_1","data":' + DEEP + b"}"), "message_invalid", ""),
    "header that is missing": (
        SNAPSHOTS,
        Outgoing(record_key("con_1", "cus_odd"), b"{}", [("connection", b"con_1")]),
        "message_invalid",
        "header",
    ),
    "schema of another version": (SNAPSHOTS, listed(b"{}", origin="guessed"), "message_invalid", "guessed"),  # type: ignore[arg-type]
    "garbage as if encrypted": (SNAPSHOTS, listed(b"k2\0\x8f\x02" + bytes(range(200))), "message_invalid", "UTF-8"),
}


def good_records(topic: Topic) -> list[Outgoing]:
    if topic is EVENTS:
        return [event(n, f"cus_{n}", NOW, name="Ada") for n in range(GOOD)]
    return [snapshot(f"cus_{n}", NOW, name="Ada") for n in range(GOOD)]


async def put_aside(world: World, topic: Topic, poison: Outgoing) -> tuple[str, str, bytes, str]:
    """Publish good records around the poison, wait until all are dealt with, and return the one dead letter."""
    good = good_records(topic)
    total = await world.publish(topic, [*good[: GOOD // 2], poison, *good[GOOD // 2 :]])
    await eventually(world.done(topic, total), within=30)
    await eventually(world.has("SELECT count(*) FROM dead_letters", 1), within=20)
    assert await world.customers() == {f"cus_{n}": ("Ada", False) for n in range(GOOD)}
    [letter] = await world.state.rows("SELECT code, reason, body, topic FROM dead_letters")
    code, reason, body, name = letter
    return code, reason, body, name


@pytest.mark.parametrize("kind", POISON)
async def test_good_records_are_written_and_the_poison_is_put_aside(world: World, kind: str) -> None:
    topic, poison, code, says = POISON[kind]
    async with running(world):
        found, reason, body, name = await put_aside(world, topic, poison)
    assert (found, name) == (code, topic.name(world.state.settings.topic_prefix))
    assert body in poison.value  # of an event that could be read, its object
    assert says in reason


async def test_largest_record_that_kafka_takes_passes_or_is_put_aside(world: World) -> None:
    """One of 10 MB never comes as far as a topic: the gateway answers 413, and Kafka refuses it."""
    body = json.dumps(BODY | {"description": "x" * (MAX_RECORD_BYTES - 2000)}).encode()
    async with running(world):
        total = await world.publish(SNAPSHOTS, [*good_records(SNAPSHOTS), listed(body)])
        await eventually(world.done(SNAPSHOTS, total), within=30)
        assert len(await world.customers()) == GOOD + 1
    assert await world.state.value("SELECT count(*) FROM dead_letters") == 0


async def test_child_that_is_refused_costs_no_other_record_of_its_batch_a_second_write(world: World) -> None:
    """Its parent is there, and the part that the destination refuses ends alone."""
    parent = listed(b'{"id":"in_odd","object":"invoice"}', "in_odd", resource="invoice")
    child = lines_of(b'{"data":[{"id":"il_1","object":"line_item","description":"a\\u0000"}]}')
    async with running(world):
        await world.publish(SNAPSHOTS, [parent])
        await eventually(world.done(SNAPSHOTS, 1), within=30)
        total = 1 + await world.publish(SNAPSHOTS, [*good_records(SNAPSHOTS), child])
        await eventually(world.done(SNAPSHOTS, total), within=30)
        await eventually(
            world.has("SELECT code, resource FROM dead_letters", "destination_rejected", "invoice_line_item")
        )
    assert len(await world.customers()) == GOOD
    assert await world.state.value("SELECT sum(inserted + unchanged) FROM delivery_hours") == GOOD + 1


@pytest.mark.parametrize("kind", ["text", "integer"])
async def test_column_that_somebody_changed_puts_the_record_aside(world: World, kind: str) -> None:
    async with running(world):
        await eventually(world.has("SELECT to_regclass('copy.customers') IS NOT NULL", True), within=20)
        await world.state.pool.execute(
            f"ALTER TABLE copy.customers ADD COLUMN odd {kind} GENERATED ALWAYS AS"
            f" (CAST(data ->> 'odd' AS {kind})) STORED CHECK (odd::text <> 'no number')"
        )
        code, reason, _, _ = await put_aside(world, SNAPSHOTS, snapshot("cus_odd", NOW, odd="no number"))
    assert code == "destination_rejected"
    assert ("22P02" if kind == "integer" else "constraint") in reason
    assert "no number" not in reason


@pytest.mark.parametrize("fault", ["DROP SCHEMA copy CASCADE", "REVOKE CREATE ON DATABASE {database} FROM PUBLIC"])
async def test_what_can_be_mended_is_no_dead_letter(world: World, fault: str) -> None:
    database = await world.state.value("SELECT current_database()")
    async with running(world):
        await eventually(world.has("SELECT to_regclass('copy.customers') IS NOT NULL", True), within=20)
        await world.state.pool.execute(fault.format(database=database))
        total = await world.publish(EVENTS, good_records(EVENTS))
        await eventually(world.done(EVENTS, total), within=30)

        async def is_written() -> bool:
            return len(await world.customers()) == GOOD

        await eventually(is_written, within=30)
    assert await world.state.value("SELECT count(*) FROM dead_letters") == 0


async def test_destination_that_is_away_makes_no_dead_letter(world: World) -> None:
    away = await world.state.add_destination("away", "postgresql://nobody:secret@127.0.0.1:1/none")
    await world.state.pool.execute("INSERT INTO connection_destinations VALUES ('con_1', $1, 'acct_1', true)", away)
    async with running(world):
        total = await world.publish(EVENTS, good_records(EVENTS))
        await eventually(world.done(EVENTS, total), within=30)
        await eventually(world.has("SELECT count(*) FROM parked_records", GOOD), within=20)
    assert await world.state.value("SELECT count(*) FROM dead_letters") == 0
    assert await world.state.value("SELECT count(*) FROM delivery_stops") == 0
