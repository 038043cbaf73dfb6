"""What Stripe sends is read as far as it must be, whatever else is in it; the rest stays bytes."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bounds import LAST_NUMBER, LAST_SECOND, is_object_id
from shared.errors import MessageError
from shared.messages import EventHeaders, Origin, RecordHeaders, RequestSync, parse_command, parse_event
from shared.stripe_pages import parse_item

EVENT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "charge.updated",
    "created": 1_750_000_000,
    "data": {"object": {"id": "ch_1", "object": "charge"}},
}
CONNECTIONS = st.from_regex(r"con_[a-z0-9]{1,20}", fullmatch=True)
NAMES = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1)


def test_an_event_tells_what_it_is_about() -> None:
    event = parse_event(json.dumps(EVENT).encode())
    assert (event.id, event.type, event.subject.object, event.subject.id) == (
        "evt_1",
        "charge.updated",
        "charge",
        "ch_1",
    )


def test_fields_that_we_do_not_know_are_left_alone() -> None:
    event = parse_event(json.dumps(EVENT | {"novelty": [{"deep": 1}], "account": None}).encode())
    assert event.account is None


def test_an_event_about_an_object_without_an_id_is_an_event() -> None:
    event = parse_event(json.dumps(EVENT | {"data": {"object": {"object": "balance"}}}).encode())
    assert event.subject.id is None


def test_the_object_of_an_event_stays_the_bytes_that_came() -> None:
    body = json.dumps(EVENT).replace('"id": "ch_1"', '"id":   "ch_1", "amount": 1.50').encode()
    assert b'"id":   "ch_1", "amount": 1.50' in bytes(parse_event(body).data.object)


@pytest.mark.parametrize("missing", ["id", "type", "created", "data"])
def test_an_event_without_what_it_needs_is_none(missing: str) -> None:
    body = {name: value for name, value in EVENT.items() if name != missing}
    with pytest.raises(MessageError):
        parse_event(json.dumps(body).encode())


@given(st.binary())
def test_any_bytes_are_an_event_or_refused(body: bytes) -> None:
    with pytest.raises(MessageError):
        parse_event(body)


@pytest.mark.parametrize(
    ("body", "created"),
    [
        ({"id": "ch_1", "object": "charge", "created": 5}, 5),
        ({"id": "ii_1", "object": "invoiceitem", "date": 7}, 7),
        ({"object": "balance"}, None),
        ({"id": "cus_1", "object": "customer", "created": 0}, 0),
    ],
)
def test_an_object_tells_when_it_was_created_if_it_knows(body: dict[str, Any], created: int | None) -> None:
    assert parse_item(json.dumps(body).encode()).created_at == created


def test_a_deleted_object_says_so() -> None:
    assert parse_item(b'{"id":"cus_1","object":"customer","deleted":true}').deleted


@given(
    st.builds(
        RecordHeaders,
        CONNECTIONS,
        NAMES,
        st.integers(),
        st.sampled_from(Origin),
        slice_id=st.none() | st.integers(0, LAST_NUMBER),
        is_deleted=st.booleans(),
        parent_id=st.none() | NAMES.filter(is_object_id),
        is_complete=st.booleans(),
    )
)
def test_the_headers_of_a_record_come_back(headers: RecordHeaders) -> None:
    assert RecordHeaders.decode(headers.encode()) == headers


@given(CONNECTIONS, st.integers(0, LAST_SECOND * 1000))
def test_the_headers_of_an_event_come_back(connection_id: str, received_at_ms: int) -> None:
    headers = EventHeaders(connection_id, received_at_ms)
    assert EventHeaders.decode(headers.encode()) == headers


@given(st.lists(st.tuples(st.sampled_from(["connection", "resource", "stamp", "origin", "slice"]), st.binary())))
def test_any_headers_are_read_or_refused(headers: list[tuple[str, bytes]]) -> None:
    for kind in (RecordHeaders, EventHeaders):
        with suppress(MessageError):
            assert kind.decode(headers).connection_id == dict(headers)["connection"].decode("utf-8", "replace")


def test_a_command_comes_back() -> None:
    command = RequestSync(connection_id="con_1", sync_id="syn_1")
    assert parse_command(command.model_dump_json().encode()) == command


@pytest.mark.parametrize(
    "value", [b"", b"[]", b'{"type":"other"}', b'{"connection_id":"c","sync_id":"s","schema_version":2}', b"\xff"]
)
def test_a_command_that_we_do_not_know_is_refused(value: bytes) -> None:
    with pytest.raises(MessageError):
        parse_command(value)
