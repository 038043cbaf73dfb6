"""When the next scheduled comparison begins, over nights in which the clocks move."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from services.connection_api.views.verified import noun_of
from services.sync_worker.verifying import LONGEST_SLEEP, SHORTEST_SLEEP, pause_until
from shared.errors import PayloadError
from shared.verify_schedules import HowOften, next_run, read_zone

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "hour", "zone", "expected"),
    [
        ("2026-01-10T00:30", 2, BERLIN, "2026-01-10T01:00"),
        ("2026-01-10T01:00", 2, BERLIN, "2026-01-11T01:00"),  # the moment itself is over
        ("2026-07-10T23:30", 2, BERLIN, "2026-07-11T00:00"),
        ("2026-12-31T23:30", 0, "UTC", "2027-01-01T00:00"),
        # Berlin, 29 March 2026: 02:00 becomes 03:00.
        ("2026-03-28T12:00", 2, BERLIN, "2026-03-29T01:00"),  # 03:00 there, when the clocks have moved
        ("2026-03-29T01:00", 2, BERLIN, "2026-03-30T00:00"),
        ("2026-03-28T12:00", 3, BERLIN, "2026-03-29T01:00"),
        # Berlin, 25 October 2026: 03:00 becomes 02:00, so that 02:00 comes twice.
        ("2026-10-24T12:00", 2, BERLIN, "2026-10-25T00:00"),
        ("2026-10-25T00:00", 2, BERLIN, "2026-10-26T01:00"),
        ("2026-10-25T00:30", 2, BERLIN, "2026-10-26T01:00"),
        # New York, 8 March 2026: 02:00 becomes 03:00.
        ("2026-03-07T12:00", 2, NEW_YORK, "2026-03-08T07:00"),
        ("2026-03-08T07:00", 2, NEW_YORK, "2026-03-09T06:00"),
        # New York, 1 November 2026: 02:00 becomes 01:00.
        ("2026-10-31T12:00", 1, NEW_YORK, "2026-11-01T05:00"),
        ("2026-11-01T05:30", 1, NEW_YORK, "2026-11-02T06:00"),
    ],
)
def test_next_day_begins_at_the_hour_of_the_zone(now: str, hour: int, zone: str, expected: str) -> None:
    assert next_run(at(now), hour, ZoneInfo(zone), HowOften.DAILY) == at(expected)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-03-23T12:00", "2026-03-29T01:00"),  # Monday; on Sunday the clocks move
        ("2026-03-29T00:59", "2026-03-29T01:00"),
        ("2026-03-29T01:00", "2026-04-05T00:00"),
        ("2026-10-18T00:00", "2026-10-25T00:00"),
    ],
)
def test_a_week_has_one_run_on_sunday(now: str, expected: str) -> None:
    assert next_run(at(now), 2, ZoneInfo(BERLIN), HowOften.WEEKLY) == at(expected)


def test_every_night_of_a_year_has_one_run() -> None:
    for zone in (ZoneInfo(BERLIN), ZoneInfo(NEW_YORK)):
        for hour in range(24):
            now, days = at("2026-01-01T12:00"), set()
            for _ in range(365):
                coming = next_run(now, hour, zone, HowOften.DAILY)
                assert coming is not None
                assert coming > now
                now = coming
                days.add(now.astimezone(zone).date())
            assert len(days) == 365


def test_never_has_no_run() -> None:
    assert next_run(at("2026-01-01T12:00"), 2, UTC, HowOften.NEVER) is None


@pytest.mark.parametrize("name", ["", "Europe/Bielefeld", "Europe", "../etc/passwd", "x" * 65])
def test_a_zone_that_nobody_knows_is_refused(name: str) -> None:
    with pytest.raises(PayloadError) as refused:
        read_zone(name)
    assert refused.value.field == "zone"


@pytest.mark.parametrize(
    ("next_at", "expected"),
    [(None, LONGEST_SLEEP), ("2026-01-01T12:00:20", 20.0), ("2026-01-01T11:00", SHORTEST_SLEEP),
     ("2026-01-02T12:00", LONGEST_SLEEP)],
)  # fmt: skip
def test_the_loop_sleeps_until_the_next_run(next_at: str | None, expected: float) -> None:
    assert pause_until(at(next_at) if next_at else None, at("2026-01-01T12:00")) == expected


def test_a_run_by_day_is_called_no_night() -> None:
    assert [noun_of(HowOften.DAILY, hour) for hour in (0, 5, 6, 19, 20)] == ["night", "night", "day", "day", "night"]
    assert noun_of(HowOften.WEEKLY, 2) == "week"
