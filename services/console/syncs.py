"""Commands about syncs."""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import Annotated, Any

import typer

from services.console.client import connected, find_api
from services.console.connections import homes
from services.console.screen import OUT, make_table, moment
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
        table = make_table(("id", "kind", "status", "started"), ("seconds", "read", "written", "calls"))
        for row in page["data"]:
            counts = row["counts"]
            written = counts["inserted"] + counts["updated"] + counts["deleted"]
            numbers = (row["read"], written, row["stripe_calls"])
            cells = (moment(row["started_at"]), _duration(row), *(f"{number:,}" for number in numbers))
            table.add_row(row["id"], row["kind"], row["status"], *cells)
        OUT.print(table)
        return 0

    main_task(show())


def _duration(row: dict[str, Any]) -> str:
    if not row["started_at"] or not row["finished_at"]:
        return ""
    times = [datetime.fromisoformat(row[name]) for name in ("started_at", "finished_at")]
    return f"{(times[1] - times[0]).total_seconds():.1f}"
