"""Renders docs/command-line.md from the commands themselves: `python -m services.console.command_line_page`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from typer import Typer
from typer.core import TyperArgument, TyperCommand, TyperGroup
from typer.main import get_command

from services.__main__ import SERVICES
from services.console.app import cli

HEAD = """# Command line

`tillstream COMMAND --help` tells a command's options; most commands take `--json`. A Stripe key or a database's \
password is read from a prompt or from standard input, never from an argument, and no command prints one that is \
stored. The simulator's keys are made up, and are shown and given openly.

Exit codes: 0 done, 1 failed, 2 wrong setting or argument, 130 interrupted.

| command | what it does |
|---|---|
"""
SERVICES_HEAD = """
## Services

Each runs until it is told to stop, and takes no options: [configuration](configuration.md) lists its variables.

"""


def render_page(app: Typer, services: Iterable[str]) -> str:
    """Return the page: a row per command, in the order in which they are declared."""
    rows = [f"| `{' '.join(words)}` | {command.help} |" for words, command in _walk(get_command(app), "tillstream")]
    lines = [f"- `tillstream {name}`" for name in services]
    return HEAD + "\n".join(rows) + "\n" + SERVICES_HEAD + "\n".join(lines) + "\n"


def _walk(command: object, *path: str) -> Iterator[tuple[tuple[str, ...], TyperCommand]]:
    """Yield every command with the words that call it."""
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            yield from _walk(inner, *path, name)
    elif isinstance(command, TyperCommand):
        arguments = (param for param in command.params if isinstance(param, TyperArgument))
        yield (*path, *map(_placeholder, arguments)), command


def _placeholder(argument: TyperArgument) -> str:
    name = (argument.name or "").upper() + ("…" if argument.nargs != 1 else "")
    return name if argument.required else f"[{name}]"


if __name__ == "__main__":
    sys.stdout.write(render_page(cli, SERVICES))
