"""Rows on a terminal of any width, and how the list of them ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from services.console.client import Rows
from services.console.screen import ERRORS, GAP, OUT, plain, show_json

NARROWEST = 20  # columns that a text needs which may be folded
INDENT = 2
DOT = Text(" · ", style="dim")

View = Callable[[list[dict[str, Any]]], RenderableType]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a listing; what is extra is left out of a table that has no place for it."""

    name: str
    is_number: bool = False
    may_fold: bool = False
    is_extra: bool = False


class Listing:
    """Rows under headings; where the terminal is too narrow for that, some lines for each row, with everything."""

    def __init__(self, *columns: str | Column) -> None:
        """A column that is given by its name alone is a short text."""
        self._columns = [Column(one) if isinstance(one, str) else one for one in columns]
        self._rows: list[list[Text]] = []

    def add(self, *cells: str | Text) -> None:
        """Add a row; what a plain string holds is shown as it is, never read as markup."""
        self._rows.append([cell if isinstance(cell, Text) else Text(plain(cell)) for cell in cells])

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Choose the form by the width that there is."""
        shown = self._fitting(options.max_width)
        if shown is None:
            yield from self._blocks(options.max_width)
        else:
            yield self._table(shown)

    def _fitting(self, width: int) -> Sequence[int] | None:
        """Return the numbers of the columns that find place: without what is extra before anything is folded.

        `None` when that is not enough either.
        """
        shown = list(range(len(self._columns)))
        extra = [number for number in shown if self._columns[number].is_extra]
        while extra and self._needed(shown) > width:
            shown.remove(extra.pop())
        return shown if self._needed(shown, is_folded=True) <= width else None

    def _needed(self, shown: Sequence[int], *, is_folded: bool = False) -> int:
        return sum(self._width(number, is_folded=is_folded) + GAP for number in shown) - GAP

    def _width(self, number: int, *, is_folded: bool) -> int:
        column = self._columns[number]
        widest = max(len(column.name), *(row[number].cell_len for row in self._rows), 0)
        return min(widest, NARROWEST) if column.may_fold and is_folded else widest

    def _table(self, shown: Sequence[int]) -> Table:
        table = Table(box=None, header_style="dim", padding=(0, GAP, 0, 0), pad_edge=False)
        for column in (self._columns[number] for number in shown):
            table.add_column(
                column.name,
                justify="right" if column.is_number else "left",
                no_wrap=not column.may_fold,
                overflow="fold",
            )
        for row in self._rows:
            table.add_row(*(row[number] for number in shown))
        return table

    def _blocks(self, width: int) -> Iterator[RenderableType]:
        for number, (first, *others) in enumerate(self._rows):
            if number:
                yield Text()
            yield Text.assemble(first, style="bold")
            named = [
                Text.assemble((f"{column.name}: ", "dim"), cell)
                for column, cell in zip(self._columns[1:], others, strict=True)
                if cell.plain
            ]
            yield from (Padding(line, (0, 0, 0, INDENT)) for line in packed(named, width - INDENT))


def show_rows(found: Rows, view: View, *, if_none: str, as_json: bool, if_more: str = "--limit shows more.") -> None:
    """Print the newest rows of a list by its view, or as JSON; where there are more, say so on standard error."""
    if as_json:
        show_json(found.data)
        return
    OUT.print(view(found.data) if found.data else if_none)
    if found.has_more:
        ERRORS.print(f"These are the newest {len(found.data)}; {if_more}")


def packed(parts: Sequence[Text], width: int) -> Iterator[Text]:
    """Yield lines with as many of the parts as each has place for; one that is wider stands alone."""
    line = Text()
    for part in parts:
        if line.plain and line.cell_len + DOT.cell_len + part.cell_len > width:
            yield line
            line = Text()
        line = Text.assemble(line, DOT, part) if line.plain else part
    if line.plain:
        yield line
