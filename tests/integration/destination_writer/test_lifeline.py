"""The life-line of events: what became of each at every destination, also of what waited and of what was asked."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import pytest

from services.destination_writer.delivery import Outcome, Reason, Report
from services.destination_writer.dispatch import Result
from services.destination_writer.ledger import Ledger
from services.destination_writer.lifeline import EndedMeanwhileError
from services.destination_writer.records import EventEntry, Parsed, Record, Refetch
from services.destination_writer.retry import Retry
from shared.changes import Change, Changes, unseal
from shared.messages import Origin
from shared.topics import EVENTS, SNAPSHOTS
from tests.eventually import eventually
from tests.factories import CONNECTION, make_record
from tests.fakes import MemoryDestination
from tests.integration.destination_writer.office import Office
from tests.integration.destination_writer.state import State, make_settings
from tests.integration.destination_writer.world import event, open_world, running, snapshot
from tests.proxy import Proxy

BEGIN = 1_790_000_000
EVENTS_SENT = 1_200
OBJECTS = 150
DUPLICATES = 300
INCOMPLETE = """
SELECT count(*) FROM event_log e, destinations d
WHERE e.deliveries -> d.id ->> 'outcome' IS NULL OR e.deliveries -> d.id -> 'at' IS NULL
   OR e.deliveries -> d.id ->> 'outcome' = 'parked' OR e.partition IS NULL OR e.received_at IS NULL
   OR (e.deliveries -> d.id ->> 'outcome' IN ('ignored', 'unchanged')) <> (e.deliveries -> d.id ? 'reason')
