"""Commands about connections: list, show, add, pause, resume, sync, and a new signing secret."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from services.connection_api.status import Word
from services.console import completion
from services.console.client import ApiClient
from services.console.connection_view import connection_view, status_of
from services.console.consent import read_secret
from services.console.listing import Column, Listing
from services.console.options import AsJson, ConnectionName
from services.console.picking import mode_of, pick_connection, pick_destination
from services.console.screen import OUT, show_done, show_json
from services.console.task import WrongUseError, with_api
from services.console.times import ago, parse_start_date

cli = typer.Typer(no_args_is_help=True, help="Synced Stripe accounts: connect, watch, change and remove them.")
KEY_PROMPT = "Restricted key (rk_live_…)"
WORDS = ", ".join(word.lower() for word in Word)


def read_status(text: str | None) -> str | None:
    """Return one of the API's seven words, however it is written; raise `WrongUseError`."""
    if text is None:
        return None
    wanted = text.strip().lower().replace("-", " ").replace("_", " ")
    word = next((word for word in Word if word.lower() == wanted), None)
    if word is None:
        raise WrongUseError(f"--status “{text}” is no status: give {WORDS}.", field="status")
    return word.value


@cli.command("list")
def list_all(
    status: Annotated[str | None, typer.Option(help=f"Only those with this status: {WORDS}.")] = None,
    search: Annotated[
        str | None, typer.Option(help="Only those with this in their name, or in their account's name or id.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show all connections, or those that are looked for."""

    async def show(api: ApiClient) -> None:
        rows = (await api.list("/v1/connections", q=search, status=read_status(status))).data
        if as_json:
            show_json(rows)
        elif rows:
            OUT.print(connections_table(rows, datetime.now(UTC)))
        elif status or search:
            OUT.print("No connection fits. `tillstream connections list` shows all.")
        else:
            OUT.print("No Stripe account is connected yet. Connect one with `tillstream connections add`.")

    with_api(show, as_json=as_json)


def connections_table(rows: list[dict[str, Any]], now: datetime) -> Listing:
    """Return a row per connection."""
    listing = Listing(
        "id",
        Column("name", may_fold=True),
        Column("account id", is_extra=True),
        "mode",
        "status",
        "last sync",
        Column("today", is_number=True),
    )
    for row in rows:
        account = (row["id"], row["name"], row["account_id"], mode_of(row))
        listing.add(*account, status_of(row), ago(row["last_synced_at"], now), f"{row['rows_today']:,}")
    return listing


@cli.command()
def show(connection: ConnectionName, as_json: AsJson = False) -> None:
    """Show a connection: how it is, what is synced, what is wrong, its newest backfill."""

    async def answer(api: ApiClient) -> None:
        found = await pick_connection(api, connection)
        if as_json:
            show_json(found)
            return
        destinations = (await api.list("/v1/destinations")).data
        names = {row["id"]: row["name"] for row in destinations}
        OUT.print(connection_view(found, names, datetime.now(UTC)))

    with_api(answer, as_json=as_json)


@cli.command()
def add(
    destination: Annotated[
        list[str],
        typer.Option(
            help="Where its rows go: id or name of a destination; may be given more than once.",
            autocompletion=completion.destinations,
        ),
    ],
    start_date: Annotated[
        str,
        typer.Option(help="Leave out what was made before: all, 2y, 1y, 90d, today, or a date such as 2025-01-31."),
    ] = "all",
    resource: Annotated[
        list[str] | None,
        typer.Option(help="Sync this resource, instead of the usual ones; may be given more than once."),
    ] = None,
    account_id: Annotated[
        str | None, typer.Option(help="Needed only where Stripe does not tell the key which account it belongs to.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="What to call the connection, instead of after its account and its destination."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Connect a Stripe account; its restricted key is read from a prompt, or from standard input."""

    async def connect(api: ApiClient) -> None:
        body = {
            "destination_ids": [(await pick_destination(api, named))["id"] for named in destination],
            "start_date": parse_start_date(start_date, datetime.now(UTC)),
            **({"resources": resource} if resource else {}),
            **({"account_id": account_id} if account_id else {}),
            **({"name": name} if name else {}),
            "api_key": read_secret(KEY_PROMPT, what="key"),
        }
        connection = await api.post("/v1/connections", body)
        if as_json:
            show_json(connection)
        else:
            show_done(f"Connected {connection['name']} as {connection['id']}; its history is being copied.")
            OUT.print(f"See how far it is with `tillstream connections show {connection['id']}`.")

    with_api(connect, as_json=as_json)


@cli.command()
def rename(
    connection: ConnectionName,
    name: Annotated[str, typer.Argument(help="Its new name, which no other connection has.")],
    as_json: AsJson = False,
) -> None:
    """Give a connection another name; the name of its account at Stripe stays as it is."""

    async def change(api: ApiClient) -> None:
        found = await pick_connection(api, connection)
        changed = await api.patch(f"/v1/connections/{found['id']}", {"name": name})
        if as_json:
            show_json(changed)
        else:
            show_done(f"{found['name']} is called {changed['name']} now.")

    with_api(change, as_json=as_json)


@cli.command()
def pause(connection: ConnectionName, as_json: AsJson = False) -> None:
    """Stop calling Stripe; webhooks that arrive are still written."""
    _change(connection, "pause", "{} is paused; `tillstream connections resume` goes on.", as_json=as_json)


@cli.command()
def resume(connection: ConnectionName, as_json: AsJson = False) -> None:
    """Go on after a pause; what changed meanwhile is fetched."""
    _change(connection, "resume", "{} goes on; what changed meanwhile is fetched.", as_json=as_json)


@cli.command("deliver-again")
def deliver_again(connection: ConnectionName, as_json: AsJson = False) -> None:
    """Go on delivering where that has stopped because too many records became dead letters."""
    _change(connection, "deliver-again", "{} is delivered again, with what was kept.", as_json=as_json)


@cli.command("rotate-webhook-secret")
def rotate_webhook_secret(connection: ConnectionName, as_json: AsJson = False) -> None:
    """Replace the secret that Stripe signs webhooks with; none is lost meanwhile."""
    _change(connection, "webhook-secret", "{} has a new webhook secret.", as_json=as_json)


def _change(named: str, action: str, sentence: str, *, as_json: bool) -> None:
    async def change(api: ApiClient) -> None:
        found = await pick_connection(api, named)
        changed = await api.post(f"/v1/connections/{found['id']}/{action}")
        if as_json:
            show_json(changed)
        else:
            show_done(sentence.format(changed["name"]))

    with_api(change, as_json=as_json)


@cli.command()
def sync(
    connection: ConnectionName,
    resource: Annotated[
        list[str] | None,
        typer.Option(help="Read this resource anew, from the start date on; may be given more than once."),
    ] = None,
    object_: Annotated[
        str | None, typer.Option("--object", help="Read this one object anew, such as charge:ch_3Nf….")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare with Stripe now, or read resources or one object anew."""

    async def begin(api: ApiClient) -> None:
        body: dict[str, Any] = {"resources": resource} if resource else {}
        if object_ is not None:
            body["object"] = _read_object(object_)
        found = await pick_connection(api, connection)
        begun = await api.post(f"/v1/connections/{found['id']}/syncs", body)
        if as_json:
            show_json(begun)
        else:
            show_done(f"Begun. Follow it with `tillstream syncs show {begun['id']} --follow`.")

    with_api(begin, as_json=as_json)


def _read_object(text: str) -> dict[str, str]:
    resource, _, object_id = text.partition(":")
    if not (resource and object_id):
        raise WrongUseError(
            f"--object “{text}” names no object: give resource and id, such as charge:ch_3Nf….", field="object"
        )
    return {"resource": resource, "id": object_id}
