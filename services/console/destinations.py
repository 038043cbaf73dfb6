"""Commands about destinations."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from services.console import completion
from services.console.client import ApiClient
from services.console.consent import consent, read_secret, tell
from services.console.listing import Column, Listing
from services.console.options import AsJson, DestinationName, Yes
from services.console.picking import pick_destination
from services.console.progress import delays_table
from services.console.rebuilding import rebuild
from services.console.screen import OUT, amount, plain, show_done, show_json, with_tone
from services.console.task import FAILED, WrongUseError, with_api
from shared.destinations import DeletedRows

cli = typer.Typer(no_args_is_help=True, help="Databases that rows go to: add, test, change and remove them.")
cli.command()(rebuild)
ADDRESS_PROMPT = "postgresql://user:password@host:5432/database"
DELETED_ROWS = "What becomes of the row of an object that is deleted at Stripe."
CaFile = Annotated[
    Path | None,
    typer.Option("--ca", exists=True, dir_okay=False, help="File with the CA's certificate in PEM, if it is private."),
]
TakeOver = Annotated[
    bool,
    typer.Option(
        "--take-over", help="Fill the schema although another one fills it, which then writes nothing there any more."
    ),
]
Schema = Annotated[str, typer.Option(help="Schema that the tables are made in.")]


@cli.command()
def add(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    schema: Schema = "stripe",
    ca: CaFile = None,
    deleted_rows: Annotated[DeletedRows, typer.Option(help=DELETED_ROWS)] = DeletedRows.MARKED,
    take_over: TakeOver = False,
    as_json: AsJson = False,
) -> None:
    """Add a Postgres database, after a test; its address is read from a prompt, or from standard input."""

    async def create(api: ApiClient) -> None:
        url = read_secret(ADDRESS_PROMPT, what="address")
        chosen = {"take_over": True} if take_over else {}
        body = {"name": name, "url": url, "schema": schema, "deleted_rows": deleted_rows, **_certificate(ca), **chosen}
        destination = await api.post("/v1/destinations", body)
        if as_json:
            show_json(destination)
        else:
            show_done(f"Added {name} as {destination['id']}.")

    with_api(create, as_json=as_json)


@cli.command("test")
def try_out(
    destination: Annotated[
        str | None,
        typer.Argument(
            help="Its id, or a unique part of its name; without it, an address is read.",
            autocompletion=completion.destinations,
        ),
    ] = None,
    schema: Schema = "stripe",
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Try a destination, or an address from a prompt or standard input; exit with 1 if something fails."""

    async def attempt(api: ApiClient) -> int:
        if destination:
            found = await pick_destination(api, destination)
            answer = await api.post(f"/v1/destinations/{found['id']}/test")
        else:
            url = read_secret(ADDRESS_PROMPT, what="address")
            answer = await api.post("/v1/destinations/test", {"url": url, "schema": schema, **_certificate(ca)})
        if as_json:
            show_json(answer)
        else:
            OUT.print(test_view(answer))
        return 0 if answer["passed"] else FAILED

    with_api(attempt, as_json=as_json)


def _certificate(file: Path | None) -> dict[str, str]:
    return {"ca": file.read_text("ascii", "replace")} if file else {}


def test_view(answer: dict[str, Any]) -> RenderableType:
    """Return a line per thing that was tried; below one that failed, what to do about it."""
    parts: list[RenderableType] = []
    for step in answer["steps"]:
        tone = "passed" if step["passed"] else "bad"
        parts.append(with_tone(tone, f"{step['name']}: {step['message']}"))
        parts += [Text(f"  {plain(step['fix'])}")] if step["fix"] else []
        parts += [Text(), Text(plain(step["sql"])), Text()] if step["sql"] else []
    return Group(*parts)


