"""Times as people write and read them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from services.console.task import WrongUseError
from services.console.times import ago, moment, parse_moment, parse_start_date, utc_moment

NOW = datetime(2026, 11, 25, 12, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("all", None),
        (" All ", None),
        ("today", "2026-11-25T00:00:00Z"),
        ("90d", "2026-08-27T00:00:00Z"),
        ("2w", "2026-11-11T00:00:00Z"),
        ("1y", "2025-11-25T00:00:00Z"),
        ("2Y", "2024-11-25T00:00:00Z"),
        ("2025-01-31", "2025-01-31T00:00:00Z"),
        ("2025-01-31T12:00:00", "2025-01-31T12:00:00Z"),
        ("2025-01-31T12:00:00+02:00", "2025-01-31T10:00:00Z"),
    ],
)
def test_start_date_is_read_in_utc(text: str, date: str | None) -> None:
    assert parse_start_date(text, NOW) == date


def test_a_year_before_a_leap_day_is_the_day_before() -> None:
    assert parse_start_date("1y", datetime(2028, 2, 29, 12, tzinfo=UTC)) == "2027-02-28T00:00:00Z"


@pytest.mark.parametrize("text", ["", "soon", "90", "90x", "31.01.2025", "9999y", "-1d", "2025-13-01"])
def test_what_is_no_start_date_is_named_with_what_would_be(text: str) -> None:
    with pytest.raises(WrongUseError, match="give all, today, 90d, 2y, or a date such as 2025-01-31") as refused:
        parse_start_date(text, NOW)
    assert refused.value.field == "start_date"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("24h", "2026-11-24T12:30:15Z"),
        ("7d", "2026-11-18T12:30:15Z"),
        ("today", "2026-11-25T00:00:00Z"),
        ("2026-11-01", "2026-11-01T00:00:00Z"),
    ],
)
def test_period_ends_now(text: str, at: str) -> None:
    assert parse_moment(text, NOW, field="since") == at


def test_what_is_no_time_is_named_with_its_option() -> None:
    with pytest.raises(WrongUseError, match="--until “later” can't be read"):
        parse_moment("later", NOW, field="until")


@pytest.mark.parametrize(
    ("iso", "text"),
    [
        (None, "never"),
        ("2026-11-25T12:30:16Z", "0 s ago"),
        ("2026-11-25T12:30:03Z", "12 s ago"),
        ("2026-11-25T12:27:00Z", "3 min ago"),
        ("2026-11-24T12:00:00Z", "24 h ago"),
        ("2026-11-20T12:00:00Z", "5 days ago"),
        ("2025-01-02T12:00:00Z", "2025-01-02"),
    ],
)
def test_time_that_has_passed_is_told_in_its_largest_unit(iso: str | None, text: str) -> None:
    assert ago(iso, NOW) == text


def test_moment_is_shown_in_the_zone_of_the_machine() -> None:
    assert (moment("2026-11-25T12:00:00+02:00"), moment(None)) == ("2026-11-25 10:00:00 UTC", "")


def test_date_that_decides_is_shown_in_utc() -> None:
    assert utc_moment("2025-01-31T00:00:00Z") == "2025-01-31"
    assert utc_moment("2025-01-31T01:02:03+01:00") == "2025-01-31 00:02:03 UTC"
