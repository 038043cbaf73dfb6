"""Commands about rows, against an API that is played."""

from __future__ import annotations

from tests.unit.console.playing import PlayedApi
from tests.unit.console.terminal import run

ROW = {
    "connection_id": "con_5f3kacmeacmeacmeacme2",
    "connection_name": "Acme GmbH",
    "destination_id": "dst_1",
    "destination_name": "Warehouse",
    "db_schema": "stripe",
    "table": "charges",
    "is_deleted": True,
    "synced_at": "2026-11-25T10:00:01Z",
    "data": {"id": "ch_1", "amount": 6300},
}


def test_an_objects_rows_are_shown_with_where_they_lie(api: PlayedApi) -> None:
    api.give("get_object", {"object_id": "ch_1", "resource": "charge", "rows": [ROW]})
    ended = run("data", "show", "ch_1")
    assert "Acme GmbH" in ended.out
    assert "stripe.charges" in ended.out
    assert "in Stripe; the row is kept and marked" in ended.out
    assert '"amount": 6300' in ended.out
    assert run("data", "show", "ch_1", "--json").json["rows"][0]["data"]["amount"] == 6300


def test_an_object_that_no_destination_has_is_told_with_what_to_do_next(api: PlayedApi) -> None:
    api.give("get_object", {"object_id": "pi_1", "resource": "payment_intent", "rows": []})
    ended = run("data", "show", "pi_1")
    assert ended.code == 1
    assert "It would be a payment intent." in ended.err
    assert "tillstream events show pi_1" in ended.err
