"""Each hour keeps how many events came and how long they took, once, also of what had to wait."""

from __future__ import annotations

from dataclasses import replace

from services.destination_writer.delivery import Outcome, Report
from services.destination_writer.ledger import Ledger
from services.destination_writer.records import Parsed
from shared.delay_buckets import quantile
from shared.messages import Origin
from tests.integration.destination_writer.reported import RECEIVED_AT_MS, batch, event, reports
from tests.integration.destination_writer.state import State


def written(items: list[Parsed], seconds: float, outcome: Outcome = Outcome.UPDATED) -> list[Report]:
    at = RECEIVED_AT_MS / 1000 + seconds
    return [
        replace(one, at=at, origin=Origin.EVENT, object_id="cus_1", stamp=1_700_000_000)
        for one in reports(items, None, outcome)
    ]


async def kept(state: State) -> list[tuple[int, int, float | None]]:
    rows = await state.rows("SELECT events, delays FROM event_hours")
    return [(events, sum(delays), quantile(delays, 1)) for events, delays in rows]


async def test_events_are_counted_with_how_long_they_took(ledger: Ledger, state: State, slice_id: int) -> None:
    items = [event(number, f"evt_{number}") for number in range(3)]
    for _ in range(2):  # the batch comes twice
        await ledger.record(items, written(items, 0.42), [])
    assert await kept(state) == [(3, 3, 0.45)]
    more = [event(7, "evt_7")]
    await ledger.record(more, written(more, 100), [])
    assert await kept(state) == [(4, 4, 120)]


async def test_what_waits_is_timed_when_it_is_written(ledger: Ledger, state: State, slice_id: int) -> None:
    items = [event(0)]
    await state.pool.execute("INSERT INTO event_hours VALUES ('con_1', '2020-01-01', 1, '{1}')")
    await ledger.record(items, written(items, 0.5, Outcome.FAILED), [])
    assert (await kept(state))[1:] == [(1, 0, None)]
    await ledger.record_late(written(items, 600), [])
    assert (await kept(state))[1:] == [(1, 1, 900)]


async def test_the_newest_event_of_a_resource_is_known(ledger: Ledger, state: State, slice_id: int) -> None:
    newest = "SELECT resource, created, seconds FROM resource_news"
    items = [event(0)]
    await ledger.record(items, written(items, 0.5, Outcome.FAILED), [])
    assert await state.rows(newest) == [("customer", 1_700_000_000, None)]
    await ledger.record_late(written(items, 600), [])
    assert await state.rows(newest) == [("customer", 1_700_000_000, 600)]


async def test_what_is_listed_is_no_event(ledger: Ledger, state: State, slice_id: int) -> None:
    await ledger.record(batch(0, 1), reports(batch(0, 1), slice_id), [])
    assert await kept(state) == []
