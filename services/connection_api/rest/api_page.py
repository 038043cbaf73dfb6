"""Renews the tables of docs/api.md from the code: `python -m services.connection_api.rest.api_page docs/api.md`.

The text around them is written by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import services.connection_api.app  # noqa: F401  # every error that can be answered is declared below it
from services.connection_api.rest.error_codes import answered_errors, meanings
from services.connection_api.rest.operations import OPERATIONS, Operation
from shared.errors import AppError

TABLE = r"(?m)(?P<head>^\| {first} \|.*\n\|[-|]+\n)(?:\|.*\n)*"


def renew(page: str) -> str:
    """Return the page with its tables of operations and codes as the code has them."""
    page = _replace(page, "Operation", operation_rows(OPERATIONS))
    return _replace(page, "Code", code_rows(answered_errors()))


def operation_rows(operations: Sequence[Operation]) -> Iterator[str]:
    """Yield a row per operation."""
    return (f"| `{o.method} {o.path}` | {o.access} | {o.summary} |" for o in operations)


def code_rows(errors: Iterable[type[AppError]]) -> Iterator[str]:
    """Yield a row per code."""
    return (f"| `{code}` | {status} | {meaning} |" for code, status, meaning in meanings(errors))


def _replace(page: str, first: str, rows: Iterable[str]) -> str:
    lines = "".join(f"{row}\n" for row in rows)
    return re.sub(TABLE.format(first=first), lambda table: table["head"] + lines, page, count=1)


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(renew(file.read_text("utf-8")), "utf-8")
