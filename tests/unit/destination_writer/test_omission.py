"""What is omitted is in nothing that is written; the rest is what Stripe sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.destination_writer.delivery import overlay
from services.destination_writer.omission import NOTHING, Tree, is_omitted, make_omissions, strip
from shared.catalogue import CHILDREN, RESOURCES
from shared.errors import MessageError

NAMES = st.sampled_from(["a", "b", "c", "id", "data"])
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=15,
)
OBJECTS = st.dictionaries(NAMES, DOCUMENTS, max_size=4)
PATHS = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(".".join), max_size=4)


def tree_of(*paths: str, resource: str = "charge") -> Tree:
    return make_omissions({resource: paths})[resource].tree if paths else NOTHING


def without(document: Any, paths: list[str]) -> Any:
    """Take the fields out the plain way: one path after the other, over parsed JSON."""
    for path in paths:
        document = _without(document, path.split("."))
    return document


def _without(document: Any, steps: list[str]) -> Any:
    if isinstance(document, list):
        return [_without(item, steps) for item in document]
    if not isinstance(document, dict) or steps[0] not in document:
        return document
    rest = {key: value for key, value in document.items() if key != steps[0]}
    return rest if len(steps) == 1 else document | {steps[0]: _without(document[steps[0]], steps[1:])}


# Drawing an object takes long where other tests share the cores, which says nothing of the code.
ON_A_BUSY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@ON_A_BUSY_MACHINE
@given(OBJECTS, PATHS)
def test_nothing_omitted_is_left_and_all_else_is(document: dict[str, Any], paths: list[str]) -> None:
    body = json.dumps(document).encode()
    assert json.loads(strip(body, tree_of(*paths))) == without(document, paths)


@ON_A_BUSY_MACHINE
@given(OBJECTS, PATHS)
def test_stripping_twice_is_stripping_once(document: dict[str, Any], paths: list[str]) -> None:
    tree = tree_of(*paths)
    once = strip(json.dumps(document).encode(), tree)
    assert strip(once, tree) is once


@ON_A_BUSY_MACHINE
@given(OBJECTS, OBJECTS, PATHS)
def test_what_was_before_is_the_same_without_the_omitted(
    document: dict[str, Any], previous: dict[str, Any], paths: list[str]
) -> None:
    """The rule of versions may look at stripped events alone."""

    def shown(value: Any) -> Any:
        return json.loads(strip(json.dumps(value).encode(), tree_of(*paths)))

    assert overlay(shown(document), shown(previous)) == shown(overlay(document, previous))


def test_what_is_not_on_a_path_keeps_the_bytes_that_stripe_sent() -> None:
    body = b'{"amount":  1.50, "big": 1e400, "name": "Ad\\u0061", "a": {"b": 1, "c": 12345678901234567890.10}}'
    assert strip(body, tree_of("a.x", "b")) is body
    expected = b'{"amount":1.50,"big":1e400,"name":"Ad\\u0061","a":{"c":12345678901234567890.10}}'
    assert strip(body, tree_of("a.b")) == expected


def test_field_is_found_whatever_way_its_name_is_written() -> None:
    assert strip(b'{"\\u0061": 1, "a": 2, "b": 3}', tree_of("a")) == b'{"b":3}'


@pytest.mark.parametrize("body", [b"{", b'{"a": [1,}', b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}"])
def test_body_that_nothing_can_be_left_out_of_is_an_error(body: bytes) -> None:
    with pytest.raises(MessageError):
        strip(body, tree_of("a.b"))
    assert strip(body, NOTHING) is body


def test_what_a_row_needs_is_never_omitted() -> None:
    paths = ["id", "object", "created", "date", "lines.has_more", "lines.object", "lines.data.id", "lines.data.object"]
    omission = make_omissions({"invoice": paths})["invoice"]
    assert (omission.tree, dict(omission.children), bool(omission)) == ({}, {"invoice_line_items": {}}, False)
    assert tree_of("metadata.id", "source.created") == {"metadata": {"id": None}, "source": {"created": None}}


def test_path_into_the_items_of_a_child_list_holds_for_the_children() -> None:
    omission = make_omissions({"invoice": ["lines.data.description", "lines.data.price.id", "number"]})["invoice"]
    assert omission.children == {"invoice_line_items": {"description": None, "price": {"id": None}}}


@pytest.mark.parametrize("path", ["lines", "lines.data"])
def test_children_are_omitted_as_a_whole_with_their_list(path: str) -> None:
    """A list that were only emptied would say that there are no children any more."""
    omission = make_omissions({"invoice": [path]})["invoice"]
    assert omission.children == {"invoice_line_items": None}
    assert strip(b'{"id": "in_1", "lines": {"data": [{"id": "il_1"}]}}', omission.tree) == b'{"id":"in_1"}'


def test_wider_path_takes_the_narrower_one_in() -> None:
    for paths in (("a", "a.b"), ("a.b", "a")):
        assert tree_of(*paths) == {"a": None}
    assert [is_omitted(path, {"a": {"b": None}}) for path in ("a", "a.b", "a.b.c", "a.x", "b")] == [
        False, True, True, False, False,
    ]  # fmt: skip


def test_every_child_of_the_catalogue_lies_in_a_list_that_a_path_reaches() -> None:
    for parent, child in CHILDREN:
        path = ".".join((*child.path, "data", "secret"))
        assert make_omissions({parent.name: [path]})[parent.name].children[child.table] == {"secret": None}
    assert make_omissions({row.name: () for row in RESOURCES}) == {}
