"""Commands about connections."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from local_stack.state import read_state
from services.console.client import connected, find_api
from services.console.running import home_folder
from services.console.screen import OUT, make_table, moment, show_facts
from services.console.task import main_task

cli = typer.Typer(no_args_is_help=True, help="Synced Stripe accounts.")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def homes(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the folders in which a stack of this machine may run."""
    return home_folder(environ, "run"), home_folder(environ, "demo")


def use_running_simulator() -> None:
    """Control the Stripe that runs on this machine, by default that of the demo."""
    urls = (state.addresses.get("simulator_url") for home in homes(os.environ) if (state := read_state(home)))
    url = next((found for found in urls if found), None)
    if url:
        os.environ.setdefault("TILLSTREAM_SIMULATOR_URL", url)


@cli.command("list")
def list_all(as_json: AsJson = False) -> None:
    """Show all connections."""

    async def show() -> int:
        async with connected(*find_api(os.environ, homes(os.environ))) as api:
            page = await api.get("/v1/connections", limit=100)
        if as_json:
            typer.echo(json.dumps(page["data"]))
            return 0
        if not page["data"]:
            OUT.print("No Stripe account is connected yet. Connect one with `tillstream connections add`.")
            return 0
        table = make_table(("id", "account", "mode", "state", "last sync"), ())
        for row in page["data"]:
            account = f"{row['account_name'][:24]} [dim]{row['account_id']}[/]"
            mode = "live" if row["livemode"] else "test"
            table.add_row(row["id"], account, mode, row["state"], moment(row["last_synced_at"]) or "never")
        OUT.print(table)
        return 0

    main_task(show())


@cli.command()
def show(connection_id: str, as_json: AsJson = False) -> None:
    """Show one connection."""

    async def answer() -> int:
        async with connected(*find_api(os.environ, homes(os.environ))) as api:
            connection = await api.get(f"/v1/connections/{connection_id}")
        if as_json:
            typer.echo(json.dumps(connection))
        else:
            show_facts(*((name, _text(value)) for name, value in connection.items()))
        return 0

    main_task(answer())


@cli.command()
def add(
    destination: Annotated[list[str], typer.Option(help="Id of a destination; may be given more than once.")],
    start_date: Annotated[str | None, typer.Option(help="Such as 2025-01-01; everything, if left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Connect a Stripe account; its restricted key is read from a prompt, or from standard input."""
    key = typer.prompt("Restricted key (rk_live_…)", hide_input=True) if sys.stdin.isatty() else sys.stdin.read()
    body = {"api_key": key, "destination_ids": destination, **({"start_date": start_date} if start_date else {})}

    async def connect() -> int:
        async with connected(*find_api(os.environ, homes(os.environ))) as api:
            connection = await api.post("/v1/connections", body)
        if as_json:
            typer.echo(json.dumps(connection))
        else:
            OUT.print(f"Connected {connection['account_name']} as {connection['id']}; the backfill has begun.")
        return 0

    main_task(connect())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
