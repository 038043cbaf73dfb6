"""What is reported to a ledger, and what it has counted."""

from __future__ import annotations

from collections.abc import Sequence

from services.destination_writer.delivery import Outcome, Report
from services.destination_writer.records import EventEntry, Parsed, Position
from tests.integration.destination_writer.state import State

RECEIVED_AT_MS = 1_700_000_000_500


def event(offset: int, event_id: str = "evt_1", connection_id: str = "con_1") -> Parsed:
    position = Position("events", 0, offset)
    entry = EventEntry(
        connection_id, event_id, "customer.updated", 1_700_000_000, "customer", "cus_1", RECEIVED_AT_MS, position
    )
    return Parsed(connection_id, position, event=entry)


def batch(*offsets: int) -> list[Parsed]:
    return [Parsed("con_1", Position("snapshots", 0, offset)) for offset in offsets]


def reports(items: Sequence[Parsed], slice_id: int | None, outcome: Outcome = Outcome.INSERTED) -> list[Report]:
    return [Report(i.connection_id, "dst_1", "customer", outcome, i.position, slice_id) for i in items]


async def counted(state: State, slice_id: int) -> list[tuple[int, ...]]:
    sql = "SELECT inserted, updated, unchanged, deleted, ignored, failed FROM slice_counts WHERE slice_id = $1"
    return await state.rows(sql, slice_id)
