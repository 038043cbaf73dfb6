"""Renders docs/command-line.md from the commands themselves: `python -m services.console.command_line_page`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from typer import Typer
from typer.core import TyperArgument, TyperCommand, TyperGroup
from typer.main import get_command

from services.__main__ import SERVICES
from services.console.app import cli
from services.console.task import FAILED, INTERRUPTED, WRONG_USE

HEAD = f"""# Command line

`tillstream COMMAND --help` tells a command's options. What lists, shows or changes something takes `--json`. What \
destroys something first shows what will go and asks; `--yes` agrees beforehand, and without a terminal it is needed.

A Stripe key or a database's address is read from a prompt or from standard input, never from an argument, and no \
command prints one that is stored. A new token is printed once. The simulator's keys are made up, and are shown and \
given openly.

A connection is named by its id, its account's id or a unique part of its account's name, a destination by its id or \
a unique part of its name. Where a name fits several, they are listed. `tillstream --install-completion` lets the \
shell complete commands, options and ids.

Commands speak to the Tillstream that runs on this machine, or to the one that `TILLSTREAM_API_URL` and \
`TILLSTREAM_API_TOKEN` name.

## Exit codes

| code | meaning |
|---|---|
| 0 | Done. |
| {FAILED} | It failed or was refused, or what was checked did not pass. |
| {WRONG_USE} | Wrong use: an argument or a setting is missing or can't be used. |
| {INTERRUPTED} | Interrupted, by Ctrl-C for instance. |

Results go to standard output; errors, and whatever is said while a person is asked, to standard error. With `--json` \
an error is a problem document there, with the same `code` as in the [REST API](api.md).
"""
TABLE_HEAD = """
| command | what it does |
|---|---|
"""
SERVICES_HEAD = """
## Services

Each runs until it is told to stop, and takes no options: [configuration](configuration.md) lists its variables.

"""


def render_page(app: Typer, services: Iterable[str]) -> str:
    """Return the page: a table for each group of commands, in the order in which they are declared."""
    groups: dict[str, list[str]] = {}
    for panel, words, command in _walk(get_command(app), "tillstream"):
        groups.setdefault(panel, []).append(f"| `{' '.join(words)}` | {command.help} |")
    tables = [f"\n## {panel}\n{TABLE_HEAD}" + "\n".join(rows) + "\n" for panel, rows in groups.items()]
    lines = [f"- `tillstream {name}`" for name in services]
    return HEAD + "".join(tables) + SERVICES_HEAD + "\n".join(lines) + "\n"


def _walk(command: object, *path: str, panel: str = "") -> Iterator[tuple[str, tuple[str, ...], TyperCommand]]:
    """Yield every command with its group in the help text and the words that call it."""
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            named = getattr(inner, "rich_help_panel", None)
            yield from _walk(inner, *path, name, panel=named if isinstance(named, str) else panel)
    elif isinstance(command, TyperCommand):
        arguments = (param for param in command.params if isinstance(param, TyperArgument))
        yield panel, (*path, *map(_placeholder, arguments)), command


def _placeholder(argument: TyperArgument) -> str:
    name = (argument.name or "").upper() + ("…" if argument.nargs != 1 else "")
    return name if argument.required else f"[{name}]"


if __name__ == "__main__":
    sys.stdout.write(render_page(cli, SERVICES))
