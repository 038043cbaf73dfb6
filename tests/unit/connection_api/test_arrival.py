from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.connection_api.overview import make_backfill
from services.connection_api.views.arrival import Arrival, arrival_of
from services.connection_api.views.figures import TableFigures
from shared.sync_progress import Counts, ResourceProgress
from shared.syncs import Status
from tests.unit.connection_api.test_dashboard import make_card

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


def make_table(resource: str, rows: int) -> TableFigures:
    return TableFigures(resource, f"{resource}s", resource, rows, rows, None, None, ())


def tell(status: Status, *tables: TableFigures, share: float = 0.5, **changes: Any) -> Arrival | None:
    row: dict[str, Any] = {
        "sync_id": "syn_1",
        "sync_cause": None,
        "sync_resources": ["charge"],
        "sync_started_at": NOW - timedelta(seconds=100),
        "sync_finished_at": None if status in (Status.QUEUED, Status.RUNNING, Status.PAUSED) else NOW,
    }
    counts = Counts(inserted=2_000)
    progress = ResourceProgress("charge", share, 2_000, confirmed=False, cause_code=None, cause=None, counts=counts)
    card = make_card(backfill=make_backfill(row | changes, status, [progress]), rows=sum(one.rows for one in tables))
    return arrival_of(card, tables, NOW)


def test_rows_arrive_at_a_rate_with_a_guess_of_the_rest() -> None:
    arrival = tell(Status.RUNNING, make_table("charge", 2_000), make_table("refund", 0))

    assert arrival is not None
    assert (arrival.rows, arrival.tables, arrival.rate, arrival.remaining) == (2_000, 1, "20 rows/s", "about 2 min")
    assert arrival.question is None
    assert arrival.took is None


@pytest.mark.parametrize("status", [Status.QUEUED, Status.PAUSED])
def test_what_does_not_run_has_no_rate(status: Status) -> None:
    arrival = tell(status, make_table("charge", 2_000))

    assert arrival is not None
    assert (arrival.rate, arrival.remaining) == (None, None)


def test_the_end_is_a_question_that_the_tables_answer() -> None:
    everything = [make_table(name, 5) for name in ("charge", "refund", "balance_transaction", "dispute")]
    arrival = tell(Status.SUCCEEDED, *everything)

    assert arrival is not None
    assert arrival.took == "1 min 40 s"
    assert arrival.question is not None
    assert arrival.question.name == "revenue_by_day"


def test_where_no_question_fits_or_no_row_is_there_none_is_asked() -> None:
    fits_none, has_none = tell(Status.SUCCEEDED, make_table("coupon", 5)), tell(Status.SUCCEEDED)

    assert fits_none is not None
    assert has_none is not None
    assert fits_none.question is None
    assert has_none.question is None


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_what_has_not_gone_well_is_told_elsewhere(status: Status) -> None:
    assert tell(status, make_table("charge", 5)) is None


def test_a_part_of_the_history_is_no_news_once_it_is_there() -> None:
    assert tell(Status.SUCCEEDED, make_table("charge", 5), sync_trigger="connect", synced=23) is None
    assert tell(Status.RUNNING, make_table("charge", 5), sync_trigger="connect", synced=23) is not None
