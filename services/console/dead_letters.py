"""Commands about dead letters: what could not be written, by cause; trying it again, and discarding it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from services.console.client import ApiClient, path_of
from services.console.consent import consent, tell
from services.console.listing import Column, Listing, show_rows
from services.console.options import AsJson, Limit, OfConnection, Yes
from services.console.picking import pick_connection
from services.console.screen import OUT, amount, facts_view, plain, show_done, show_json
from services.console.task import FAILED, WrongUseError, with_api
from services.console.times import minute, moment

cli = typer.Typer(no_args_is_help=True, help="Records that can't be written, and webhooks that can't be used.")
BASE = "/v1/dead-letters"
POLL_INTERVAL = 0.5  # seconds

LetterIds = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Dead letters, by their ids.")]
OfGroup = Annotated[str | None, typer.Option("--group", help="Only those with this cause, by the group's id.")]
OfDestination = Annotated[str | None, typer.Option("--destination", help="Only those of this destination, by its id.")]
OfCode = Annotated[str | None, typer.Option("--code", help="Only those with this code, such as message_invalid.")]
OfResource = Annotated[str | None, typer.Option("--resource", help="Only those of this resource, such as charge.")]
All = Annotated[bool, typer.Option("--all", help="Every dead letter there is.")]


@cli.command("list")
def list_newest(
    connection: OfConnection = None,
    group: OfGroup = None,
    destination: OfDestination = None,
    code: OfCode = None,
    resource: OfResource = None,
    limit: Limit = 25,
    as_json: AsJson = False,
) -> None:
    """Show dead letters, newest first."""

    async def show(api: ApiClient) -> None:
        filters = await _filters(api, connection, destination, code, resource, group)
        found = await api.list(BASE, at_most=limit, **filters)
        show_rows(found, letters_table, if_none="There is no dead letter.", as_json=as_json)

    with_api(show, as_json=as_json)


@cli.command()
def groups(
    connection: OfConnection = None,
    destination: OfDestination = None,
    code: OfCode = None,
    resource: OfResource = None,
    limit: Limit = 25,
    as_json: AsJson = False,
) -> None:
    """Show dead letters by their cause, that with the newest letter first."""

    async def show(api: ApiClient) -> None:
        filters = await _filters(api, connection, destination, code, resource)
        found = await api.list(f"{BASE}/groups", at_most=limit, **filters)
        show_rows(found, groups_view, if_none="There is no dead letter.", as_json=as_json)

    with_api(show, as_json=as_json)


@cli.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="The dead letter's id.")], as_json: AsJson = False
) -> None:
    """Show a dead letter with its body."""

    async def answer(api: ApiClient) -> None:
        letter = await api.get(path_of(BASE, letter_id))
        if as_json:
            show_json(letter)
        else:
            OUT.print(letter_view(letter))

    with_api(answer, as_json=as_json)


@cli.command()
def replay(
    ids: LetterIds = None,
    connection: OfConnection = None,
    group: OfGroup = None,
    destination: OfDestination = None,
    code: OfCode = None,
    resource: OfResource = None,
    every: All = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Try dead letters again, which is always safe, and wait for the end; exit with 1 if some are left."""

    async def change(api: ApiClient) -> int:
        chosen = _chosen(ids, await _filters(api, connection, destination, code, resource, group), is_all=every)
        if not ids:
            consent(f"Try {await _how_many(api, chosen)} again?", yes=yes)
        answer = await api.post(f"{BASE}/replay", chosen)
        while answer["status"] == "running":
            await asyncio.sleep(POLL_INTERVAL)
            answer = await api.get(path_of(f"{BASE}/replays", answer["id"]))
        if as_json:
            show_json(answer)
        else:
            _tell_replay(answer)
        return FAILED if answer["failed"] or answer["skipped"] else 0

    with_api(change, as_json=as_json)


