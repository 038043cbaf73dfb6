"""Commands about destinations."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated

import typer

from services.console.client import connected, find_api
from services.console.connections import homes
from services.console.screen import OUT, make_table
from services.console.task import main_task

cli = typer.Typer(no_args_is_help=True, help="Where rows go.")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@cli.command()
def add(
    name: str,
    schema: Annotated[str, typer.Option(help="Schema that the tables are made in.")] = "stripe",
    as_json: AsJson = False,
) -> None:
    """Add a Postgres database, after a test; its address is read from a prompt, or from standard input."""
    prompt = "postgresql://user:password@host:5432/database"
    url = typer.prompt(prompt, hide_input=True) if sys.stdin.isatty() else sys.stdin.read().strip()

    async def create() -> int:
        async with connected(*find_api(os.environ, homes(os.environ))) as api:
            destination = await api.post("/v1/destinations", {"name": name, "url": url, "schema": schema})
        typer.echo(json.dumps(destination) if as_json else f"Added {name} as {destination['id']}.")
        return 0

    main_task(create())


@cli.command("list")
def list_all(as_json: AsJson = False) -> None:
    """Show all destinations."""

    async def show() -> int:
        async with connected(*find_api(os.environ, homes(os.environ))) as api:
            page = await api.get("/v1/destinations", limit=100)
        if as_json:
            typer.echo(json.dumps(page["data"]))
            return 0
        table = make_table(("id", "name", "address", "schema"), ())
        for row in page["data"]:
            table.add_row(row["id"], row["name"], f"{row['host']}:{row['port']}/{row['database']}", row["schema"])
        OUT.print(table if page["data"] else "There is no destination yet. Add one with `tillstream destinations add`.")
        return 0

    main_task(show())
