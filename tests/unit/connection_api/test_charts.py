"""Pictures are pure: the same numbers make the same outline, words and table."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from services.connection_api.dashboard.charts import shapes
from services.connection_api.dashboard.charts.pictures import (
    Point,
    bars,
    pair,
    percent_text,
    seconds_text,
    share,
    spark,
)
from services.connection_api.dashboard.pages import Pages

BEGIN = datetime(2026, 11, 20, tzinfo=UTC)
values = st.lists(st.none() | st.integers(min_value=0, max_value=10**9), max_size=60)


def hours(*counts: float | None) -> list[Point]:
    return [Point(BEGIN + timedelta(hours=number), count) for number, count in enumerate(counts)]


def test_the_highest_bar_fills_the_picture_and_the_others_are_its_share() -> None:
    assert shapes.bars([50, 100], height=48, top=100) == "M0 48v-24h3v24zM4 48v-48h3v48z"


def test_nothing_has_no_bar_and_something_small_has_one() -> None:
    assert shapes.bars([0, None, 1], height=48, top=100_000) == "M8 48v-1h3v1z"
    assert shapes.bars([0, 0], height=48, top=0) == ""


def test_a_gap_breaks_a_line_and_a_zero_does_not() -> None:
    assert shapes.line([0, 10, None, 5], height=10, top=10) == "M2 10L6 0M13 5h2"


@given(values)
def test_no_outline_leaves_the_picture(series: list[int | None]) -> None:
    top = shapes.highest(series)
    for tall in re.findall(r"v-([\d.]+)", shapes.bars(series, height=48, top=top)):
        assert 0 < float(tall) <= 48
    points = re.findall(r"[ML]([\d.-]+) ([\d.-]+)", shapes.line(series, height=48, top=top))
    assert all(0 <= float(x) <= 4 * len(series) and 0 <= float(y) <= 48 for x, y in points)


def test_words_and_table_tell_what_is_drawn_in_the_viewers_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    picture = bars("Events an hour", hours(*[0] * 22, 3, 1200, 7), zone=berlin)

    assert picture.sentence == "1,210 events; most at Sat 21 Nov, 00:00: 1,200."
    assert picture.table.head == ("Day", "Events", "Busiest hour")
    assert picture.table.rows == (("Sat 21 Nov", "1,207", "00:00 (1,200)"), ("Fri 20 Nov", "3", "23:00 (3)"))
    assert picture.top == "1,200"


def test_days_are_a_row_each_the_newest_first() -> None:
    days = [Point(BEGIN + timedelta(days=number), number) for number in range(3)]
    assert bars("Rows", days, zone=UTC, noun="rows").table.rows == (
        ("Sun 22 Nov", "2"), ("Sat 21 Nov", "1"), ("Fri 20 Nov", "0"),
    )  # fmt: skip


def test_a_pair_says_how_fast_it_is_now() -> None:
    picture = pair("Delay", hours(0.4, None, 0.5), hours(1.2, None, 1.5), zone=UTC)

    assert picture.sentence == "95 % within 1.5 s; at most 1.5 s."
    assert [row[1:] for row in picture.table.rows] == [("0.4 s", "1.2 s"), ("0.5 s", "1.5 s")]


def test_an_empty_series_says_so() -> None:
    page = Pages(str, lambda: BEGIN)
    for picture in (bars("Events", [], zone=UTC), bars("Events", hours(0, 0), zone=UTC), pair("D", [], [], zone=UTC)):
        source = '{% import "charts/picture.html" as charts %}{{ charts.figure(picture, "x") }}'
        text = page._environment.from_string(source).render(picture=picture)
        assert "No events yet" in text
        assert "<svg" not in text


def test_a_small_share_is_seen_and_is_never_nothing() -> None:
    assert share(1, 10_000, "the limit").title == "less than 0.1 % of the limit"
    assert share(1, 10_000, "the limit").width == 1
    assert share(0, 10_000, "the limit").width == 0
    assert share(3, 0, "the limit").percent == 0
    assert [share(n, 100, "it").tone for n in (69, 70, 90, 250)] == ["good", "warning", "bad", "bad"]
    assert share(250, 100, "it").width == 100


def test_numbers_are_said_as_people_say_them() -> None:
    assert [seconds_text(n) for n in (None, 0, 0.44, 9.96, 90, 7200, 200_000)] == [
        "–", "0.0 s", "0.4 s", "10 s", "1.5 min", "2 h", "2.3 d",
    ]  # fmt: skip
    assert [percent_text(n) for n in (0, 0.01, 3.14, 31.4)] == ["0 %", "less than 0.1 %", "3.1 %", "31 %"]
    assert spark([1, None, 2]).title == "3 rows in 3 days"
