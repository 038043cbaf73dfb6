"""Commands about syncs."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer
from rich.table import Table

from services.console.client import connected, find_api
from services.console.connections import homes
from services.console.screen import OUT
from services.console.task import main_task

cli = typer.Typer(no_args_is_help=True, help="Runs of work: backfills, gap fills, comparisons.")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@cli.command("list")
def list_newest(connection_id: str, as_json: AsJson = False) -> None:
    """Show a connection's syncs, newest first."""

    async def show() -> int:
        async with connected(*find_api(os.environ, homes(os.environ))) as api:
            page = await api.get(f"/v1/connections/{connection_id}/syncs")
        if as_json:
            typer.echo(json.dumps(page["data"]))
            return 0
        table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
        for header in ("id", "kind", "status", "started", "finished"):
            table.add_column(header)
        for header in ("read", "inserted", "updated", "calls"):
            table.add_column(header, justify="right")
        for row in page["data"]:
            counts = row["counts"]
            times = (row["started_at"] or "", row["finished_at"] or "")
            numbers = (row["read"], counts["inserted"], counts["updated"], row["stripe_calls"])
            table.add_row(row["id"], row["kind"], row["status"], *times, *(f"{number:,}" for number in numbers))
        OUT.print(table)
        return 0

    main_task(show())
