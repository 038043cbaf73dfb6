"""An answer as a table: each cell as people read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.connection_api.questions.asking import Answer
from services.connection_api.questions.question import Kind

NUMBERS = frozenset({Kind.AMOUNT, Kind.NUMBER})


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a column."""

    label: str
    is_number: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell shows: a text, or a moment in the browser's zone."""

    text: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """The table."""

    heads: Sequence[Head]
    rows: Sequence[Sequence[Cell]]
    has_more: bool


def make_grid(answer: Answer) -> Grid:
    """Return the table of an answer."""
    heads = [Head(column.label, column.kind in NUMBERS) for column in answer.columns]
    kinds = [column.kind for column in answer.columns]
    rows = [[_cell(kind, value) for kind, value in zip(kinds, row, strict=True)] for row in answer.rows]
    return Grid(heads, rows, answer.has_more)


def _cell(kind: Kind, value: Any) -> Cell:
    if value is None:
        return Cell()
    if kind is Kind.TIME:
        return Cell(at=value)
    return Cell(f"{value:,}" if kind in NUMBERS else str(value))
