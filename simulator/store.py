"""Objects at rest: each is the packed difference from its template, in the order of creation."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator

import msgspec

from simulator.resources import ALL
from simulator.shapes import State

pack = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict).decode


def unpack(data: bytes) -> State:
    """Give back what `pack` was given."""
    state: State = _decode(data)
    return state


class Table:
    """All objects of one resource. Positions grow with time and are never used again."""

    __slots__ = ("created", "ids", "indexes", "live", "packed", "positions")

    def __init__(self, indexed: tuple[str, ...]) -> None:
        self.ids: list[str] = []
        self.created = array("q")
        self.packed: list[bytes | None] = []
        self.positions: dict[str, int] = {}
        self.indexes: dict[str, dict[str, list[int]]] = {name: {} for name in indexed}
        self.live = 0

    def insert(self, object_id: str, state: State, created: int) -> bytes:
        """Add a new object, made in the Unix second `created`; give its packed form."""
        position = len(self.ids)
        self.ids.append(object_id)
        self.created.append(max(created, self.created[-1]) if position else created)
        data = pack(state)
        self.packed.append(data)
        self.positions[object_id] = position
        self.live += 1
        for name, index in self.indexes.items():
            if (value := _indexed_value(state, name)) is not None:
                index.setdefault(value, []).append(position)
        return data

    def find(self, object_id: str) -> State | None:
        """Give an object's state, or None if it never was or is deleted."""
        position = self.positions.get(object_id)
        return None if position is None else self.at(position)

    def at(self, position: int) -> State | None:
        """Give the state at a position, or None if it is deleted."""
        data = self.packed[position]
        return None if data is None else unpack(data)

    def put(self, object_id: str, state: State) -> bytes:
        """Replace a live object's state; give its packed form."""
        position = self.positions[object_id]
        if self.indexes:
            self._move(position, self.at(position) or {}, state)
        data = pack(state)
        self.packed[position] = data
        return data

    def remove(self, object_id: str) -> None:
        """Delete an object; its position stays as a tombstone."""
        position = self.positions[object_id]
        self._move(position, self.at(position) or {}, {})
        self.packed[position] = None
        self.live -= 1

    def deleted(self) -> Iterator[str]:
        """Give the ids of all objects that were deleted."""
        return (self.ids[i] for i, data in enumerate(self.packed) if data is None)

    def _move(self, position: int, old: State, new: State) -> None:
        for name, index in self.indexes.items():
            before, after = _indexed_value(old, name), _indexed_value(new, name)
            if before == after:
                continue
            if before is not None:
                entries = index[before]
                del entries[bisect_left(entries, position)]
            if after is not None:
                insort(index.setdefault(after, []), position)


class Store:
    """One Stripe account's tables."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {name: Table(row.indexed) for name, row in ALL.items()}

    def find(self, resource: str, object_id: str) -> State | None:
        """Give an object's state, or None."""
        return self.tables[resource].find(object_id)


def _indexed_value(state: State, name: str) -> str | None:
    value = state.get(name, state.get(f"_{name}"))
    return value if isinstance(value, str) else None
