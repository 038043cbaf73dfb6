"""What a connection wants of what comes: its start date, its resources, and nothing that it omits."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.destination_writer.delivery import fold
from services.destination_writer.omission import make_omissions
from services.destination_writer.routing import Route
from tests.contracts import ACCOUNT
from tests.factories import CONNECTION, make_part, make_record
from tests.fakes import MemoryDestination
from tests.histories import History, answer_of, histories

START = 1_772_323_200
RESOURCES = frozenset({"customer", "invoice", "invoiceitem", "refund"})


def make_route(start: int | None = START, **omitted: list[str]) -> Route:
    return Route(CONNECTION, ACCOUNT, RESOURCES, ("dst_1",), start=start, omissions=make_omissions(omitted))


@pytest.mark.parametrize(
    ("fields", "is_wanted"),
    [
        ({"created": START}, True),
        ({"created": START - 1}, False),
        ({"date": START}, True),
        ({"date": START - 1}, False),
        ({"created": START, "date": START - 1}, True),
        ({"created": None, "date": START - 1}, False),
        ({}, True),
        ({"created": "yesterday"}, True),
        ({"created": True}, True),
        ({"created": START - 0.5}, False),
    ],
)
def test_object_is_wanted_if_it_was_made_at_or_after_the_start(fields: dict[str, Any], is_wanted: bool) -> None:
    assert bool(make_route().admit([make_record(**fields)])) is is_wanted
    assert make_route(None).admit([make_record(**fields)])


def test_event_is_judged_by_its_object_and_not_by_its_own_time() -> None:
    late = make_record(stamp=START + 1000, event_type="customer.updated", created=START - 1)
    gone = make_record(stamp=START + 1000, event_type="customer.deleted", is_deleted=True, created=START - 1)
    assert make_route().admit([late, gone]) == []


def test_refund_is_an_object_of_its_own() -> None:
    refund = make_record("re_1", resource="refund", created=START, charge="ch_made_before")
    assert make_route().admit([refund]) == [refund]


def test_body_that_does_not_parse_is_left_to_its_destination() -> None:
    broken = replace(make_record(), body=b"{")
    assert make_route().admit([broken]) == [broken]


def test_only_chosen_resources_are_wanted() -> None:
    records = [make_record("ch_1", resource="charge", created=START), make_record(created=START)]
    assert [record.resource.name for record in make_route().admit(records)] == ["customer"]
    part = make_part("cn_1", ["cnli_1"], stamp=1, is_complete=True, child="credit_note_line_item")
    assert make_route().admit_parts([part]) == []


def test_part_of_a_child_set_goes_with_its_parent() -> None:
    [part] = make_route().admit_parts([make_part("in_1", ["il_1"], stamp=1, is_complete=True)])
    assert part.parent_from == START


def test_nothing_is_looked_at_where_nothing_is_omitted() -> None:
    record = make_record(created=START, previous={"name": "a"})
    part = make_part("in_1", ["il_1"], stamp=1, is_complete=True)
    assert make_route(None).admit([record])[0] is record
    assert make_route(None).admit_parts([part])[0].bodies is part.bodies
    assert make_route(None, customer=["email"]).admit([record])[0] is record


def test_omitted_field_is_in_neither_body_nor_previous_attributes() -> None:
    record = make_record(email="x@y.example", name="b", previous={"email": "old@y.example", "name": "a"})
    [shown] = make_route(None, customer=["email"]).admit([record])
    assert "email" not in json.loads(shown.body)
    assert json.loads(shown.previous or b"") == {"name": "a"}


def test_change_of_nothing_but_omitted_fields_tells_nothing_of_what_was_before() -> None:
    record = make_record(address={"city": "Bern"}, previous={"address": {"line1": "old"}})
    [shown] = make_route(None, customer=["address.line1"]).admit([record])
    assert (json.loads(shown.body)["address"], shown.previous) == ({"city": "Bern"}, None)


def test_address_that_came_with_an_omitted_field_alone_still_shows_that_it_came() -> None:
    record = make_record(address=None, previous={"address": {"line1": "old"}})
    [shown] = make_route(None, customer=["address.line1"]).admit([record])
    assert json.loads(shown.previous or b"") == {"address": {}}


def test_path_through_a_child_list_holds_for_the_parent_and_for_its_parts() -> None:
    route = make_route(None, invoice=["lines.data.amount"])
    invoice = make_record("in_1", resource="invoice", lines={"data": [{"id": "il_1", "amount": 1}], "has_more": True})
    assert json.loads(route.admit([invoice])[0].body)["lines"] == {"data": [{"id": "il_1"}], "has_more": True}
    [part] = route.admit_parts([make_part("in_1", ["il_2"], stamp=1, is_complete=True)])
    assert [json.loads(body) for body in part.bodies] == [{"id": "il_2", "object": "line_item"}]


def test_children_whose_list_is_omitted_are_not_written() -> None:
    route = make_route(None, invoice=["lines"])
    assert route.admit_parts([make_part("in_1", ["il_2"], stamp=1, is_complete=True)]) == []


@settings(max_examples=600, deadline=None)
@given(histories(), st.sampled_from([["name"], ["balance"], ["metadata.n"], ["metadata", "name"]]))
async def test_row_equals_stripe_without_the_omitted_whatever_the_order(history: History, paths: list[str]) -> None:
    """The rule of versions sees what is stored: what differs in omitted fields alone is equal."""
    route, destination, has_asked = make_route(None, customer=paths), MemoryDestination(), False
    for record in history.deliveries:
        written = await destination.write(ACCOUNT, fold(route.admit([record])))
        has_asked |= written[0].ask_stripe
    if has_asked:
        await destination.write(ACCOUNT, fold(route.admit([answer_of(history)])))
    [row] = (await destination.rows("customers")).values()
    assert row["deleted"] == (history.truth is None)
    if history.truth is not None:
        [shown] = route.admit([make_record(**{k: v for k, v in history.truth.items() if k not in ("id", "object")})])
        assert row["data"] == json.loads(shown.body)


@settings(max_examples=200, deadline=None)
@given(histories())
async def test_events_that_change_an_omitted_field_alone_ask_nothing(history: History) -> None:
    """What an event tells of before leads from the document back to itself, and is no news."""
    route, destination = make_route(None, customer=["name", "balance", "metadata"]), MemoryDestination()
    for record in history.deliveries:
        written = await destination.write(ACCOUNT, fold(route.admit([record])))
        assert not written[0].ask_stripe
