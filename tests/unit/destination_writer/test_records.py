"""From a Kafka record to what is to be done with it, and no body that ends anything but itself."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from services.destination_writer.delivery import fold
from services.destination_writer.records import NEWEST_OF_LIST, Parsed, Position, parse_live, parse_snapshot, positions
from shared.errors import MessageError
from shared.messages import EventHeaders, Origin, RecordHeaders
from shared.stripe_api import API_VERSION
from tests.factories import make_message

HEADERS = EventHeaders("con_1", received_at_ms=1_700_000_000_123).encode()


def make_event(
    kind: str = "customer.updated", subject: dict[str, Any] | None = None, previous: Any = None, **fields: Any
) -> ConsumerRecord:
    data: dict[str, Any] = {"object": subject or {"id": "cus_1", "object": "customer", "name": "Ada"}}
    if previous is not None:
        data["previous_attributes"] = previous
    event = {"id": "evt_1", "object": "event", "type": kind, "created": 100, "api_version": API_VERSION, "data": data}
    return make_message(json.dumps(event | fields).encode(), headers=HEADERS, partition=3, offset=9)


def make_snapshot(value: bytes = b'{"id": "cus_1"}', **fields: Any) -> ConsumerRecord:
    headers = {"connection_id": "con_1", "resource": "customer", "stamp": 90, "origin": Origin.LISTED} | fields
    return make_message(value, key=b"con_1:cus_1", headers=RecordHeaders(**headers).encode(), topic="snapshots")


def asked(parsed: Parsed) -> list[tuple[str, str]]:
    return [(refetch.resource, refetch.object_id) for refetch in parsed.refetches]


def test_event_becomes_a_record_with_its_stamp_and_what_it_tells_of_before() -> None:
    parsed = parse_live(make_event(previous={"name": "Al"}))
    record, entry = parsed.record, parsed.event
    assert record is not None
    assert entry is not None
    assert (record.resource.name, record.object_id, record.stamp, record.origin) == ("customer", "cus_1", 100, "event")
    assert json.loads(record.body) == {"id": "cus_1", "object": "customer", "name": "Ada"}
    assert (record.previous, record.is_deleted, record.slice_id) == (b'{"name": "Al"}', False, None)
    assert (entry.event_id, entry.object_id, entry.received_at_ms) == ("evt_1", "cus_1", 1_700_000_000_123)
    assert parsed.position == record.position == entry.position == Position("events", 3, 9)


def test_body_keeps_the_bytes_that_stripe_sent() -> None:
    message = make_event()
    message.value = message.value.replace(b'"name": "Ada"', b'"name":   "Ad\\u0061", "amount": 1.50')
    record = parse_live(message).record
    assert record is not None
    assert record.body.endswith(b'"name":   "Ad\\u0061", "amount": 1.50}')


@pytest.mark.parametrize(
    ("kind", "subject", "is_deleted"),
    [
        ("customer.deleted", {"id": "cus_1", "object": "customer"}, True),
        ("customer.subscription.deleted", {"id": "sub_1", "object": "subscription"}, False),
    ],
)
def test_cancelled_subscription_is_no_deletion(kind: str, subject: dict[str, Any], is_deleted: bool) -> None:
    record = parse_live(make_event(kind, subject)).record
    assert record is not None
    assert record.is_deleted is is_deleted


@pytest.mark.parametrize("version", ["2019-05-16", None])
def test_event_of_another_api_version_is_a_question_for_stripe(version: str | None) -> None:
    parsed = parse_live(make_event(api_version=version))
    assert (parsed.record, asked(parsed)) == (None, [("customer", "cus_1")])
    assert parsed.refetches[0].stamp == 100


def test_charge_hints_at_balance_transactions_by_the_tail_of_their_list() -> None:
    parsed = parse_live(make_event("charge.succeeded", {"id": "ch_1", "object": "charge"}))
    assert parsed.record is not None
    assert ("balance_transaction", NEWEST_OF_LIST) in asked(parsed)


def test_discount_hints_at_its_customer_by_id() -> None:
    discount = {"id": "di_1", "object": "discount", "customer": "cus_7"}
    assert ("customer", "cus_7") in asked(parse_live(make_event("customer.discount.created", discount)))


def test_hint_without_an_id_asks_for_the_newest_of_the_list() -> None:
    discount = {"id": "di_1", "object": "discount", "customer": None}
    assert ("customer", NEWEST_OF_LIST) in asked(parse_live(make_event("customer.discount.created", discount)))


def test_singleton_is_asked_for_without_an_id() -> None:
    parsed = parse_live(make_event("balance.available", {"object": "balance", "available": []}))
    assert (parsed.record, asked(parsed)) == (None, [("balance_transaction", NEWEST_OF_LIST), ("balance", "")])


def test_unknown_resource_is_only_logged() -> None:
    parsed = parse_live(make_event("brand.new", {"id": "x_1", "object": "brand_new"}))
    assert (parsed.record, parsed.refetches) == (None, ())
    assert parsed.event is not None
    assert (parsed.event.resource, parsed.event.object_id) == (None, "x_1")


def test_preview_without_an_id_is_only_logged() -> None:
    parsed = parse_live(make_event("invoice.upcoming", {"object": "invoice"}))
    assert (parsed.record, asked(parsed)) == (None, [])


def test_previous_attributes_that_are_no_object_are_left_out() -> None:
    record = parse_live(make_event(previous=[1])).record
    assert record is not None
    assert record.previous is None


def test_snapshot_becomes_a_record_of_its_slice() -> None:
    record = parse_snapshot(make_snapshot(slice_id=7, is_deleted=True)).record
    assert record is not None
    assert (record.object_id, record.stamp, record.origin) == ("cus_1", 90, Origin.LISTED)
    assert (record.slice_id, record.is_deleted) == (7, True)


def test_part_of_a_child_set_keeps_the_bytes_of_each_child() -> None:
    message = make_snapshot(b'{"data":[{"id":"a"}, {"id": "b"}]}', resource="invoice_line_item", parent_id="in_1")
    part = parse_snapshot(message).part
    assert part is not None
    assert (part.parent_resource, part.parent_id, part.is_complete) == ("invoice", "in_1", False)
    assert part.bodies == (b'{"id":"a"}', b'{"id": "b"}')


DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
EVENT = (
    b'{"id":"evt_1","object":"event","type":"customer.updated","created":100,"api_version":"%s","data":{"object":%s}}'
)
VERSION = API_VERSION.encode()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"not json", id="no JSON"),
        pytest.param(None, id="no value"),
        pytest.param(b"[]", id="array"),
        pytest.param(EVENT % (VERSION, b'{"object":"customer","id":"cus_1","name":"\xff"}'), id="bad UTF-8"),
        pytest.param(
            EVENT.replace(b'"data":{', b'"data":{"previous_attributes":{"name":"\xff"},')
            % (VERSION, b'{"object":"customer","id":"cus_1"}'),
            id="bad UTF-8 in previous attributes",
        ),
        pytest.param(EVENT % (VERSION, DEEP), id="deep JSON"),
        pytest.param(EVENT % (VERSION, b'{"object":"customer","id":5}'), id="id is a number"),
        pytest.param(EVENT % (VERSION, b'{"id":"cus_1"}'), id="no type"),
        pytest.param((EVENT % (VERSION, b"{}")).replace(b'"evt_1"', b'""'), id="no event id"),
        pytest.param((EVENT % (VERSION, b"{}")).replace(b"100", b"1e400"), id="huge time"),
        pytest.param(
            (EVENT % (VERSION, b'{"object":"customer","id":"cus_1"}')).replace(b":100,", b":99999999999999999999,"),
            id="time beyond 64 bits",
        ),
    ],
)
def test_event_that_can_not_be_used_is_named(value: bytes | None) -> None:
    with pytest.raises(MessageError):
        parse_live(make_message(value, headers=HEADERS))


@pytest.mark.parametrize("value", [b"not json", b"{}", DEEP, b'{"data": 3}', b'{"data":[{"id":"\xff"}]}'])
def test_part_of_a_child_set_that_can_not_be_used_is_named(value: bytes) -> None:
    with pytest.raises(MessageError):
        parse_snapshot(make_snapshot(value, resource="invoice_line_item", parent_id="in_1"))


@pytest.mark.parametrize(
    ("fields", "value"),
    [({"resource": "martian"}, b"{}"), ({"resource": "martian", "parent_id": "in_1"}, b"{}"), ({}, b"\xff")],
)
def test_snapshot_that_can_not_be_used_is_named(fields: dict[str, Any], value: bytes) -> None:
    with pytest.raises(MessageError):
        parse_snapshot(make_snapshot(value, **fields))


@pytest.mark.parametrize("name", ["connection", "resource", "stamp", "origin"])
def test_missing_header_is_named(name: str) -> None:
    message = make_snapshot()
    message.headers = tuple(header for header in message.headers if header[0] != name)
    with pytest.raises(MessageError, match=name):
        parse_snapshot(message)


@pytest.mark.parametrize(
    ("name", "value"),
    [("stamp", b"soon"), ("origin", b"guess"), ("slice", b"\xff"), ("stamp", b"9" * 30), ("stamp", b"-1")],
)
def test_wrong_header_is_named(name: str, value: bytes) -> None:
    message = make_snapshot()
    message.headers = (*(header for header in message.headers if header[0] != name), (name, value))
    with pytest.raises(MessageError):
        parse_snapshot(message)


@pytest.mark.parametrize("headers", [[], [("connection", b"con_1"), ("received_at_ms", b"now")]])
def test_event_without_its_headers_is_named(headers: list[tuple[str, bytes]]) -> None:
    message = make_event()
    message.headers = tuple(headers)
    with pytest.raises(MessageError, match="header"):
        parse_live(message)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["customer", "\ud800", "a\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "object", "customer"]), inner),
    max_leaves=6,
)
KINDS = st.sampled_from(["customer.updated", "customer.discount.created", "charge.succeeded", "balance.available", "x"])


@settings(max_examples=400, deadline=None)
@given(KINDS, VALUES, VALUES, st.sampled_from([API_VERSION, "2019-05-16"]))
def test_whatever_an_event_holds_it_is_parsed_or_named(kind: str, subject: Any, previous: Any, version: str) -> None:
    data = {"object": subject, "previous_attributes": previous}
    event = {"id": "evt_1", "object": "event", "type": kind, "created": 1, "api_version": version, "data": data}
    try:
        parsed = parse_live(make_message(json.dumps(event).encode(), headers=HEADERS))
    except MessageError:
        return
    if parsed.record:
        fold([parsed.record, parsed.record])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.lists(st.tuples(st.sampled_from(["connection", "stamp", "parent"]), st.binary())))
def test_whatever_a_snapshot_holds_it_is_parsed_or_named(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    message = make_snapshot(value)
    message.headers = (*message.headers, *headers)
    with suppress(MessageError):
        parse_snapshot(message)


def test_positions_follow_the_last_record_of_each_partition() -> None:
    batch = [Parsed("c", Position("t", p, o)) for p, o in ((0, 4), (1, 9), (0, 7), (0, 5))]
    assert positions(batch) == {("t", 0): 8, ("t", 1): 10}
