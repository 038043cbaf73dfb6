"""Takes fields out of objects before anything is written: pure functions from bytes to bytes.

A path such as `billing_details.address` leads through objects; of a list on the way each item is meant. What is not
on a path keeps the bytes that Stripe sent, and an object that has nothing to be taken out is returned as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import msgspec

from shared.catalogue import BY_NAME, Child
from shared.errors import MessageError

#: What is taken out, by name; `None` takes the field whole.
Tree: TypeAlias = Mapping[str, "Tree | None"]
Steps: TypeAlias = tuple[str, ...]

NOTHING: Tree = MappingProxyType({})
# What tells which object it is and when it was made, and whether a list inside it is whole.
IDENTITY = ("id", "object", "created", "date")
LIST = ("object", "has_more")

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Omission:
    """What is never written of one resource, and of its children by their tables.

    A child whose tree is `None` is omitted as a whole.
    """

    tree: Tree
    children: Mapping[str, Tree | None]

    def __bool__(self) -> bool:
        """Whether anything is omitted."""
        return bool(self.tree)


NONE = Omission(NOTHING, NOTHING)


def make_omissions(fields: Mapping[str, Sequence[str]]) -> dict[str, Omission]:
    """Return what is omitted by resource; `fields` are dotted paths by resource, as a connection has them."""
    return {name: _omission(name, paths) for name, paths in fields.items() if paths}


def _omission(resource: str, paths: Iterable[str]) -> Omission:
    children = BY_NAME[resource].children if resource in BY_NAME else ()
    needed: set[Steps] = {(name,) for name in IDENTITY}
    for child in children:
        needed |= {(*child.path, name) for name in LIST} | {(*child.path, "data", name) for name in IDENTITY}
    wanted = {_whole_list(tuple(path.split(".")), children) for path in paths}
    tree = _grow(wanted - needed)
    return Omission(tree, {child.table: _descend(tree, (*child.path, "data")) for child in children})


def _whole_list(steps: Steps, children: Iterable[Child]) -> Steps:
    """Return the list's own path for a path to its items: a list without items would say that there are none."""
    return next((child.path for child in children if steps == (*child.path, "data")), steps)


def _grow(paths: Iterable[Steps]) -> Tree:
    tree: dict[str, Tree | None] = {}
    below: dict[str, set[Steps]] = {}
    for first, *rest in paths:
        if rest:
            below.setdefault(first, set()).add(tuple(rest))
        else:
            tree[first] = None
    return {name: _grow(steps) for name, steps in below.items()} | tree


def _descend(tree: Tree, steps: Steps) -> Tree | None:
    for step in steps:
        below = tree.get(step, NOTHING)
        if below is None:
            return None
        tree = below
    return tree


def is_omitted(path: str, tree: Tree) -> bool:
    """Tell whether what lies at the path, or all around it, is taken out."""
    return _descend(tree, tuple(path.split("."))) is None


def strip(body: bytes, tree: Tree) -> bytes:
    """Return the object without what `tree` names, the same bytes where there is none; raise `MessageError`."""
    if not tree:
        return body
    try:
        stripped = _strip(msgspec.Raw(body.lstrip()), tree)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageError(f"The body does not parse, so nothing can be left out of it: {error}.") from error
    return body if stripped is None else bytes(stripped)


def _strip(raw: msgspec.Raw, tree: Tree) -> msgspec.Raw | None:
    """Return the value without what is omitted; `None` when nothing of that is in it."""
    text = bytes(raw)
    if text.startswith(b"{"):
        return _strip_object(_OBJECT.decode(raw), tree)
    if text.startswith(b"["):
        items = _LIST.decode(raw)
        stripped = [_strip(item, tree) for item in items]
        if all(item is None for item in stripped):
            return None
        return _encode([old if new is None else new for old, new in zip(items, stripped, strict=True)])
    return None


def _strip_object(fields: dict[str, msgspec.Raw], tree: Tree) -> msgspec.Raw | None:
    is_changed = False
    for name in tree.keys() & fields.keys():
        below = tree[name]
        if below is None:
            del fields[name]
            is_changed = True
        elif (stripped := _strip(fields[name], below)) is not None:
            fields[name] = stripped
            is_changed = True
    return _encode(fields) if is_changed else None


def _encode(value: dict[str, msgspec.Raw] | list[msgspec.Raw]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