"""


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    parts = urlsplit(database_url)
    async with Proxy(parts.hostname or "", parts.port or 5432) as proxy:
        yield proxy


async def test_every_life_line_is_complete_for_every_destination(
    database_url: str, kafka_bootstrap_servers: str, topic_prefix: str, proxy: Proxy
) -> None:
    """1,200 events in any order, 300 of them twice, among listings; deletions; one destination is silent at first."""
    dice = random.Random(7)
    settings = make_settings(database_url, kafka_bootstrap_servers, topic_prefix)
    settings = settings.model_copy(update={"write_deadline_seconds": 0.5})
    parts = urlsplit(database_url)
    far = urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{proxy.port}"))
    sent = [
        event(n, f"cus_{n % OBJECTS}", BEGIN + n // OBJECTS, "customer.updated", name=f"v{n}")
        for n in range(EVENTS_SENT - 10)
    ]
    sent += [event(EVENTS_SENT + n, f"cus_{n}", BEGIN + 20, "customer.deleted", name="gone") for n in range(10)]
    sent += dice.sample(sent, DUPLICATES)
    dice.shuffle(sent)
    async with open_world(settings) as world:
        await world.state.add_destination("far", far)
        sql = "INSERT INTO connection_destinations SELECT 'con_1', id, 'acct_1', true FROM destinations WHERE name = $1"
        await world.state.pool.execute(sql, "far")
        proxy.is_silent = True
        listed = [snapshot(f"cus_{n}", BEGIN + 3, name="listed") for n in range(0, OBJECTS, 3)]
        await world.publish(SNAPSHOTS, listed)
        total = await world.publish(EVENTS, sent)
        async with running(world):
            await eventually(world.done(EVENTS, total), within=60)
            assert await world.state.value("SELECT count(*) FROM parked_records") > 0
            proxy.is_silent = False
            await eventually(world.has("SELECT count(*) FROM parked_records", 0), within=90)
            await eventually(world.has(INCOMPLETE, 0), within=60)
        assert await world.state.value("SELECT count(*) FROM event_log") == EVENTS_SENT
        told = await world.state.rows(
            "SELECT t.value ->> 'outcome', t.value ? 'parked_at' FROM event_log, jsonb_each(deliveries) t"
        )
        assert Counter(outcome for outcome, _ in told).keys() >= {"inserted", "updated", "ignored", "deleted"}
        assert 0 < sum(has_waited for _, has_waited in told) <= EVENTS_SENT


async def test_what_an_event_changed_is_kept_sealed_and_without_what_is_left_out(
    database_url: str, kafka_bootstrap_servers: str, topic_prefix: str
) -> None:
    settings = make_settings(database_url, kafka_bootstrap_servers, topic_prefix)
    previous = {"name": "before", "email": "secret@example.com"}
    async with open_world(settings) as world:
        await world.state.pool.execute("UPDATE connections SET omitted_fields = $1", {"customer": ["email"]})
        sent = [
            event(1, "cus_1", BEGIN, "customer.created", name="before"),
            event(2, "cus_1", BEGIN + 1, name="after", email="new@example.com", previous=previous),
            event(
                3, "cus_1", BEGIN + 2, name="after", email="third@example.com", previous={"email": "new@example.com"}
            ),
        ]
        async with running(world):
            await eventually(world.done(EVENTS, await world.publish(EVENTS, sent)), within=60)
        rows = await world.state.rows("SELECT event_id, changes FROM event_log ORDER BY event_id")
        kept = {event_id: sealed for event_id, sealed in rows if sealed}
        assert list(kept) == ["evt_2"]
        told = unseal(settings.key_ring, kept["evt_2"], connection_id="con_1", event_id="evt_2")
        assert told == Changes((Change("name", '"before"', '"after"'),))
        assert b"before" not in kept["evt_2"]


@pytest.fixture
async def office(state: State) -> Office:
    bad, good = await state.add_destination("bad"), await state.add_destination("good")
    await state.add_connection(CONNECTION, bad, good)
    return Office(state, bad, good)


def as_event(record: Record, number: int) -> Parsed:
    position = replace(record.position, offset=number)
    entry = EventEntry(
        CONNECTION, f"evt_{number}", "customer.updated", record.stamp, "customer", record.object_id, 1, position
    )
    return Parsed(CONNECTION, position, record=replace(record, position=position), event=entry)


async def deliver(office: Office, *items: Parsed) -> None:
    result = await office.dispatch.deliver(items, deadline_seconds=0.1)
    await office.ledger.record(items, result.reports, result.refetches)


async def park_at_bad(office: Office, item: Parsed) -> Result:
    """Deliver while the bad destination is away; then it is back, and what waits for it is due."""
    bad = cast("MemoryDestination", office.destinations[office.bad_id])
    bad.is_down = True
    result = await office.dispatch.deliver([item], deadline_seconds=0.1)
    bad.is_down = False
    await office.rested()
    return result


async def told(office: Office, destination_id: str) -> dict[str, tuple[str, str | None]]:
    """Return outcome and reason by event."""
    sql = "SELECT event_id, deliveries -> $1 ->> 'outcome', deliveries -> $1 ->> 'reason' FROM event_log"
    return {row[0]: (row[1], row[2]) for row in await office.state.rows(sql, destination_id)}


async def test_reasons_are_told(office: Office) -> None:
    office.destinations[office.bad_id] = MemoryDestination()
    await office.state.pool.execute("UPDATE connections SET start_date = to_timestamp(50)")
    batches: list[list[dict[str, Any]]] = [
        [{"stamp": 100, "name": "a", "created": 60}],
        [{"stamp": 99, "name": "b", "created": 60}, {"stamp": 101, "name": "a", "created": 60}],
        [{"stamp": 101, "name": "c", "created": 60}],
        [{"stamp": 105, "is_deleted": True, "created": 60}],
        [{"stamp": 104, "name": "d", "created": 60}, {"stamp": 106, "name": "e", "created": 49}],
    ]
    number = 0
    for batch in batches:
        await deliver(office, *(as_event(make_record(**fields), number := number + 1) for fields in batch))
    for destination_id in (office.bad_id, office.good_id):
        assert await told(office, destination_id) == {
            "evt_1": (Outcome.INSERTED, None),
            "evt_2": (Outcome.IGNORED, Reason.OLDER),
            "evt_3": (Outcome.UNCHANGED, Reason.EQUAL),
            "evt_4": (Outcome.IGNORED, Reason.TIE),
            "evt_5": (Outcome.DELETED, None),
            "evt_6": (Outcome.IGNORED, Reason.TOMBSTONE),
            "evt_7": (Outcome.NOT_SYNCED, Reason.START_DATE),
        }


async def test_what_waited_has_its_end_and_what_was_overtaken_meanwhile_too(office: Office) -> None:
    bad = MemoryDestination()
    bad.is_down = True
    office.destinations[office.bad_id] = bad
    for number, name in enumerate(("old", "new")):
        await deliver(office, as_event(make_record(stamp=100 + number, name=name), number))
    assert set((await told(office, office.bad_id)).values()) == {(Outcome.PARKED, None)}
    assert await office.state.rows("SELECT DISTINCT outcome FROM event_log") == [("parked",)]
    bad.is_down = False
    await office.rested()
    await office.retry.retry_due()
    assert await told(office, office.bad_id) == {
        "evt_0": (Outcome.IGNORED, Reason.OLDER),
        "evt_1": (Outcome.INSERTED, None),
    }
    sql = "SELECT event_id, outcome, (deliveries -> $1 -> 'parked_at')::float8 <= (deliveries -> $1 -> 'at')::float8"
    assert await office.state.rows(f"{sql} FROM event_log ORDER BY 1", office.bad_id) == [
        ("evt_0", "ignored", True),
        ("evt_1", "inserted", True),
    ]


async def test_versions_of_one_batch_that_is_parked_are_all_logged(office: Office) -> None:
    office.destinations[office.bad_id].is_down = True  # type: ignore[attr-defined]
    await deliver(office, *(as_event(make_record(stamp=100 + n), n) for n in range(2)))
    assert await told(office, office.bad_id) == {
        "evt_0": (Outcome.IGNORED, Reason.OLDER),
        "evt_1": (Outcome.PARKED, None),
    }


async def test_answer_of_stripe_is_told_at_the_events_that_asked(office: Office) -> None:
    for number, name in enumerate(("a", "b")):
        await deliver(office, as_event(make_record(stamp=100, name=name), number))
    assert await office.state.value("SELECT count(*) FROM refetches") == 1
    for stamp in (102, 103):
        answer = make_record(stamp=stamp, name="b", origin=Origin.REFETCHED)
        await deliver(office, Parsed(CONNECTION, replace(answer.position, topic="snapshots"), record=answer))
    sql = "SELECT event_id, answers -> $1 ->> 'outcome' FROM event_log ORDER BY 1"
    assert await office.state.rows(sql, office.good_id) == [("evt_0", None), ("evt_1", "updated")]


async def test_what_is_not_delivered_any_more_does_not_wait_for_ever(office: Office) -> None:
    office.destinations[office.bad_id].is_down = True  # type: ignore[attr-defined]
    await deliver(office, as_event(make_record(), 1))
    await office.state.pool.execute("DELETE FROM connection_destinations WHERE destination_id = $1", office.bad_id)
    await office.make_due()
    await office.retry.retry_due()
    assert await told(office, office.bad_id) == {"evt_1": (Outcome.NOT_SYNCED, Reason.UNLINKED)}


async def test_what_is_written_before_its_batch_is_noted_makes_the_batch_come_again(office: Office) -> None:
    item = as_event(make_record("cus_1", 5, name="a"), 1)
    result = await park_at_bad(office, item)
    assert await office.retry.retry_due() == 1
    with pytest.raises(EndedMeanwhileError):
        await office.ledger.record([item], result.reports, result.refetches)
    await deliver(office, item)
    assert await told(office, office.bad_id) == {"evt_1": (Outcome.UNCHANGED, Reason.EQUAL)}


async def test_event_that_is_noted_while_a_newer_one_is_written_has_its_end(office: Office) -> None:
    """The newer one waits already, and ends the older one: that is noted between its write and its leaving."""
    newer, older = as_event(make_record("cus_1", 9, name="b"), 1), as_event(make_record("cus_1", 5, name="a"), 2)
    found = await park_at_bad(office, newer)
    await office.ledger.record([newer], found.reports, found.refetches)
    result = await park_at_bad(office, older)

    class Between(Ledger):
        has_come = False

        async def record_late(self, reports: Sequence[Report], refetches: Sequence[Refetch]) -> None:
            await super().record_late(reports, refetches)
            if not self.has_come:
                self.has_come = True
                await self.record([older], result.reports, result.refetches)

    retry = Retry(office.parking, office.routes, office.dispatch, Between(office.state.pool, "cluster"))
    assert await retry.retry_due() == 0
    assert await retry.retry_due() == 1
    assert await told(office, office.bad_id) == {
        "evt_1": (Outcome.INSERTED, None),
        "evt_2": (Outcome.IGNORED, Reason.OLDER),
    }
