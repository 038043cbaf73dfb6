"""Commands about the audit log: who did what, and whether the log is whole."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from services.console.client import ApiClient
from services.console.listing import Column, Listing, show_rows
from services.console.options import AsJson, Limit
from services.console.screen import ERRORS, amount, show_done, show_json
from services.console.task import FAILED, with_api
from services.console.times import minute

cli = typer.Typer(no_args_is_help=True, help="Who did what, in a log that can't be changed unseen.")


@cli.command("list")
def list_newest(
    subject: Annotated[str | None, typer.Option(help="Only what was done to this: the id of a connection, …")] = None,
    limit: Limit = 25,
    as_json: AsJson = False,
) -> None:
    """Show who did what, newest first."""

    async def show(api: ApiClient) -> None:
        found = await api.list("/v1/audit-log", at_most=limit, subject=subject)
        show_rows(found, audit_table, if_none="Nothing was done yet.", as_json=as_json)

    with_api(show, as_json=as_json)


def audit_table(rows: list[dict[str, Any]]) -> Listing:
    """Return a row per entry."""
    listing = Listing("what", "when", "who", "to", Column("no.", is_number=True), Column("details", may_fold=True))
    for row in rows:
        details = ", ".join(f"{name} {_text(value)}" for name, value in row["details"].items())
        who = row["person"] or row["actor"]
        listing.add(row["action"], minute(row["at"]), who, row["subject"], str(row["id"]), details)
    return listing


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@cli.command()
def verify(as_json: AsJson = False) -> None:
    """Compute every hash of the log anew; exit with 1 if an entry was changed or taken out."""

    async def prove(api: ApiClient) -> int:
        answer = await api.get("/v1/audit-log/verification")
        broken_at = answer["broken_at"]
        if as_json:
            show_json(answer)
        elif broken_at is None:
            sealed = answer["sealed_to"]
            until = f", sealed up to entry {sealed}" if sealed else ", not sealed yet"
            show_done(f"The audit log is whole: {amount(answer['entries'], 'entry', 'entries')}{until}.")
        else:
            ERRORS.print(f"[red]✗[/] Entry {broken_at} was changed or taken out, or one before it was.")
        return 0 if broken_at is None else FAILED

    with_api(prove, as_json=as_json)
