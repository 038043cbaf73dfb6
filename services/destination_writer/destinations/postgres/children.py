"""Child sets as they arrive inside their parents."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

import msgspec

from services.destination_writer.records import Record
from shared.catalogue import Child
from shared.stripe_pages import parse_item


class _List(msgspec.Struct):
    data: list[msgspec.Raw] = []
    has_more: bool = False


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(_List)


@dataclass(slots=True)
class Sets:
    """The children of several parents, as columns, and which parents' sets are complete or cut."""

    ids: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    complete: dict[str, int] = field(default_factory=dict)  # parent → stamp of its set
    cut: set[str] = field(default_factory=set)

    def without(self, ids: Collection[str]) -> Sets:
        """Return the sets without these children."""
        if not ids:
            return self
        kept = [place for place, child_id in enumerate(self.ids) if child_id not in ids]
        return replace(
            self,
            ids=[self.ids[place] for place in kept],
            parents=[self.parents[place] for place in kept],
            stamps=[self.stamps[place] for place in kept],
            bodies=[self.bodies[place] for place in kept],
        )


def collect_sets(child: Child, parents: Iterable[Record]) -> Sets:
    """Return the sets of `child` in `parents`, sorted by id; a deleted parent has the empty set."""
    sets = Sets()
    rows: list[tuple[str, str, int, str]] = []
    for parent in parents:
        found = _List() if parent.is_deleted else _find_list(child, parent.body)
        if found is None:
            continue
        rows += [(parse_item(raw).id or "", parent.object_id, parent.stamp, bytes(raw).decode()) for raw in found.data]
        if found.has_more:
            sets.cut.add(parent.object_id)
        else:
            sets.complete[parent.object_id] = parent.stamp
    # An id that stands in two parents would be written twice by one statement, which Postgres refuses.
    unique = {row[0]: row for row in sorted(rows, key=lambda row: (row[0], row[2]))}
    for object_id, parent_id, stamp, body in unique.values():
        sets.ids.append(object_id)
        sets.parents.append(parent_id)
        sets.stamps.append(stamp)
        sets.bodies.append(body)
    return sets


def _find_list(child: Child, body: bytes) -> _List | None:
    """Return the list object at the child's path; `None` where the parent does not carry it."""
    raw = msgspec.Raw(body)
    for step in child.path:
        fields = _OBJECT.decode(raw)
        if step not in fields or not bytes(fields[step]).startswith(b"{"):
            return None
        raw = fields[step]
    return _LIST.decode(raw)
