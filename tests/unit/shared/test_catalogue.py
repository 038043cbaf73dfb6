"""The catalogue must agree with itself and with Stripe's own types of the pinned version."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import types
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import stripe
from stripe._object_classes import OBJECT_CLASSES
from stripe.params import WebhookEndpointCreateParams

from shared import catalogue
from shared.catalogue import Child, Column, Group, Kind, Resource
from shared.catalogue.render import render_page

ROOT = Path(__file__).parents[3]
STRIPE_SOURCE = Path(stripe.__file__).parent
EXAMPLES: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data" / "stripe_objects.json").read_text(encoding="utf-8")
)
STRIPE_EVENTS = set(
    typing.get_args(typing.get_args(WebhookEndpointCreateParams.__annotations__["enabled_events"])[0])
) - {"*"}

CHILD_OBJECTS = {
    "invoice_line_item": ("line_item",),
    "credit_note_line_item": ("credit_note_line_item",),
    "subscription_item": ("subscription_item",),
    "transfer_reversal": ("transfer_reversal",),
    "application_fee_refund": ("fee_refund",),
    "external_account": ("bank_account", "card"),
}
# Newer than Stripe's published examples; their types are checked all the same.
WITHOUT_EXAMPLE = {"billing.feedback_option", "product_catalog.trial_offer"}
# Fields that Stripe leaves out of an object to which they don't apply.
SOMETIMES_ABSENT = {
    ("refund", "description"),
    ("refund", "failure_balance_transaction"),
    ("refund", "failure_reason"),
    ("dispute", "network_reason_code"),
    ("radar.early_fraud_warning", "payment_intent"),
    ("review", "payment_intent"),
    ("bank_account", "account"),
    ("bank_account", "default_for_currency"),
}
PYTHON_TYPES = {
    Kind.TEXT: (str,),
    Kind.NUMBER: (int, float),
    Kind.BOOLEAN: (bool,),
    Kind.TIMESTAMP: (int,),
}
EVERY_RESOURCE = pytest.mark.parametrize("row", catalogue.RESOURCES, ids=lambda row: row.name)


def tables() -> Iterator[tuple[Resource | Child, tuple[str, ...]]]:
    """Every table's row with the Stripe object types that it holds."""
    for row in catalogue.RESOURCES:
        yield row, (row.object,)
        for child in row.children:
            yield child, CHILD_OBJECTS[child.name]


EVERY_TABLE = pytest.mark.parametrize(("row", "objects"), list(tables()), ids=lambda value: getattr(value, "table", ""))


def stripe_class(object_type: str) -> type:
    module, name = OBJECT_CLASSES[object_type]
    return typing.cast(type, getattr(importlib.import_module(module), name))


def alternatives(annotation: Any) -> Iterator[Any]:
    """The plain types of an annotation, without Optional, Union, Literal and quotes."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            yield from alternatives(part)
    elif origin is typing.Literal:
        yield from {type(value) for value in typing.get_args(annotation)}
    elif isinstance(annotation, typing.ForwardRef):
        yield annotation.__forward_arg__
    elif annotation not in (None, type(None)):
        yield annotation


def field_types(cls: Any, path: tuple[str, ...]) -> set[Any]:
    """The plain types at the end of `path` in one of Stripe's classes; empty if there is no such field."""
    found = set(alternatives(getattr(cls, "__annotations__", {}).get(path[0])))
    if len(path) == 1:
        return found
    return {end for step in found for end in field_types(_resolved(step), path[1:])}


def _resolved(step: Any) -> Any:
    if not isinstance(step, str):
        return step
    modules = [module for module, name in OBJECT_CLASSES.values() if name == step]
    return getattr(importlib.import_module(modules[0]), step) if modules else None


def fits(kind: Kind, found: set[Any]) -> bool:
    names = {getattr(step, "__name__", str(step)) for step in found}
    if kind is Kind.TEXT:
        return bool(names & {"str", "Decimal"}) and not names & {"int", "float", "bool"}
    return names == {"bool"} if kind is Kind.BOOLEAN else bool(names) and names <= {"int", "float"}


@cache
def stripe_lists() -> dict[str, str | None]:
    """Each path that Stripe's client reads, with ids as `{id}`, and the parameters of its list if it is one."""
    found: dict[str, str | None] = {}
    for file in STRIPE_SOURCE.rglob("*_service.py"):
        for method in re.split(r"\n    (?:async )?def ", file.read_text(encoding="utf-8")):
            path = re.search(r'"get",\s*"(/v1/[^"]+)"', method)
            if path:
                parameters = re.search(r'params: (?:Optional\[)?"(\w+ListParams)"', method)
                found.setdefault(re.sub(r"{\w+}", "{id}", path[1]), parameters and parameters[1])
    return found


@cache
def list_parameters(params_class: str) -> frozenset[str]:
    for file in (STRIPE_SOURCE / "params").rglob("*_list_params.py"):
        body = re.search(rf"^class {params_class}\(.*?(?=^class |\Z)", file.read_text(encoding="utf-8"), re.M | re.S)
        if body:
            return frozenset(re.findall(r"^    (\w+): ", body[0], re.M))
    raise LookupError(params_class)


