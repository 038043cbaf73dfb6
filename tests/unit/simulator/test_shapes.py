from __future__ import annotations

import itertools
import json
from importlib import resources
from typing import Any

import pytest
from stripe import _api_version

from simulator.resources import ALL, INLINE, RESOURCES
from simulator.shapes import API_VERSION, load_shapes
from tests.unit.simulator.stripe_types import field_types, iter_field_mismatches, object_class
from tests.unit.simulator.worlds import old_shop

_WITHOUT_OBJECTS = {"mandate", "source", "source_transaction"}
_SAMPLE = 60


def _samples(resource: str) -> list[dict[str, Any]]:
    world = old_shop().world
    table = world.store.tables[resource]
    states = (table.at(position) for position in reversed(range(len(table.ids))))
    live = (state for state in states if state is not None)
    return [world.renderer.render(resource, state) for state in itertools.islice(live, _SAMPLE)]


def test_pinned_version_is_that_of_the_client() -> None:
    assert _api_version._ApiVersion.CURRENT == API_VERSION
    assert API_VERSION in load_shapes().api_versions


@pytest.mark.parametrize("resource", sorted(ALL.keys() - _WITHOUT_OBJECTS))
def test_objects_have_the_fields_and_types_of_the_pinned_version(resource: str) -> None:
    samples = _samples(resource)

    assert samples
    assert {
        problem for one in samples for problem in iter_field_mismatches(one, object_class(resource), resource)
    } == set()


@pytest.mark.parametrize("parent", sorted(INLINE))
def test_children_have_the_fields_and_types_of_the_pinned_version(parent: str) -> None:
    inline = INLINE[parent]
    children = [child for one in _samples(parent) for child in one[inline.field]["data"]]

    assert children
    child_class = object_class(inline.child)
    assert {problem for one in children for problem in iter_field_mismatches(one, child_class, inline.child)} == set()


@pytest.mark.parametrize("name", ["account", "balance", "balance_settings"])
def test_own_objects_have_the_fields_and_types_of_the_pinned_version(name: str) -> None:
    rendered = old_shop().world.render_own(name)

    assert list(iter_field_mismatches(rendered, object_class(name), name)) == []


@pytest.mark.parametrize("resource", sorted(ALL))
def test_templates_carry_every_field_that_can_not_be_left_out(resource: str) -> None:
    template = load_shapes().templates[resource]
    fields = field_types(object_class(resource))

    assert template.keys() <= fields.keys()
    assert template["object"] == resource


def test_every_listed_resource_has_a_shape() -> None:
    assert {row.name for row in RESOURCES} <= load_shapes().templates.keys()


def test_shapes_name_no_host_of_their_origin() -> None:
    text = resources.files("simulator").joinpath("data/shapes.json").read_text(encoding="utf-8")

    assert "stripe.me" not in text
    assert json.loads(text)["event_types"]
