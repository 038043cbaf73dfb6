"""Arguments and options that several commands share, each with one name, one help text and one completion."""

from __future__ import annotations

from typing import Annotated

import typer

from services.console import completion

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; errors too, on standard error.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
ConnectionName = Annotated[
    str,
    typer.Argument(
        help="Its id, its account's id, or a unique part of the account's name.", autocompletion=completion.connections
    ),
]
OfConnection = Annotated[
    str | None,
    typer.Option(
        "--connection",
        help="Only of this one: its id, its account's id, or a unique part of the account's name.",
        autocompletion=completion.connections,
    ),
]
DestinationName = Annotated[
    str,
    typer.Argument(help="Its id, or a unique part of its name.", autocompletion=completion.destinations),
]
SyncId = Annotated[str, typer.Argument(help="The sync's id.", autocompletion=completion.syncs)]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="Show at most so many, the newest.")]