def test_names_and_tables_are_unique() -> None:
    names = [row.name for row in catalogue.RESOURCES] + [child.name for _, child in catalogue.CHILDREN]
    assert len(set(names)) == len(names)
    assert len(catalogue.TABLES) == len(names)


def test_only_the_account_shares_its_object_type_and_the_own_account_takes_its_events() -> None:
    objects = [row.object for row in catalogue.RESOURCES]
    assert {name for name in objects if objects.count(name) > 1} == {"account"}
    assert catalogue.BY_OBJECT["account"].name == "account"
    assert catalogue.BY_NAME["connected_account"].events == ()


def test_no_event_belongs_to_two_resources() -> None:
    events = [event for row in catalogue.RESOURCES for event in row.events]
    assert len(set(events)) == len(events)


def test_resources_are_ordered_by_group() -> None:
    groups = [list(Group).index(row.group) for row in catalogue.RESOURCES]
    assert groups == sorted(groups)


def test_a_permission_has_one_group_and_one_toggle() -> None:
    meanings = {(row.permission, row.group, row.toggle) for row in catalogue.RESOURCES}
    assert len(meanings) == len({row.permission for row in catalogue.RESOURCES})


@EVERY_TABLE
def test_columns_are_few_well_named_and_unique(row: Resource | Child, objects: tuple[str, ...]) -> None:
    names = [column.name for column in row.columns]
    assert len(names) <= 20
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)
    assert not {"id", "livemode", "metadata", "data"} & set(names)


@EVERY_TABLE
def test_columns_exist_in_stripes_types_with_a_fitting_kind(row: Resource | Child, objects: tuple[str, ...]) -> None:
    for column in row.columns:
        found = {end for name in objects for end in field_types(stripe_class(name), column.path)}
        assert fits(column.kind, found), (column, found)


@EVERY_TABLE
def test_created_is_a_column_wherever_the_object_has_it(row: Resource | Child, objects: tuple[str, ...]) -> None:
    has_created = any("created" in stripe_class(name).__annotations__ for name in objects)
    assert (Column("created", Kind.TIMESTAMP, ("created",)) in row.columns) is has_created


@EVERY_TABLE
def test_moments_are_timestamps_and_amounts_are_not(row: Resource | Child, objects: tuple[str, ...]) -> None:
    moment = re.compile(
        r"created|updated|date|start|end|due_by|available_on|redeem_by|anchor|frozen_time|deletes_after"
    )
    for column in row.columns:
        is_moment = column.path[-1].endswith("_at") or bool(moment.search(column.path[-1]))
        if column.kind in (Kind.NUMBER, Kind.TIMESTAMP):
            assert is_moment is (column.kind is Kind.TIMESTAMP), column


@EVERY_TABLE
def test_columns_exist_in_stripes_example_objects(row: Resource | Child, objects: tuple[str, ...]) -> None:
    examples = {name: EXAMPLES[name] for name in objects if name not in WITHOUT_EXAMPLE}
    for column in row.columns if examples else ():
        keys = {key for example in examples.values() for key in example}
        assert column.path[0] in keys or (objects[0], column.path[0]) in SOMETIMES_ABSENT, column


@EVERY_TABLE
def test_columns_read_values_of_their_kind_from_example_objects(
    row: Resource | Child, objects: tuple[str, ...]
) -> None:
    for example in (EXAMPLES[name] for name in objects if name in EXAMPLES):
        for column in row.columns:
            value: Any = example
            for step in column.path:
                value = value.get(step) if isinstance(value, dict) else None
            # Stripe's examples show some references expanded.
            value = value["id"] if isinstance(value, dict) and "id" in value else value
            assert value is None or type(value) in PYTHON_TYPES[column.kind], (column, value)


@EVERY_RESOURCE
def test_id_exists_unless_the_row_says_that_it_does_not(row: Resource) -> None:
    assert ("id" in stripe_class(row.object).__annotations__) is row.has_id


@EVERY_RESOURCE
def test_children_lie_inline_in_their_parent(row: Resource) -> None:
    for child in row.children:
        value: Any = EXAMPLES[row.object]
        for step in child.path:
            value = value[step]
        assert value["object"] == "list"


@EVERY_RESOURCE
def test_paths_exist_in_stripes_client(row: Resource) -> None:
    known = stripe_lists()
    assert row.list_path in known
    assert row.retrieve_path in known
    assert all(child.list_path.partition("?")[0] in known for child in row.children)


@EVERY_RESOURCE
def test_created_filter_and_list_parameters_agree_with_stripes_client(row: Resource) -> None:
    params_class = stripe_lists()[row.list_path]
    accepted = list_parameters(params_class) if params_class else frozenset()
    assert row.has_created_filter is ("created" in accepted)
    assert {name.partition("[")[0] for walk in row.walks for name, _ in walk} <= accepted
    assert (params_class is None) is row.is_singleton


