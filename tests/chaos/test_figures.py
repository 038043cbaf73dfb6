"""What a run has shown is right only if nothing at all is wrong."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.chaos.figures import Figures
from tests.chaos.ledger import Calls, Rows, page_of

RIGHT = Figures(
    seed=1,
    events=200,
    seconds=10.0,
    kills={"kafka": 2},
    at_points={},
    pauses=0,
    rows=Rows(500, (), (), (), ()),
    forgotten=(),
    dead_letters=0,
    deadlocks=0,
    calls=Calls(made=30, retrieved=20, rate_limited=1, pages_again=1, most_pages_again=1),
    questions={"tie": 4, "invoice.paid": 6},
    quiet_seconds=3.0,
)
PAGE = {"method": "GET", "status": 200, "path": "/v1/charges"}


def test_nothing_wrong_is_right() -> None:
    assert RIGHT.is_right
    assert RIGHT.counts == {"lost": 0, "duplicate": 0, "stale": 0, "zombie": 0}
    assert json.loads(RIGHT.as_json()) | {"is_right": True, "refetch_share": 0.1, "tie_share": 0.02} == json.loads(
        RIGHT.as_json()
    )


@pytest.mark.parametrize("figure", ["lost", "duplicate", "stale", "zombie"])
def test_each_difference_of_a_row_is_wrong_and_named(figure: str) -> None:
    wrong = replace(RIGHT, rows=replace(RIGHT.rows, **{figure: ("charges ch_1",)}))
    assert not wrong.is_right
    assert wrong.counts[figure] == 1
    assert f"  {figure} charges ch_1" in list(wrong.lines())


def test_an_accepted_event_that_was_forgotten_is_lost_although_its_row_was_healed() -> None:
    assert replace(RIGHT, forgotten=("event evt_1",)).counts["lost"] == 1


def test_a_dead_letter_is_wrong() -> None:
    assert not replace(RIGHT, dead_letters=1).is_right


def test_a_deadlock_is_wrong() -> None:
    assert not replace(RIGHT, deadlocks=1).is_right


def test_a_page_is_known_by_list_range_and_cursor() -> None:
    first = page_of(PAGE | {"query": "limit=100&created[lt]=9&created[gte]=1"})
    assert first == page_of(PAGE | {"query": "limit=100&created[lt]=9&created[gte]=5"})
    assert first != page_of(PAGE | {"query": "limit=100&created[lt]=9&created[gte]=1&starting_after=ch_1"})
    assert page_of(PAGE | {"query": "limit=100&created[gte]=1"}) is None
    assert page_of(PAGE | {"query": "created[lt]=9", "status": 429}) is None
