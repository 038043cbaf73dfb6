"""What becomes of a signed body."""

from __future__ import annotations

import functools
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.acceptance import find_key
from shared.errors import MessageError
from tests.unit.webhook_gateway.webhooks import ENDPOINT, NOW, make_body, make_event

THIN = {"id": "evt_1", "object": "v2.core.event", "type": "v1.customer.created", "created": "2026-11-01T00:00:00Z"}
DEEP = b"[" * 100_000 + b"]" * 100_000
NESTED: Any = functools.reduce(lambda inner, _: [inner], range(300), 1)


def with_object(**fields: Any) -> bytes:
    return make_body(data={"object": fields})


def test_versions_of_an_object_meet_under_one_key() -> None:
    assert find_key(make_body(), ENDPOINT, now=NOW) == b"con_1:cus_1"


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
    assert find_key(make_body(**fields), ENDPOINT, now=NOW) == b"con_1:cus_1"


def test_preview_of_an_invoice_is_not_kept() -> None:
    body = make_body(type="invoice.upcoming", data={"object": {"object": "invoice"}})
    assert find_key(body, ENDPOINT, now=NOW) is None


@pytest.mark.parametrize("subject", [{"object": "balance"}, {"object": "tax.settings"}])
def test_event_about_what_has_no_id_is_published_as_a_hint(subject: dict[str, Any]) -> None:
    assert find_key(make_body(type="balance.available", data={"object": subject}), ENDPOINT, now=NOW) == b"con_1:evt_1"


@pytest.mark.parametrize("subject", [{"object": "brand_new_thing"}, {"object": "refund_destination", "id": None}])
def test_event_about_what_is_not_kept_needs_no_id(subject: dict[str, Any]) -> None:
    assert find_key(make_body(type="brand.new", data={"object": subject}), ENDPOINT, now=NOW) == b"con_1:evt_1"


@pytest.mark.parametrize("object_id", ["SUMMER 26 %", "Größe/XL", "夏" * 255, ".", "a:b", "x" * 255])
def test_ids_that_merchants_choose_pass(object_id: str) -> None:
    body = with_object(object="coupon", id=object_id)
    assert find_key(body, ENDPOINT, now=NOW) == f"con_1:{object_id}".encode()


@pytest.mark.parametrize("created", [0, int(NOW) - 3 * 86_400, int(NOW) + 300, int(NOW) + 3600])
def test_an_old_event_and_a_clock_that_is_a_little_ahead_pass(created: int) -> None:
    assert find_key(make_body(created=created), ENDPOINT, now=NOW)


def test_event_of_a_test_clock_passes_however_far_that_is_ahead() -> None:
    owner = replace(ENDPOINT, livemode=False)
    body = make_body(livemode=False, created=int(NOW) + 90 * 86_400)
    assert find_key(body, owner, now=NOW) == b"con_1:cus_1"
    with pytest.raises(MessageError, match="no moment"):
        find_key(make_body(livemode=False, created=10**12), owner, now=NOW)


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
        ("out_of_bounds", make_body(id="evt_" + "7" * 252)),
        ("out_of_bounds", make_body(id="evt_1\0")),
        ("out_of_bounds", make_body(id="evt 1")),
        ("out_of_bounds", make_body(type="x" * 101)),
        ("out_of_bounds", make_body(type="customer updated")),
        ("out_of_bounds", make_body(type="")),
        ("out_of_bounds", with_object(object="customer", id="c" * 256)),
        ("out_of_bounds", with_object(object="coupon", id="ab\0c")),
        ("out_of_bounds", with_object(object="coupon", id="ab\nc")),
        ("out_of_bounds", make_body(created=int(NOW) + 3602)),
        ("out_of_bounds", make_body(created=4_102_444_800)),
        ("out_of_bounds", make_body(created=-1)),
        ("out_of_bounds", make_body(created=10**20)),
        ("out_of_bounds", with_object(id="cus_1", object="customer", metadata=NESTED)),
        ("wrong_mode", make_body(livemode=False)),
        ("wrong_account", make_body(account="acct_2")),
    ],
)
def test_unusable_body_is_told_by_its_code(code: str, body: bytes) -> None:
    with pytest.raises(MessageError) as raised:
        find_key(body, ENDPOINT, now=NOW)
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
        find_key(body, ENDPOINT, now=NOW)


@given(
    st.dictionaries(st.sampled_from(["id", "type", "livemode", "account", "data", "object", "created"]), json_values)
)
def test_any_field_of_an_event_may_be_odd(fields: dict[str, Any]) -> None:
    with suppress(MessageError):
        find_key(json.dumps(make_event(**fields)).encode(), ENDPOINT, now=NOW)
