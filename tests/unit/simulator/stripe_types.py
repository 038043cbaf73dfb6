"""Compares objects with the annotations of Stripe's own client, which is the judge of the pinned version."""

from __future__ import annotations

import ast
import decimal
import inspect
import sys
import types
import typing
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any

from stripe import ListObject, StripeObject
from stripe._object_classes import OBJECT_CLASSES
from stripe._stripe_object import UntypedStripeObject

_NOT_FIELDS = {"OBJECT_NAME", "_inner_class_types", "_inner_class_dict", "_field_encodings", "deleted"}


def object_class(name: str) -> type[StripeObject]:
    """Give the client's class for an object type such as `charge`."""
    module, class_name = OBJECT_CLASSES[name]
    return typing.cast("type[StripeObject]", getattr(import_module(module), class_name))


def iter_mismatches(value: Any, wanted: Any, path: str) -> Iterator[str]:
    """Say, one sentence each, where a value is not what an annotation asks for."""
    options = _options(wanted)
    if value is None:
        if type(None) not in options and Any not in options:
            yield f"{path} is null but can't be"
        return
    problems: list[list[str]] = [list(_against(value, option, path)) for option in options if option is not type(None)]
    if all(problems):
        yield from min(problems, key=len)


def iter_field_mismatches(value: dict[str, Any], cls: type[StripeObject], path: str) -> Iterator[str]:
    """Compare an object's keys and values with the fields of a class."""
    fields = field_types(cls)
    for key in value.keys() - fields.keys():
        yield f"{path}.{key} does not exist"
    for key, wanted in fields.items():
        if key in value:
            yield from iter_mismatches(value[key], wanted, f"{path}.{key}")
        elif type(None) not in _options(wanted):
            yield f"{path}.{key} is missing"


@cache
def field_types(cls: type[StripeObject]) -> dict[str, Any]:
    """Give a class's annotated fields, with their names resolved."""
    module = sys.modules[cls.__module__]
    names = {**vars(module), **_type_checking_names(cls.__module__)}
    scope: dict[str, Any] = {}
    owner: Any = module
    for part in cls.__qualname__.split("."):
        owner = getattr(owner, part)
        scope |= {name: nested for name, nested in vars(owner).items() if inspect.isclass(nested)}
    annotations = inspect.get_annotations(cls)
    return {
        name: eval(annotation, names, scope) if isinstance(annotation, str) else _resolve(annotation, names, scope)
        for name, annotation in annotations.items()
        if name not in _NOT_FIELDS
    }


def _against(value: Any, wanted: Any, path: str) -> Iterator[str]:
    origin = typing.get_origin(wanted) or wanted
    if wanted is Any or (origin is typing.Literal and value in typing.get_args(wanted)):
        return
    if origin is list and isinstance(value, list):
        for number, one in enumerate(value):
            yield from iter_mismatches(one, typing.get_args(wanted)[0], f"{path}[{number}]")
    elif inspect.isclass(origin) and issubclass(origin, StripeObject | dict) and isinstance(value, dict):
        yield from _against_object(value, origin, wanted, path)
    elif not _is_scalar(value, origin):
        yield f"{path} is {value!r} but must be {wanted}"


def _against_object(value: dict[str, Any], origin: type, wanted: Any, path: str) -> Iterator[str]:
    if issubclass(origin, UntypedStripeObject | dict):
        return
    if issubclass(origin, ListObject):
        if value.keys() != {"object", "data", "has_more", "url"}:
            yield f"{path} is no list"
        for number, one in enumerate(value.get("data", ())):
            yield from iter_mismatches(one, typing.get_args(wanted)[0], f"{path}.data[{number}]")
        return
    yield from iter_field_mismatches(value, origin, path)


def _is_scalar(value: Any, wanted: Any) -> bool:
    match wanted:
        case _ if wanted is float:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case _ if wanted is decimal.Decimal:
            return isinstance(value, str) and decimal.Decimal(value).is_finite()
        case _ if wanted is int:
            return isinstance(value, int) and not isinstance(value, bool)
    return inspect.isclass(wanted) and isinstance(value, wanted)


def _options(wanted: Any) -> tuple[Any, ...]:
    if typing.get_origin(wanted) in (typing.Union, types.UnionType):
        return tuple(option for one in typing.get_args(wanted) for option in _options(one))
    return (wanted,)


def _resolve(annotation: Any, names: dict[str, Any], scope: dict[str, Any]) -> Any:
    return typing._eval_type(annotation, names, scope)  # type: ignore[attr-defined]


@cache
def _type_checking_names(module: str) -> dict[str, Any]:
    """The client imports what it only annotates with for type checkers: do it for real."""
    found: dict[str, Any] = {}
    for node in ast.walk(ast.parse(inspect.getsource(sys.modules[module]))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("stripe"):
            if ".params" in node.module:
                continue
            source = import_module(node.module)
            found |= {a.asname or a.name: getattr(source, a.name) for a in node.names if hasattr(source, a.name)}
    return found
