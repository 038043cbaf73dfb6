"""Reads the command line as a whole."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from services.console.screen import show_error
from services.console.task import WRONG_USE, WrongUseError


class Commands(TyperGroup):
    """All commands; with `--json`, what can't be parsed is a problem document as every other error is."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command that the arguments name, and exit with its code."""
        given = list(sys.argv[1:] if args is None else args)
        is_json = standalone_mode and "--json" in given
        try:
            code = super().main(
                given,
                prog_name,
                complete_var,
                standalone_mode=standalone_mode and not is_json,
                windows_expand_args=windows_expand_args,
                **extra,
            )
        except typer.TyperException as error:
            if not is_json:
                raise
            show_error(WrongUseError(error.format_message()), as_json=True)
            code = WRONG_USE
        return sys.exit(code or 0) if is_json else code