@EVERY_RESOURCE
def test_event_types_exist(row: Resource) -> None:
    assert set(row.events) | set(row.hinted_by) <= STRIPE_EVENTS
    assert set(row.deleted_by) <= set(row.events)
    assert not set(row.events) & set(row.hinted_by)
    assert len(set(row.hinted_by)) == len(row.hinted_by)
    assert all(hint in row.hinted_by and event in row.events for hint, event in row.told_by)


@EVERY_RESOURCE
def test_a_resource_without_events_is_listed_again(row: Resource) -> None:
    if not row.events:
        assert row.changes_silently
        assert not row.is_in_event_feed


@EVERY_RESOURCE
def test_every_deletion_that_stripe_announces_is_known(row: Resource) -> None:
    announced = {event for event in row.events if event.endswith(".deleted")}
    assert set(row.deleted_by) == announced - {"customer.subscription.deleted"}


def test_every_event_of_a_known_family_is_used() -> None:
    used = {event for row in catalogue.RESOURCES for event in (*row.events, *row.hinted_by)}
    families = {event.rpartition(".")[0] for row in catalogue.RESOURCES for event in row.events}
    unused = {event for event in STRIPE_EVENTS - used if event.rpartition(".")[0] in families}
    assert unused == {"invoice.upcoming"}


@pytest.mark.parametrize(
    ("event_type", "object_type", "name"),
    [
        ("charge.succeeded", "charge", "charge"),
        ("charge.refund.updated", "refund", "refund"),
        ("charge.dispute.created", "dispute", "dispute"),
        ("customer.subscription.deleted", "subscription", "subscription"),
        ("customer.tax_id.created", "tax_id", "tax_id"),
        ("account.updated", "account", "account"),
        ("charge.invented_next_year", "charge", "charge"),
        ("account.external_account.created", "bank_account", None),
        ("account.application.deauthorized", "application", None),
        ("billing.alert.triggered", "billing.alert_triggered", None),
        ("invoice.upcoming", "invoice", None),
        ("issuing_card.created", "issuing.card", None),
    ],
)
def test_an_event_finds_the_resource_of_its_object(event_type: str, object_type: str, name: str | None) -> None:
    found = catalogue.resource_for_event(event_type, object_type)
    assert (found.name if found else None) == name


def test_cancelled_subscription_is_not_deleted() -> None:
    assert catalogue.is_deletion("customer.deleted")
    assert not catalogue.is_deletion("customer.subscription.deleted")
    assert not catalogue.is_deletion("payment_method.detached")


def test_event_names_its_dependents() -> None:
    names = {row.name for row in catalogue.dependents("charge.refunded")}
    assert names == {"balance_transaction", "refund"}
    assert catalogue.dependents("invented.event") == ()


def test_webhook_subscribes_by_name_to_what_is_chosen_and_to_what_is_always_needed() -> None:
    events = catalogue.webhook_events([catalogue.BY_NAME["invoice"]])
    assert list(events) == sorted(set(events))
    assert {"invoice.paid", "credit_note.created", *catalogue.ALWAYS_SUBSCRIBED} <= set(events)
    assert not {"*", "invoice.upcoming", "charge.succeeded"} & set(events)


def test_whole_catalogue_subscribes_only_to_known_events() -> None:
    assert set(catalogue.webhook_events(catalogue.RESOURCES)) <= STRIPE_EVENTS


def test_permission_checklist_joins_resources_and_ends_with_the_webhook() -> None:
    rows = catalogue.permissions(catalogue.DEFAULT_RESOURCES)
    by_slug = {row.slug: row for row in rows}
    assert by_slug["rak_charge_read"].resources == ("charge", "refund")
    assert rows[-1].slug == "rak_webhook_write"
    assert by_slug["rak_event_read"].required
    groups = [list(Group).index(row.group) for row in rows[:-1] if row.group]
    assert groups == sorted(groups)


def test_permission_of_a_resource_that_is_off_by_default_is_not_required() -> None:
    by_slug = {row.slug: row for row in catalogue.permissions(catalogue.RESOURCES)}
    assert not by_slug["rak_setup_intent_read"].required
    assert by_slug["rak_customer_read"].required
    assert not by_slug["rak_exchange_rate_read"].is_certain


def test_default_resources_are_those_that_people_expect_first() -> None:
    assert {row.name for row in catalogue.DEFAULT_RESOURCES} == {
        *("account", "balance", "balance_transaction", "payout", "charge", "refund", "dispute", "customer"),
        *("product", "price", "subscription", "invoice", "invoice_payment", "invoiceitem", "credit_note"),
        *("coupon", "promotion_code", "tax_rate", "payment_intent", "payment_method"),
        *("transfer", "application_fee", "topup"),
    }


def test_catalogue_does_not_import_stripe() -> None:
    code = "import sys, shared.catalogue.render; sys.exit('stripe' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_page_about_resources_is_in_step() -> None:
    page = (ROOT / "docs" / "resources.md").read_text(encoding="utf-8")
    assert page == render_page(catalogue.RESOURCES), "run: python -m shared.catalogue.render > docs/resources.md"