@cli.command()
def change(
    destination: DestinationName,
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    address: Annotated[
        bool, typer.Option("--address", help="Read a new address from a prompt, or from standard input.")
    ] = False,
    ca: CaFile = None,
    deleted_rows: Annotated[DeletedRows | None, typer.Option(help=DELETED_ROWS)] = None,
    take_over: TakeOver = False,
    as_json: AsJson = False,
) -> None:
    """Change a destination's name, address or treatment of deleted rows; an address is tried before it is kept."""

    async def alter(api: ApiClient) -> None:
        if name is None and not address and ca is None and deleted_rows is None and not take_over:
            raise WrongUseError("Nothing would change: give --name, --address, --ca, --deleted-rows or --take-over.")
        found = await pick_destination(api, destination)
        body = {
            **({"name": name} if name is not None else {}),
            **({"deleted_rows": deleted_rows} if deleted_rows else {}),
            **({"take_over": True} if take_over else {}),
            **({"url": read_secret(ADDRESS_PROMPT, what="address")} if address else {}),
            **_certificate(ca),
        }
        changed = await api.patch(f"/v1/destinations/{found['id']}", body)
        if as_json:
            show_json(changed)
        else:
            kept = f"deleted rows are {changed['deleted_rows']}"
            show_done(f"{changed['name']} is now {address_of(changed)}, schema {changed['schema']}; {kept}.")

    with_api(alter, as_json=as_json)


@cli.command("list")
def list_all(as_json: AsJson = False) -> None:
    """Show all destinations."""

    async def show(api: ApiClient) -> None:
        rows = (await api.list("/v1/destinations")).data
        if as_json:
            show_json(rows)
        elif rows:
            OUT.print(destinations_table(rows))
        else:
            OUT.print("There is no destination yet. Add one with `tillstream destinations add`.")

    with_api(show, as_json=as_json)


def destinations_table(rows: list[dict[str, Any]]) -> Listing:
    """Return a row per destination."""
    name, address = Column("name", may_fold=True), Column("address", may_fold=True)
    # Only where something waits.
    waiting = [Column("waiting", may_fold=True)] if any(waiting_of(row) for row in rows) else []
    listing = Listing("id", name, address, "schema", "user", Column("TLS", is_extra=True), *waiting)
    for row in rows:
        place = (row["id"], row["name"], address_of(row), row["schema"], row["user"], row["sslmode"])
        listing.add(*place, *([waiting_of(row)] if waiting else []))
    return listing


def waiting_of(row: dict[str, Any]) -> str:
    """Return how many records wait for a destination, and why."""
    records = amount(row["parked"], "record", "records") if row["parked"] else ""
    return ": ".join(part for part in (records, row["delays"][0]["cause"] if row["delays"] else "") if part)


@cli.command()
def show(destination: DestinationName, as_json: AsJson = False) -> None:
    """Show a destination: where it is, what waits for it, and why."""

    async def tell_all(api: ApiClient) -> None:
        found = await api.get(f"/v1/destinations/{(await pick_destination(api, destination))['id']}")
        if as_json:
            show_json(found)
            return
        OUT.print(destinations_table([found]))
        if found["delays"]:
            OUT.print(delays_table(found["delays"], datetime.now(UTC)))

    with_api(tell_all, as_json=as_json)


@cli.command()
def remove(destination: DestinationName, yes: Yes = False, as_json: AsJson = False) -> None:
    """Forget a destination that no connection uses; its rows stay."""

    async def forget(api: ApiClient) -> None:
        found = await pick_destination(api, destination)
        if not yes:
            tell(f"{found['name']}, {address_of(found)}: its address and password are forgotten, its rows stay.")
        consent("Remove it?", yes=yes)
        await api.delete(f"/v1/destinations/{found['id']}")
        if as_json:
            show_json({"id": found["id"], "removed": True})
        else:
            show_done(f"Removed {found['name']}.")

    with_api(forget, as_json=as_json)


def address_of(row: dict[str, Any]) -> str:
    """Return where a destination is, without its password."""
    return f"{row['host']}:{row['port']}/{row['database']}"
