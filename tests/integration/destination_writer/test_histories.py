"""The rule through the real upsert: many objects at once, each with a history of its own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.destination_writer.delivery import fold
from services.destination_writer.records import Record
from tests.contracts import ACCOUNT
from tests.histories import History, answer_of, histories
from tests.integration.destination_writer.postgres_rows import InspectedPostgres

OBJECTS = 60  # histories that one example delivers side by side


def interleaved(drawn: Sequence[History]) -> list[Record]:
    """Return the deliveries of all objects, turn by turn."""
    longest = max(len(history.deliveries) for history in drawn)
    return [h.deliveries[turn] for turn in range(longest) for h in drawn if turn < len(h.deliveries)]


@st.composite
def worlds(draw: st.DrawFn, world: int = 0) -> list[History]:
    return [draw(histories(f"cus_{number}")) for number in range(OBJECTS)]


@pytest.mark.parametrize(("batch_size", "removes_deleted"), [(7, False), (400, False), (40, True)])
async def test_rows_equal_stripe_through_the_real_upsert(
    database_url: str, batch_size: int, removes_deleted: bool
) -> None:
    """1,620 histories in all: nine worlds of 60 objects, in small and large batches, and with deleted rows removed."""
    examples = iter(range(1000))

    async def run(drawn: list[History]) -> None:
        destination = InspectedPostgres(database_url, f"world_{next(examples)}", removes_deleted=removes_deleted)
        try:
            deliveries = interleaved(drawn)
            asked: set[str] = set()
            for start in range(0, len(deliveries), batch_size):
                winners = fold(deliveries[start : start + batch_size])
                written = await destination.write(ACCOUNT, winners)
                asked |= {w.record.object_id for w, one in zip(winners, written, strict=True) if one.ask_stripe}
            by_id = {history.deliveries[0].object_id: history for history in drawn}
            answers = [answer_of(by_id[object_id], object_id) for object_id in sorted(asked)]
            if answers:
                await destination.write(ACCOUNT, fold(answers))
            rows = await destination.rows("customers")
            for object_id, history in by_id.items():
                row = rows[ACCOUNT.id, ACCOUNT.livemode, object_id]
                assert row["deleted"] == (history.truth is None)
                assert history.truth is None or row["data"] == history.truth
        finally:
            await destination.close()

    check = settings(max_examples=9, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    worlds = _draw(check)
    assert len(worlds) == 9
    for drawn in worlds:
        await run(drawn)


def _draw(check: settings) -> list[list[History]]:
    found: list[list[History]] = []

    @check
    @given(worlds())
    def collect(drawn: list[History]) -> None:
        found.append(drawn)

    collect()
    return found
