"""`tillstream ask`: ready questions about an account's rows, their SQL and their answers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from services.console import completion
from services.console.client import ApiClient, path_of
from services.console.listing import Column, Listing
from services.console.options import AsJson
from services.console.picking import only_connection, pick_connection
from services.console.screen import ERRORS, OUT, plain, show_json
from services.console.task import with_api
from services.console.times import moment

NUMBERS = ("amount", "number")
FOLDED = ("email", "reason")  # ids stay whole, so that they can be copied


def ask(
    name: Annotated[str | None, typer.Argument(help="Which question; without it all are listed.")] = None,
    connection: Annotated[
        str | None,
        typer.Option(
            "--account",
            "--connection",
            help="Whose rows: a connection's id, its account's id, or a unique part of its name. "
            "May be left out if there is one.",
            autocompletion=completion.connections,
        ),
    ] = None,
    destination: Annotated[
        str | None, typer.Option(metavar="ID", help="At which destination, if the account has several.")
    ] = None,
    zone: Annotated[str, typer.Option(help="Whose days are meant, such as Europe/Berlin.")] = "UTC",
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL instead of the answer.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask a ready question about an account's rows: read-only, at most 100 rows."""

    async def show(api: ApiClient) -> None:
        found = await (pick_connection(api, connection) if connection else only_connection(api))
        path = f"/v1/connections/{found['id']}/questions"
        if name is None:
            rows = (await api.get(path))["data"]
            show_json(rows) if as_json else OUT.print(questions_table(rows))
            return
        place = path_of(path, name) if sql else path_of(path, name, "answer")
        answer = await api.get(place, destination_id=destination, zone=zone)
        if as_json:
            show_json(answer)
        elif sql:
            OUT.print(plain(answer["sql"]), markup=False, soft_wrap=True)
        else:
            _show(answer)

    with_api(show, as_json=as_json)


def _show(answer: dict[str, Any]) -> None:
    OUT.print(answer_table(answer) if answer["rows"] else "No row fits this question.")
    if answer["has_more"]:
        ERRORS.print(f"These are the first {len(answer['rows'])} rows; `--sql` prints the SQL that gives all.")


def questions_table(rows: list[dict[str, Any]]) -> Listing:
    """Return a row per question."""
    listing = Listing("name", Column("what it tells", may_fold=True), Column("sync first", may_fold=True))
    for row in rows:
        listing.add(row["name"], row["sentence"], ", ".join(row["missing"]))
    return listing


def answer_table(answer: dict[str, Any]) -> Listing:
    """Return the rows of an answer under its columns."""
    columns = answer["columns"]
    listing = Listing(
        *(Column(one["name"], is_number=one["kind"] in NUMBERS, may_fold=one["name"] in FOLDED) for one in columns)
    )
    for row in answer["rows"]:
        listing.add(*(_cell(one["kind"], value) for one, value in zip(columns, row, strict=True)))
    return listing


def _cell(kind: str, value: str | int | None) -> str:
    if value is None:
        return ""
    return moment(str(value)) if kind == "time" else str(value)
