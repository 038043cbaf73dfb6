"""Whether a row is what Stripe has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.destination_writer.comparison import Compared, Finding, RowState, compare, differing_fields
from shared.bounds import SKEW
from tests.factories import make_record

RECORD = make_record(stamp=100, name="Ada")
GONE = make_record(stamp=100, is_deleted=True)


def row(stamp: int = 90, *, is_deleted: bool = False, **fields: Any) -> RowState:
    body = {"id": "cus_1", "object": "customer", **fields}
    return RowState(stamp, is_deleted, body == json.loads(RECORD.body), json.dumps(body))


@pytest.mark.parametrize(
    ("state", "finding"),
    [
        (None, Finding.MISSING),
        (row(name="Ada"), Finding.EQUAL),
        (row(120, name="Ada"), Finding.EQUAL),
        (row(120, name="Eve"), Finding.NEWER),
        (row(name="Ada", is_deleted=True), Finding.MISSING),
        (row(100, name="Ada", is_deleted=True), Finding.NEWER),
    ],
)
def test_object_that_stripe_has(state: RowState | None, finding: Finding) -> None:
    assert compare(RECORD, state, now=1000.0) == Compared(finding)


@pytest.mark.parametrize("stamp", [90, 100])
def test_object_that_differs_names_its_fields(stamp: int) -> None:
    assert compare(RECORD, row(stamp, name="Eve", email="e@x.example"), now=1000.0) == Compared(
        Finding.DIFFERENT, ("email", "name")
    )


@pytest.mark.parametrize(
    ("state", "finding"),
    [
        (None, Finding.EQUAL),
        (row(is_deleted=True), Finding.EQUAL),
        (row(), Finding.EXTRA),
        (row(101), Finding.NEWER),
    ],
)
def test_object_that_stripe_does_not_have(state: RowState | None, finding: Finding) -> None:
    assert compare(GONE, state, now=1000.0) == Compared(finding)


def test_fields_are_named_down_to_where_they_differ() -> None:
    one = {"a": {"b": {"c": 1, "d": 2}}, "list": [{"e": 1}], "same": 1, "gone": None}
    other = {"a": {"b": {"c": 1, "d": 3}}, "list": [{"e": 2}], "same": 1}
    assert differing_fields(json.dumps(one).encode(), json.dumps(other)) == ("a.b.d", "gone", "list")


def test_the_number_of_named_fields_is_bounded() -> None:
    assert len(differing_fields(json.dumps({f"f{n}": n for n in range(100)}).encode(), "{}")) == 20


FUTURE = 1000 + SKEW + 1  # of a clock that shows 1000


@pytest.mark.parametrize(
    ("record", "state", "expected"),
    [
        (RECORD, row(FUTURE, name="Eve"), Compared(Finding.DIFFERENT, ("name", "_stamp"))),
        (RECORD, row(FUTURE, name="Ada"), Compared(Finding.DIFFERENT, ("_stamp",))),
        (RECORD, row(FUTURE, name="Ada", is_deleted=True), Compared(Finding.MISSING)),
        (GONE, row(FUTURE), Compared(Finding.EXTRA)),
        (GONE, row(FUTURE, is_deleted=True), Compared(Finding.EQUAL)),
        (RECORD, row(FUTURE - 1, name="Eve"), Compared(Finding.NEWER)),
    ],
)
def test_row_from_the_future_never_passes(record: Any, state: RowState, expected: Compared) -> None:
    assert compare(record, state, now=1000.0) == expected