@cli.command()
def discard(
    ids: LetterIds = None,
    connection: OfConnection = None,
    group: OfGroup = None,
    destination: OfDestination = None,
    code: OfCode = None,
    resource: OfResource = None,
    every: All = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete dead letters for good: what they hold is not written."""

    async def change(api: ApiClient) -> None:
        chosen = _chosen(ids, await _filters(api, connection, destination, code, resource, group), is_all=every)
        number = amount(len(ids), "dead letter", "dead letters") if ids else await _how_many(api, chosen)
        consent(f"Discard {number} for good?", yes=yes)
        answer = await api.post(f"{BASE}/discard", chosen)
        if as_json:
            show_json(answer)
        else:
            show_done(f"Discarded {amount(answer['discarded'], 'dead letter', 'dead letters')}.")

    with_api(change, as_json=as_json)


def letters_table(rows: list[dict[str, Any]]) -> Listing:
    """Return a row per letter."""
    listing = Listing(
        "id",
        Column("object", is_extra=True),
        "code",
        Column("attempts", is_number=True, is_extra=True),
        Column("first seen", is_extra=True),
        Column("reason", may_fold=True),
    )
    for row in rows:
        about = row["object_id"] or row["resource"] or ""
        attempts, seen = f"{row['attempts']:,}", minute(row["first_seen_at"])
        listing.add(row["id"], about, row["code"], attempts, seen, row["reason"])
    return listing


def groups_view(rows: list[dict[str, Any]]) -> RenderableType:
    """Return how many letters each cause has, with an example."""
    parts: list[RenderableType] = []
    for row in rows:
        head = f"{amount(row['letters'], 'record', 'records')} failed: "
        parts.append(Text.assemble((head, "bold"), plain(row["summary"])))
        about = (("Group", row["id"]), ("Resource", row["resource"]), ("Connection", row["connection_id"]))
        rest = (
            ("Destination", row["destination_id"]),
            ("Seen", f"{minute(row['first_seen_at'])} to {minute(row['last_seen_at'])}"),
            ("Example", row["example_id"]),
        )
        parts += [facts_view([(name, value) for name, value in (*about, *rest) if value], indent=2), Text()]
    return Group(*parts[:-1])


def letter_view(letter: dict[str, Any]) -> RenderableType:
    """Return all that is known of a letter."""
    facts = [
        ("Id", letter["id"]),
        ("Reason", letter["reason"]),
        ("Code", letter["code"]),
        ("Stage", letter["stage"]),
        ("Connection", letter["connection_id"]),
        ("Destination", letter["destination_id"]),
        ("Resource", letter["resource"]),
        ("Object", letter["object_id"]),
        ("From", f"{letter['topic']}, partition {letter['partition']}, offset {letter['offset']}"),
        ("Attempts", f"{letter['attempts']:,}"),
        ("First seen", moment(letter["first_seen_at"])),
        ("Last seen", moment(letter["last_seen_at"])),
        ("Group", letter["group_id"]),
    ]
    cut = f", of which this is the beginning ({letter['size']:,} bytes)" if letter["is_cut"] else ""
    return Group(
        facts_view([(name, value) for name, value in facts if value]),
        Text(f"\nBody{cut}:", style="dim"),
        Text(plain(letter["body"])),
    )


def _tell_replay(answer: dict[str, Any]) -> None:
    show_done(f"Written: {answer['written']:,} of {amount(answer['letters'], 'dead letter', 'dead letters')}.")
    if answer["asked"]:
        tell(f"{answer['asked']:,} were too old or could not be read: Stripe is asked for their objects instead.")
    if answer["failed"]:
        tell(f"{answer['failed']:,} failed again; `tillstream dead-letters groups` has the new reasons.")
    if answer["skipped"]:
        tell(f"{answer['skipped']:,} can't be replayed. {answer['note']}")


async def _filters(
    api: ApiClient,
    connection: str | None,
    destination: str | None,
    code: str | None,
    resource: str | None,
    group: str | None = None,
) -> dict[str, str | int | None]:
    return {
        "connection_id": (await pick_connection(api, connection))["id"] if connection else None,
        "destination_id": destination,
        "code": code,
        "resource": resource,
        "group_id": group,
    }


def _chosen(ids: list[str] | None, filters: Mapping[str, Any], *, is_all: bool) -> dict[str, Any]:
    """Return what the API is to do something to; raise `WrongUseError` where that is not clear."""
    filled = {name: value for name, value in filters.items() if value}
    if [bool(ids), is_all, bool(filled)].count(True) != 1:
        raise WrongUseError("Name ids, or a filter such as --group, or --all: exactly one of them.")
    return {"ids": ids} if ids else {"all": True} if is_all else filled


async def _how_many(api: ApiClient, chosen: dict[str, Any]) -> str:
    """Return how many letters are meant, in words; of a filter that is no group's, without a number."""
    if chosen.get("all") or set(chosen) <= {"connection_id", "destination_id", "code", "resource"}:
        filters = {name: value for name, value in chosen.items() if name != "all"}
        rows = (await api.list(f"{BASE}/groups", **filters)).data
        return amount(sum(row["letters"] for row in rows), "dead letter", "dead letters")
    return "the dead letters of this cause"
