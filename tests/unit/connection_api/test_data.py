"""What a list shows of each table, what an object names, and where a row differs from Stripe's object."""

from __future__ import annotations

import msgspec
import pytest

from services.connection_api.data.comparison import MOST_DIFFERENCES, differences
from services.connection_api.data.finding import PREFIXES, resource_of
from services.connection_api.data.objects import references_in
from services.connection_api.data.tables import MOST_SHOWN, TABLE_VIEWS, find_table
from shared.catalogue import BY_NAME
from shared.errors import NotFoundError


def test_charges_show_how_much_of_what_and_for_whom() -> None:
    view = find_table("charges")
    assert [column.name for column in view.columns] == ["amount", "status", "customer", "description"]
    assert (view.moment, view.money) == ("created", "amount")


def test_every_table_has_a_list_that_fits_a_page() -> None:
    for view in TABLE_VIEWS.values():
        assert len(view.columns) <= MOST_SHOWN
        assert view.moment in {column.name for column in view.resource.columns} | {"_synced_at"}


def test_a_table_that_is_none_is_refused() -> None:
    with pytest.raises(NotFoundError):
        find_table("pg_authid")


def test_an_object_names_others_by_id_whole_and_one_level_below() -> None:
    body = {
        "id": "ch_1",
        "customer": "cus_1",
        "balance_transaction": {"id": "txn_1", "object": "balance_transaction"},
        "latest_invoice": "in_1",
        "schedule": "sub_sched_1",
        "parent": {"subscription": "sub_1"},
        "currency": "usd",
        "coupon": None,
        "charge": "ch_1",
        "status": "succeeded",
    }
    found = {one.field: (one.id, one.table.name) for one in references_in(msgspec.json.encode(body))}
    assert found == {
        "customer": ("cus_1", "customers"),
        "balance_transaction": ("txn_1", "balance_transactions"),
        "latest_invoice": ("in_1", "invoices"),
        "schedule": ("sub_sched_1", "subscription_schedules"),
        "parent.subscription": ("sub_1", "subscriptions"),
    }


@pytest.mark.parametrize("body", [b"", b"[]", b'{"id": 1, "customer": {"object": 5, "id": 5}}', b'{"customer": "x"}'])
def test_what_names_nothing_is_no_fault(body: bytes) -> None:
    assert list(references_in(body)) == []


def test_a_row_differs_where_stripe_says_something_else_and_not_where_fields_are_left_out() -> None:
    here = {"id": "cus_1", "name": "old", "address": {"city": "Bern"}, "list": [1], "gone": 1}
    there = {"id": "cus_1", "name": "new", "address": {"city": "Bern", "line1": "x"}, "list": [2], "email": "a@b.c"}
    told = [(one.field, one.here, one.at_stripe) for one in differences(here, there, ["address.line1", "email"])]
    assert told == [("gone", "1", "–"), ("list", "[1]", "[2]"), ("name", '"old"', '"new"')]


def test_a_value_that_was_left_out_whole_differs_in_nothing() -> None:
    assert differences({"a": None}, {"a": {"b": 1}}, ["a.b"]) == []


def test_differences_are_bounded() -> None:
    assert len(differences({}, {str(number): number for number in range(500)}, [])) == MOST_DIFFERENCES


@pytest.mark.parametrize(
    ("object_id", "resource"),
    [
        ("ch_3Nf", "charge"),
        ("sub_sched_1Qh", "subscription_schedule"),
        ("sub_1Qh", "subscription"),
        ("pyr_1", "refund"),
        ("SPRING", None),
        ("spring_sale", None),
        ("", None),
    ],
)
def test_an_id_tells_by_how_it_begins_of_what_kind_it_is(object_id: str, resource: str | None) -> None:
    found = resource_of(object_id)
    assert (found.name if found else None) == resource


def test_every_kind_of_id_is_a_resource() -> None:
    assert set(PREFIXES.values()) <= BY_NAME.keys()
