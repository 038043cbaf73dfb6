"""Whether a row is what Stripe has: the rule as pure functions. Nothing is written for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from services.destination_writer.records import Record
from shared.bounds import last_true

MOST_FIELDS = 20  # that are named of one difference


class Finding(StrEnum):
    """How a row compares with what Stripe has."""

    EQUAL = "equal"
    NEWER = "newer"  # an event has come since Stripe was asked
    DIFFERENT = "different"
    MISSING = "missing"  # Stripe has it, and there is no live row
    EXTRA = "extra"  # there is a live row, and Stripe does not have it

    @property
    def is_difference(self) -> bool:
        """Whether the destination is not what it should be."""
        return self in (Finding.DIFFERENT, Finding.MISSING, Finding.EXTRA)


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of the comparison of one object; `fields` are those that differ, as dotted paths."""

    finding: Finding
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RowState:
    """What the rule looks at in a row; `body` only where it is not the record's."""

    stamp: int
    is_deleted: bool
    is_same: bool
    body: str | bytes | None = None


def compare(record: Record, row: RowState | None, *, now: float) -> Compared:
    """Compare a record with the row that should hold it; `now` is in Unix seconds.

    A stamp that lies ahead of Stripe's clock is of no event of Stripe's: such a row is wrong, also where it says the
    same, since until then no event would change it any more.
    """
    if row is not None and row.stamp > last_true(now, record.stamp):
        return _compare_ahead(record, row)
    if row is None or row.is_deleted:
        is_newer = row is not None and row.stamp >= record.stamp  # of one second, the deletion is the later
        if record.is_deleted:
            return Compared(Finding.EQUAL)
        return Compared(Finding.NEWER if is_newer else Finding.MISSING)
    if row.is_same and not record.is_deleted:
        return Compared(Finding.EQUAL)
    if row.stamp > record.stamp:
        return Compared(Finding.NEWER)
    if record.is_deleted:
        return Compared(Finding.EXTRA)
    return Compared(Finding.DIFFERENT, differing_fields(record.body, row.body or b"null"))


def _compare_ahead(record: Record, row: RowState) -> Compared:
    if row.is_deleted:
        return Compared(Finding.EQUAL if record.is_deleted else Finding.MISSING)
    if record.is_deleted:
        return Compared(Finding.EXTRA)
    fields = () if row.is_same else differing_fields(record.body, row.body or b"null")
    return Compared(Finding.DIFFERENT, (*fields, "_stamp"))


def differing_fields(one: bytes, other: str | bytes) -> tuple[str, ...]:
    """Return where two documents differ, by dotted paths: a list as a whole, an object down to its fields."""
    found = _differing(msgspec.json.decode(one), msgspec.json.decode(other), ())
    return tuple(sorted(".".join(path) for path in found))[:MOST_FIELDS]


def _differing(one: Any, other: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() | other.keys():
            if key not in one or key not in other:
                yield (*path, key)
            else:
                yield from _differing(one[key], other[key], (*path, key))
    elif one != other:
        yield path or ("object",)
