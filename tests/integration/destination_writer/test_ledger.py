"""What the writers report is counted once, however often a batch comes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from services.destination_writer.delivery import Outcome, Report
from services.destination_writer.graveyard import Graveyard
from services.destination_writer.ledger import Ledger
from services.destination_writer.records import EventEntry, Parsed, Position, Refetch
from shared.dead_letters import DeadLetter
from shared.messages import Origin
from shared.stripe_api import STAMP_MARGIN
from tests.factories import make_record
from tests.integration.destination_writer.reported import RECEIVED_AT_MS, batch, counted, event, reports
from tests.integration.destination_writer.state import State


async def test_batch_that_comes_twice_is_counted_once(ledger: Ledger, state: State, slice_id: int) -> None:
    items = batch(0, 1, 2)
    for _ in range(2):
        await ledger.record(items, reports(items, slice_id), [])
    assert await counted(state, slice_id) == [(3, 0, 0, 0, 0, 0)]
    assert await state.value("SELECT sum(inserted) FROM delivery_hours") == 3
    assert await state.rows("SELECT * FROM writer_progress") == [("cluster-1", "snapshots", 0, 3)]


async def test_only_what_is_new_of_an_overlapping_batch_is_counted(ledger: Ledger, state: State, slice_id: int) -> None:
    for offsets in ((0, 1), (1, 2)):
        items = batch(*offsets)
        await ledger.record(items, reports(items, slice_id), [])
    assert await counted(state, slice_id) == [(3, 0, 0, 0, 0, 0)]


async def test_progress_never_goes_back(ledger: Ledger, state: State, slice_id: int) -> None:
    await ledger.record(batch(7), [], [])
    await ledger.record(batch(2), [], [])
    assert await state.value("SELECT next_offset FROM writer_progress") == 8


async def test_offsets_of_another_broker_are_counted_for_themselves(
    ledger: Ledger, state: State, slice_id: int
) -> None:
    items = batch(0)
    await ledger.record(items, reports(items, slice_id), [])
    await Ledger(state.pool, "cluster-2").record(items, reports(items, slice_id), [])
    assert await counted(state, slice_id) == [(2, 0, 0, 0, 0, 0)]


async def test_parked_records_are_counted_when_they_are_delivered(ledger: Ledger, state: State, slice_id: int) -> None:
    items = batch(0)
    await ledger.record(items, reports(items, slice_id, Outcome.PARKED), [])
    assert await counted(state, slice_id) == []
    await ledger.record_late(reports(items, slice_id, Outcome.UPDATED), [])
    assert await counted(state, slice_id) == [(0, 1, 0, 0, 0, 0)]


async def test_event_is_logged_once_with_its_outcome(ledger: Ledger, state: State, slice_id: int) -> None:
    first, again = event(4), event(9)
    await ledger.record([first], reports([first], None), [])
    await ledger.record([again], reports([again], None, Outcome.UNCHANGED), [])
    sql = "SELECT event_id, outcome, partition, record_offset, extract(epoch FROM received_at)::float8 FROM event_log"
    assert await state.rows(sql) == [("evt_1", "inserted", 0, 4, RECEIVED_AT_MS / 1000)]


@pytest.mark.parametrize("is_asked", [True, False])
async def test_event_without_a_record_says_what_became_of_it(
    ledger: Ledger, state: State, slice_id: int, is_asked: bool
) -> None:
    asked = (Refetch("con_1", "customer", "cus_1", "another API version", 0),) if is_asked else ()
    plain = event(0)
    await ledger.record([Parsed("con_1", plain.position, event=plain.event, refetches=asked)], [], asked)
    assert await state.value("SELECT outcome FROM event_log") == ("asked_stripe" if is_asked else "not_synced")


async def test_connection_shows_its_last_event(ledger: Ledger, state: State, slice_id: int) -> None:
    await ledger.record([event(0)], [], [])
    await ledger.record(batch(0), [], [])
    assert await state.rows("SELECT extract(epoch FROM last_event_at)::bigint FROM connections") == [(1_700_000_000,)]


async def test_last_sync_is_when_the_last_of_its_destinations_confirmed_a_row(ledger: Ledger, state: State) -> None:
    """Nothing moves it that a destination has not answered."""
    places = [await state.add_destination(name) for name in ("first", "second")]
    await state.add_connection("con_1", *places)

    async def last_sync() -> datetime | None:
        return (await state.connections.get("con_1")).last_synced_at

    async def record(offset: int, outcome: Outcome, *destination_ids: str) -> None:
        [item] = batch(offset)
        mine = [Report("con_1", one, "customer", outcome, item.position, None) for one in destination_ids]
        await ledger.record([item], mine, [])

    unconfirmed = (Outcome.PARKED, Outcome.LEFT_OUT, Outcome.FAILED, Outcome.IGNORED, Outcome.NOT_SYNCED)
    for offset, outcome in enumerate(unconfirmed):
        await record(offset, outcome, *places)
    await record(5, Outcome.INSERTED, places[0])
    assert await last_sync() is None
    await record(6, Outcome.UNCHANGED, places[1])
    before = await last_sync()
    await record(7, Outcome.DELETED, places[1])
    assert await last_sync() == before is not None
    await ledger.record_late([Report("con_1", places[0], "customer", Outcome.UPDATED, Position("e", 0, 1), None)], [])
    assert before < (await last_sync() or before)


async def test_object_is_asked_for_once_and_its_generation_grows(ledger: Ledger, state: State, slice_id: int) -> None:
    questions = [Refetch("con_1", "customer", "cus_1", reason, 0) for reason in ("tie", "tie", "hint")]
    await ledger.record(batch(0), [], questions)
    assert await state.rows("SELECT object_id, generation FROM refetches") == [("cus_1", 1)]
    await ledger.record(batch(1), [], questions)
    assert await state.rows("SELECT object_id, generation FROM refetches") == [("cus_1", 2)]


async def test_newest_of_a_list_is_not_put_off_by_what_happens_meanwhile(
    ledger: Ledger, state: State, slice_id: int
) -> None:
    """In an account that is always busy it would never be read."""
    now = int(await state.value("SELECT extract(epoch FROM now())::bigint"))
    asked = [Refetch("con_1", "balance_transaction", "*", "charge.succeeded", now - 4)]
    await ledger.record(batch(0), [], asked)
    due = await state.value("SELECT due_at FROM refetches")
    await ledger.record(batch(1), [], [Refetch("con_1", "balance_transaction", "*", "charge.succeeded", now + 60)])
    assert await state.rows("SELECT due_at, generation FROM refetches") == [(due, 2)]


async def test_tie_is_asked_about_only_after_the_margin(ledger: Ledger, state: State, slice_id: int) -> None:
    now = int(await state.value("SELECT extract(epoch FROM now())::bigint"))
    questions = [Refetch("con_1", "customer", "old", "tie", 0), Refetch("con_1", "customer", "new", "tie", now)]
    await ledger.record(batch(0), [], questions)
    sql = "SELECT object_id FROM refetches WHERE due_at > now() + make_interval(secs => $1) ORDER BY 1"
    assert await state.rows(sql, float(STAMP_MARGIN)) == [("new",)]


async def test_tie_waits_for_the_margin_although_our_clock_is_ahead_of_stripes(
    ledger: Ledger, state: State, slice_id: int
) -> None:
    now = int(await state.value("SELECT extract(epoch FROM now())::bigint"))
    await ledger.record(batch(0), [], [Refetch("con_1", "customer", "cus_1", "tie", now - 3)])
    assert await state.value("SELECT due_at > now() + make_interval(secs => $1) FROM refetches", float(STAMP_MARGIN))


async def test_resource_that_is_not_synced_is_not_asked_for(ledger: Ledger, state: State, slice_id: int) -> None:
    await ledger.record(batch(0), [], [Refetch("con_1", "topup", "tu_1", "hint", 0)])
    await state.pool.execute("UPDATE connections SET resources = '{charge}'")
    await ledger.record(batch(1), [], [Refetch("con_1", "customer", "cus_1", "hint", 0)])
    assert await state.value("SELECT count(*) FROM refetches WHERE resource = 'customer'") == 0


HINTED_AT = 1_700_000_000


def hint(reason: str = "invoice_payment.paid", told_by: str | None = "invoice.paid") -> Refetch:
    return Refetch("con_1", "customer", "in_1", reason, HINTED_AT, told_by=told_by)


def payment(offset: int) -> Parsed:
    position = Position("events", 0, offset)
    entry = EventEntry("con_1", "evt_p", "invoice_payment.paid", HINTED_AT, "customer", "inpay_1", 0, position)
    return Parsed("con_1", position, event=entry, refetches=(hint(),))


def telling(offset: int, created: int = HINTED_AT) -> Parsed:
    position = Position("events", 0, offset)
    entry = EventEntry("con_1", "evt_i", "invoice.paid", created, "customer", "in_1", 0, position)
    return Parsed("con_1", position, event=entry)


@pytest.mark.parametrize("is_hint_first", [True, False])
async def test_hint_is_no_question_once_an_event_has_told_as_much(
    ledger: Ledger, state: State, slice_id: int, is_hint_first: bool
) -> None:
    told = telling(1)
    steps = [(payment(0), [], [hint()]), (told, reports([told], None), [])]
    for item, reported, asked in steps if is_hint_first else reversed(steps):
        await ledger.record([item], reported, asked)
    assert await state.rows("SELECT object_id FROM refetches") == []


async def test_hint_of_a_later_second_is_a_question(ledger: Ledger, state: State, slice_id: int) -> None:
    told = telling(1, HINTED_AT - 1)
    await ledger.record([told, payment(2)], reports([told], None), [hint()])
    assert await state.rows("SELECT object_id FROM refetches") == [("in_1",)]


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.LEFT_OUT])
async def test_event_that_is_in_no_row_tells_nothing(
    ledger: Ledger, state: State, slice_id: int, outcome: Outcome
) -> None:
    told = telling(1)
    await ledger.record([told, payment(2)], reports([told], None, outcome), [hint()])
    assert await state.rows("SELECT object_id FROM refetches") == [("in_1",)]


@pytest.mark.parametrize("is_hint_first", [True, False])
@pytest.mark.parametrize("are_together", [True, False])
async def test_what_was_asked_for_another_reason_too_stays_a_question(
    ledger: Ledger, state: State, slice_id: int, is_hint_first: bool, are_together: bool
) -> None:
    asked = [hint(), hint("tie", None)] if is_hint_first else [hint("tie", None), hint()]
    for questions in [asked] if are_together else [[one] for one in asked]:
        await ledger.record([payment(0)], [], questions)
    told = telling(1)
    await ledger.record([told], reports([told], None), [])
    assert await state.rows("SELECT object_id FROM refetches") == [("in_1",)]


async def test_nothing_is_kept_of_an_unknown_connection(ledger: Ledger, state: State) -> None:
    item = event(0, connection_id="con_gone")
    await ledger.record([item], reports([item], 4711), [Refetch("con_gone", "customer", "cus_1", "tie", 0)])
    for table in ("event_log", "delivery_hours", "slice_counts", "refetches"):
        assert await state.value(f"SELECT count(*) FROM {table}") == 0
    assert await state.value("SELECT next_offset FROM writer_progress") == 1


async def test_dead_letter_is_kept_once_and_counts_how_often_it_came(state: State) -> None:
    await state.add_connection("con_1", await state.add_destination("stripe"))
    letter = DeadLetter("write", "destination_rejected", "why", b"{}", "con_1", "dst_1", "events", 3, 9, b"key")
    for _ in range(3):
        await Graveyard(state.pool).keep([letter])
    sql = "SELECT code, destination_id, topic, partition, record_offset, attempts, body FROM dead_letters"
    assert await state.rows(sql) == [("destination_rejected", "dst_1", "events", 3, 9, 3, b"{}")]


async def test_dead_letter_with_what_postgres_can_not_hold_is_kept(state: State) -> None:
    """One that could not be kept would become a dead letter itself, and so on for ever."""
    await state.add_connection("con_1", await state.add_destination("stripe"))
    letter = DeadLetter(
        "a\0", "b\0", "c\0", b"\0\xff", "con_1\0", "e\0", "f\0", 0, 0, b"\0\xff", headers=(("g\0", b"\0\xff"),)
    )
    await Graveyard(state.pool).keep([letter])
    assert await state.rows("SELECT stage, connection_id, body, headers FROM dead_letters") == [
        ("a", "con_1", b"\0\xff", {"g": "\ufffd"})
    ]


async def test_dead_letter_of_a_connection_that_is_gone_is_dropped(state: State) -> None:
    """Nothing of a removed connection comes back; what belongs to none is kept."""
    for name in ("con_1", "con_2"):
        await state.add_connection(name, await state.add_destination(name))
    await state.pool.execute("UPDATE connections SET state = 'removing' WHERE id = 'con_2'")
    letters = [
        DeadLetter("parse", "message_invalid", "why", b"{}", connection, source_offset=offset)
        for offset, connection in enumerate(("con_1", "con_2", "con_3", ""))
    ]
    await Graveyard(state.pool).keep(letters)
    assert await state.rows("SELECT connection_id FROM dead_letters ORDER BY 1") == [("con_1",), (None,)]


def live(offset: int, destination_id: str, outcome: Outcome, resource: str = "customer") -> Report:
    return Report("con_1", destination_id, resource, outcome, Position("events", 0, offset), origin=Origin.EVENT)


PARKED = """
INSERT INTO parked_records (destination_id, connection_id, resource, object_id, stamp, body, origin, is_deleted, topic,
                            partition, record_offset, reason, next_try_at)
