"""Commands about rows at destinations: one object, found by its id alone."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.syntax import Syntax
from rich.text import Text

from services.console.client import ApiClient, path_of
from services.console.options import AsJson
from services.console.screen import OUT, facts_view, plain, show_json
from services.console.task import with_api
from services.console.times import moment
from shared.errors import NotFoundError

cli = typer.Typer(no_args_is_help=True, help="Rows in your destinations, read with the destination's own login.")


@cli.command()
def show(
    object_id: Annotated[str, typer.Argument(metavar="ID", help="An object's id in Stripe, such as ch_3Nf….")],
    as_json: AsJson = False,
) -> None:
    """Show an object's rows: in which account, destination and table, and the whole object."""

    async def answer(api: ApiClient) -> None:
        found = await api.get(path_of("/v1/objects", object_id))
        if as_json:
            show_json(found)
            return
        if not found["rows"]:
            kind = f" It would be a {found['resource'].replace('_', ' ')}." if found["resource"] else ""
            raise NotFoundError(
                f"No destination has a row of {object_id}.{kind} "
                f"`tillstream events show {object_id}` tells what came of it."
            )
        for number, row in enumerate(found["rows"]):
            OUT.print(row_view(row) if number == 0 else Group(Text(), row_view(row)))

    with_api(answer, as_json=as_json)


def row_view(row: dict[str, Any]) -> Group:
    """Return where a row is, and the object that it holds."""
    facts = [
        ("Connection", f"{row['connection_name']}  {row['connection_id']}"),
        ("Destination", row["destination_name"]),
        ("Table", f"{row['db_schema']}.{row['table']}"),
        ("Written", moment(row["synced_at"])),
        *([("Deleted", "in Stripe; the row is kept and marked")] if row["is_deleted"] else []),
    ]
    told = json.dumps(row["data"], indent=2, ensure_ascii=False) if row["data"] is not None else "It is too large."
    return Group(facts_view(facts), Text(), Syntax(plain(told), "json", background_color="default", word_wrap=True))
