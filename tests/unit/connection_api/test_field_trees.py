"""The fields that can be left out by a tick: they are Stripe's, they can be saved, and none that is chosen is lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from services.connection_api.dashboard.choice.trees import FIELDS, Field, fields_of, known_fields
from services.connection_api.dashboard.choice_forms import PERSONAL, read_omitted
from services.connection_api.life.choices import NEVER_OMITTED
from services.destination_writer.omission import make_omissions
from shared.catalogue import RESOURCES, Resource
from tests.unit.connection_api.stripe_fields import render

EVERY_RESOURCE = pytest.mark.parametrize("row", RESOURCES, ids=lambda row: row.name)


def paths_of(fields: Iterable[Field]) -> Iterator[str]:
    for one in fields:
        yield one.path
        yield from paths_of(one.below)


def paths(resource: str) -> list[str]:
    return list(paths_of(fields_of(resource, (), is_opened=True).fields or ()))


def test_the_fields_are_those_of_the_pinned_version() -> None:
    assert FIELDS.read_text(encoding="utf-8") == render()


@EVERY_RESOURCE
def test_every_column_can_be_left_out_unless_it_must_stay(row: Resource) -> None:
    offered = set(paths(row.name))
    columns = {".".join(column.path) for column in row.columns if column.path[0] not in NEVER_OMITTED}

    assert columns <= offered
    assert not {path for path in offered if path.partition(".")[0] in NEVER_OMITTED}


@EVERY_RESOURCE
def test_whatever_is_ticked_can_be_saved(row: Resource) -> None:
    offered = paths(row.name)

    assert read_omitted("", [f"{row.name}:{path}" for path in offered]) == {row.name: sorted(offered)}


def test_the_items_of_a_list_lie_right_below_it() -> None:
    offered = paths("invoice")

    assert {"lines", "lines.data.description"} <= set(offered)
    assert "lines.data" not in offered
    assert make_omissions({"invoice": ["lines.data.description"]})["invoice"].children["invoice_line_items"]


def test_another_object_that_can_be_fetched_is_one_field() -> None:
    (customer,) = [one for one in fields_of("charge", (), is_opened=True).fields or () if one.name == "customer"]

    assert customer.below == ()


def test_what_is_chosen_is_shown_ticked_with_the_way_to_it_open() -> None:
    tree = fields_of("charge", ["billing_details.address.city", "receipt_email"], is_opened=True)
    by_name = {one.name: one for one in tree.fields or ()}

    assert by_name["receipt_email"].is_chosen
    assert by_name["billing_details"].is_open
    assert not by_name["billing_details"].is_chosen
    assert not by_name["shipping"].is_open


@pytest.mark.parametrize("is_opened", [True, False])
def test_what_is_chosen_and_unknown_stays_chosen(*, is_opened: bool) -> None:
    tree = fields_of("customer", ["metadata.vat", "email"], is_opened=is_opened)

    assert tree.chosen == ("email", "metadata.vat")
    assert tree.others == (("metadata.vat",) if is_opened else ())


@pytest.mark.parametrize("resource", PERSONAL)
def test_what_is_suggested_is_in_the_tree(resource: str) -> None:
    assert set(PERSONAL[resource]) <= set(paths(resource))


def test_every_resource_has_fields() -> None:
    assert set(known_fields()) == {row.name for row in RESOURCES}