VALUES ($1, 'con_1', 'customer', '', 0, '{}', 'event', false, 'events', 0, 0, 'away', now())
"""
SYNCS = """
SELECT trigger, status, resources, records, inserted, updated, ignored, failed FROM syncs WHERE kind = 'live'
"""


async def test_hour_with_live_changes_is_one_sync(ledger: Ledger, state: State, slice_id: int) -> None:
    """Whatever the number of batches, destinations and writers."""
    waiting = await state.add_destination("waiting")
    await state.pool.execute(PARKED, waiting)
    other = Ledger(state.pool, "cluster-2")
    for one in (ledger, other):
        reports_of_batch = [
            live(0, "dst_1", Outcome.INSERTED),
            live(0, waiting, Outcome.PARKED),
            live(1, "dst_1", Outcome.UPDATED, "charge"),
            live(1, waiting, Outcome.IGNORED, "charge"),
        ]
        for _ in range(2):
            await one.record([event(0, "evt_0"), event(1)], reports_of_batch, [])
    await ledger.record_late([live(0, waiting, Outcome.INSERTED)], [])
    assert await state.rows(SYNCS) == [("webhooks", "running", ["charge", "customer"], 4, 3, 2, 2, 0)]
    sql = """
    SELECT range_start = date_trunc('hour', now(), 'UTC'), range_end - range_start = '1 hour', started_at <= now(),
           id ~ '^[a-z]{2,8}_[a-z0-9]{1,64}$' FROM syncs WHERE kind = 'live'
    """
    assert await state.rows(sql) == [(True, True, True, True)]


async def test_each_connection_and_hour_has_its_own_sync(ledger: Ledger, state: State, slice_id: int) -> None:
    await state.add_connection("con_2", await state.add_destination("second"))
    await state.pool.execute("UPDATE connections SET live_by = 'polling' WHERE id = 'con_2'")
    batches = [live(0, "dst_1", Outcome.INSERTED), replace(live(1, "dst_1", Outcome.FAILED), connection_id="con_2")]
    await ledger.record([event(0, "evt_0"), event(1, connection_id="con_2")], batches, [])
    await state.pool.execute("UPDATE syncs SET id = id || 'before' WHERE connection_id = 'con_1' AND kind = 'live'")
    await ledger.record([event(2)], [live(2, "dst_1", Outcome.INSERTED)], [])
    assert await state.rows(f"{SYNCS} ORDER BY 1, 4, 5") == [
        ("polling", "running", ["customer"], 1, 0, 0, 0, 1),
        ("webhooks", "running", ["customer"], 1, 1, 0, 0, 0),
        ("webhooks", "running", ["customer"], 1, 1, 0, 0, 0),
    ]


async def test_snapshots_and_what_is_not_written_make_no_live_sync(ledger: Ledger, state: State, slice_id: int) -> None:
    items = batch(0, 1)
    await ledger.record(items, reports(items, slice_id), [])
    await ledger.record([event(0)], [], [])
    await ledger.record_late(reports(items, slice_id), [])
    assert await state.rows(SYNCS) == []


async def test_event_whose_object_is_not_wanted_is_logged_as_not_synced(
    ledger: Ledger, state: State, slice_id: int
) -> None:
    """Also when it made us ask for something else."""
    hint = (Refetch("con_1", "customer", "cus_2", "hint", 0),)
    dropped = replace(event(0), record=make_record(), refetches=hint)
    await ledger.record([dropped], [], hint)
    assert await state.value("SELECT outcome FROM event_log") == "not_synced"


async def test_time_of_the_newest_event_is_never_ahead_of_the_clock(
    ledger: Ledger, state: State, slice_id: int
) -> None:
    await state.pool.execute("UPDATE connections SET last_event_at = '2100-01-01'")
    await ledger.record([event(0)], [], [])
    assert await state.value("SELECT last_event_at <= now() FROM connections")
