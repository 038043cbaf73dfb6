"""What becomes of a signed body."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.acceptance import find_key
from shared.errors import MessageError
from tests.unit.webhook_gateway.webhooks import ENDPOINT, make_body, make_event

THIN = {"id": "evt_1", "object": "v2.core.event", "type": "v1.customer.created", "created": "2026-11-01T00:00:00Z"}
DEEP = b"[" * 100_000 + b"]" * 100_000


def with_object(**fields: Any) -> bytes:
    return make_body(data={"object": fields})


def test_versions_of_an_object_meet_under_one_key() -> None:
    assert find_key(make_body(), ENDPOINT) == b"con_1:cus_1"


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "customer.brand_new_thing"},
        {"api_version": "2031-01-01.zinnia"},
        {"account": "acct_1"},
        {"account": None},
        {"request": {"id": None}, "brand_new_field": [1]},
    ],
)
def test_what_is_new_or_unknown_is_published_like_the_rest(fields: dict[str, Any]) -> None:
    assert find_key(make_body(**fields), ENDPOINT) == b"con_1:cus_1"


def test_preview_of_an_invoice_is_not_kept() -> None:
    body = make_body(type="invoice.upcoming", data={"object": {"object": "invoice"}})
    assert find_key(body, ENDPOINT) is None


@pytest.mark.parametrize("subject", [{"object": "balance"}, {"object": "tax.settings"}])
def test_event_about_what_has_no_id_is_published_as_a_hint(subject: dict[str, Any]) -> None:
    assert find_key(make_body(type="balance.available", data={"object": subject}), ENDPOINT) == b"con_1:evt_1"


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("not_json", b""),
        ("not_json", b"hello"),
        ("not_json", b"\xff\xfe"),
        ("not_json", make_body()[:-1]),
        ("not_json", b'{"unknown": ' + DEEP + b"}"),
        ("not_an_event", b"[]"),
        ("not_an_event", b"null"),
        ("not_an_event", b"7"),
        ("not_an_event", b"{}"),
        ("not_an_event", DEEP),
        ("not_an_event", make_body(object="charge")),
        ("not_an_event", make_body(id="")),
        ("not_an_event", make_body(created="today")),
        ("not_an_event", make_body(data={})),
        ("not_an_event", make_body(data={"object": None})),
        ("not_an_event", with_object(id="cus_1")),
        ("not_an_event", with_object(id=7, object="customer")),
        ("thin_event", json.dumps(THIN).encode()),
        ("object_id_missing", with_object(object="customer")),
        ("object_id_missing", with_object(object="customer", id="")),
        ("object_id_missing", with_object(object="brand_new_thing")),
        ("wrong_mode", make_body(livemode=False)),
        ("wrong_account", make_body(account="acct_2")),
    ],
)
def test_unusable_body_is_told_by_its_code(code: str, body: bytes) -> None:
    with pytest.raises(MessageError) as raised:
        find_key(body, ENDPOINT)
    assert raised.value.code == code
    assert raised.value.message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["event", "v2."]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(make_event())), inner),
    max_leaves=8,
)


@given(st.one_of(st.binary(), json_values.map(json.dumps).map(str.encode)))
def test_any_body_is_either_used_or_refused_with_a_reason(body: bytes) -> None:
    with suppress(MessageError):
        find_key(body, ENDPOINT)


@given(
    st.dictionaries(st.sampled_from(["id", "type", "livemode", "account", "data", "object", "created"]), json_values)
)
def test_any_field_of_an_event_may_be_odd(fields: dict[str, Any]) -> None:
    with suppress(MessageError):
        find_key(json.dumps(make_event(**fields)).encode(), ENDPOINT)
