"""A row that the state database refuses of a report costs nothing else, and no other connection's time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from services.destination_writer.ledger import Ledger
from services.destination_writer.records import Refetch
from tests.integration.destination_writer.reported import batch, counted, event, reports
from tests.integration.destination_writer.state import State

REFUSING = {
    "the event log": "ALTER TABLE event_log ADD CHECK (event_id <> 'evt_odd')",
    "hours": "ALTER TABLE delivery_hours ADD CHECK (resource <> 'odd')",
    "counts of slices": "ALTER TABLE slice_counts ADD CHECK (destination_id <> 'dst_odd')",
    "questions": "ALTER TABLE refetches ADD CHECK (object_id <> 'odd')",
}


@pytest.mark.parametrize("place", REFUSING)
async def test_row_that_the_database_refuses_costs_nothing_else_of_its_batch(
    ledger: Ledger, state: State, slice_id: int, place: str
) -> None:
    """As a schema of another release would: what its records did at the destination has happened all the same."""
    await state.pool.execute(REFUSING[place])
    items = [event(offset, f"evt_{offset}") for offset in range(6)]
    items[3] = event(3, "evt_odd")
    found = reports(items, slice_id)
    found[3] = replace(found[3], resource="odd", destination_id="dst_odd")
    questions = [Refetch("con_1", "customer", one, "tie", 0) for one in ("cus_1", "odd", "cus_2")]
    for _ in range(2):  # and it is counted once, as ever
        await ledger.record(items, found, questions)
    assert await state.value("SELECT next_offset FROM writer_progress") == 6
    assert await state.value("SELECT count(*) FROM event_log") == 6 - (place == "the event log")
    assert await state.value("SELECT sum(inserted) FROM delivery_hours") == 6 - (place == "hours")
    assert await state.value("SELECT sum(inserted) FROM slice_counts") == 6 - (place == "counts of slices")
    asked = await state.rows("SELECT object_id FROM refetches ORDER BY 1")
    assert asked == [("cus_1",), ("cus_2",)] + [("odd",)] * (place != "questions")


async def test_rows_that_several_parts_refuse_cost_nothing_else(ledger: Ledger, state: State, slice_id: int) -> None:
    """Nor do the next ones of their connection make a batch begin anew."""
    await state.add_connection("con_2", await state.add_destination("other"))
    for refusing in REFUSING.values():
        await state.pool.execute(refusing)
    now = [1000.0]
    ledger = Ledger(state.pool, "cluster-1", clock=lambda: now[0])
    begun_anew = []
    for number, moment in enumerate((1000.0, 1001.0, 1059.0, 1200.0)):
        now[0] = moment
        items = [event(2 * number, f"evt_{number}"), event(2 * number + 1, "evt_odd", "con_2")]
        good, odd = reports(items, slice_id)
        odd = replace(odd, resource="odd", destination_id="dst_odd")
        with capture_logs() as logs:
            await ledger.record(items, [good, odd], [Refetch("con_2", "customer", "odd", "tie", 0)])
        begun_anew.append(sum(line["event"] == "ledger_begun_anew" for line in logs))
        refused = [line["connection_id"] for line in logs if line["event"] == "ledger_row_refused"]
        assert refused == ["con_2"] * 4
    assert begun_anew == [4, 0, 0, 4]
    assert await state.value("SELECT count(*) FROM event_log") == 4
    assert await counted(state, slice_id) == [(4, 0, 0, 0, 0, 0)]


async def test_row_of_a_late_report_that_is_refused_costs_nothing_else(
    ledger: Ledger, state: State, slice_id: int
) -> None:
    await state.pool.execute(REFUSING["hours"])
    found = reports(batch(0, 1, 2), slice_id)
    found[1] = replace(found[1], resource="odd")
    await ledger.record_late(found, [])
    assert await counted(state, slice_id) == [(3, 0, 0, 0, 0, 0)]
    assert await state.value("SELECT sum(inserted) FROM delivery_hours") == 2
