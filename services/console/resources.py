"""Commands about the catalogue."""

from __future__ import annotations

from typing import Any

import typer

from services.console.client import ApiClient
from services.console.listing import Column, Listing
from services.console.options import AsJson
from services.console.screen import OUT, show_json
from services.console.task import with_api

cli = typer.Typer(no_args_is_help=True, help="What can be synced.")


@cli.command("list")
def list_all(as_json: AsJson = False) -> None:
    """Show all resources, with their tables and the permissions that they need."""

    async def show(api: ApiClient) -> None:
        rows = (await api.get("/v1/resources"))["data"]
        if as_json:
            show_json(rows)
        else:
            OUT.print(resources_table(rows))

    with_api(show, as_json=as_json)


def resources_table(rows: list[dict[str, Any]]) -> Listing:
    """Return a row per resource."""
    table, children = Column("table", is_extra=True), Column("children", is_extra=True)
    listing = Listing("name", "group", "by default", "permission", table, children)
    for row in rows:
        default = "yes" if row["is_default"] else "no"
        cells = (row["name"], row["group"], default, row["permission"], row["table"])
        listing.add(*cells, ", ".join(row["children"]))
    return listing
