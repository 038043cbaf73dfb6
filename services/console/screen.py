"""What every command shows on a terminal: sentences, facts, errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared.errors import AppError

WIDE = 160  # columns where nobody looks, so that nothing is cut for a program or a file


def _console(stream: TextIO, *, is_for_errors: bool) -> Console:
    """Return what prints in the terminal's width; what is written follows the stream, which tests replace."""
    return Console(stderr=is_for_errors, highlight=False, emoji=False, width=None if stream.isatty() else WIDE)


OUT = _console(sys.stdout, is_for_errors=False)  # results
ERRORS = _console(sys.stderr, is_for_errors=True)  # errors, and all that is said while a person is asked
GAP = 2  # blanks between two columns

# What a tone of the API looks like: a sign and a style, so that colour never tells alone.
TONES = {
    "quiet": ("○", "dim"),
    "busy": ("◐", "cyan"),
    "good": ("●", "green"),
    "passed": ("✓", "green"),
    "warning": ("!", "yellow"),
    "bad": ("✗", "red"),
}


def facts_view(rows: Sequence[tuple[str, str | Text]], *, indent: int = 0) -> Table:
    """Return names and their values, a line each; a long value is folded beside its name."""
    grid = Table.grid(padding=(0, GAP, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(" " * indent + name, value if isinstance(value, Text) else Text(plain(value)))
    return grid


def show_facts(*rows: tuple[str, str]) -> None:
    """Print names and values; lines are not folded, so that a value can be copied."""
    width = max(len(name) for name, _ in rows)
    OUT.print()
    for name, value in rows:
        OUT.print(Text.assemble((f"{name:<{width}}", "bold"), "  ", value), soft_wrap=True)
    OUT.print()


def show_done(sentence: str) -> None:
    """Print what was done."""
    OUT.print(Text.assemble(("✓ ", "green"), plain(sentence)), soft_wrap=not OUT.is_terminal)


def show_json(value: Any) -> None:
    """Print JSON on one line."""
    sys.stdout.write(json.dumps(value) + "\n")


def show_error(error: AppError, *, as_json: bool = False) -> None:
    """Print why a command failed, on standard error: a sentence, or a problem document."""
    if as_json:
        sys.stderr.write(json.dumps(problem_of(error)) + "\n")
    else:
        ERRORS.print(Text.assemble(("✗ ", "red"), plain(error.message)), soft_wrap=not ERRORS.is_terminal)


def problem_of(error: AppError) -> dict[str, Any]:
    """Return what the API said, or the same for an error that never reached it."""
    said = getattr(error, "problem", None)
    return said or {"code": error.code, "detail": error.message, **({"field": error.field} if error.field else {})}


def plain(text: str) -> str:
    """Return a text without what could steer the terminal; line breaks stay."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "�" for sign in text)


def with_tone(tone: str, text: str) -> Text:
    """Return a text with its tone's sign and style."""
    sign, style = TONES.get(tone, TONES["quiet"])
    return Text(f"{sign} {plain(text)}", style=style)


def amount(number: int, one: str, many: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {one if number == 1 else many}"


def make_table(left: Sequence[str], right: Sequence[str]) -> Table:
    """Return an empty table with columns that are aligned left, then right."""
    table = Table(box=None, header_style="dim", padding=(0, GAP, 0, 0))
    for header in left:
        table.add_column(header, overflow="fold")
    for header in right:
        table.add_column(header, justify="right", no_wrap=True)
    return table
