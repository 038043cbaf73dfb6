"""`connections remove` and `connections removals`: what will go, the consent, and the receipt."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from services.connection_api.life.confirmation import names_to_type
from services.console import completion
from services.console.client import ApiClient, path_of
from services.console.consent import ask, can_ask, consent, consent_by_name, tell
from services.console.listing import Column, Listing
from services.console.options import AsJson, ConnectionName, Limit, Yes
from services.console.picking import mode_of, pick_connection
from services.console.screen import ERRORS, OUT, amount, facts_view, plain, show_done, show_json, with_tone
from services.console.task import WrongUseError, with_api
from services.console.times import minute, moment

DeleteRows = Annotated[
    bool | None,
    typer.Option("--delete-rows/--keep-rows", help="Whether its rows are deleted from the destinations too."),
]
STEPS = {
    "endpoint": "Webhook endpoint at Stripe",
    "key": "Key and secrets",
    "rows": "Rows in the destinations",
    "history": "History and the connection",
}


def remove(
    connection: ConnectionName, delete_rows: DeleteRows = None, yes: Yes = False, as_json: AsJson = False
) -> None:
    """Remove a connection for good, after showing what will go and asking for its name."""

    async def begin(api: ApiClient) -> None:
        if delete_rows is None and (yes or not can_ask()):
            raise WrongUseError("Say what becomes of the rows in the destinations: give --delete-rows or --keep-rows.")
        found = await pick_connection(api, connection)
        is_deleting = bool(delete_rows) if yes else await _agree(api, found, delete_rows)
        body = {"account_name": found["id"], "delete_rows": is_deleting}
        removal = await api.post(f"/v1/connections/{found['id']}/removal", body)
        if as_json:
            show_json(removal)
        else:
            show_done(
                f"{found['name']} is being removed. Its receipt: `tillstream connections removals {removal['id']}`."
            )

    with_api(begin, as_json=as_json)


async def _agree(api: ApiClient, connection: dict[str, Any], delete_rows: bool | None) -> bool:
    """Return whether rows are deleted, once the person has seen what goes and typed its name."""
    preview = await api.get(f"/v1/connections/{connection['id']}/removal")
    ERRORS.print(preview_view(preview))
    if delete_rows is None:
        delete_rows = ask("Delete its rows from the destinations too?")
    fate = "Its rows will be deleted." if delete_rows else "Its rows will stay."
    tell(f"{fate} This can't be undone.")
    accepted = names_to_type(connection["name"], connection["id"])
    consent_by_name(f"Type its name ({accepted[0]}) to remove it", accepted, yes=False)
    return delete_rows


def preview_view(preview: dict[str, Any]) -> RenderableType:
    """Return what a removal takes away."""
    endpoint = preview["webhook_endpoint_id"] or "none"
    facts: list[tuple[str, str | Text]] = [
        ("Webhook endpoint", f"{endpoint}, deleted at Stripe" if preview["webhook_endpoint_id"] else endpoint),
        ("Key", "destroyed"),
        ("History", f"{amount(preview['syncs'], 'sync', 'syncs')}, {amount(preview['events'], 'event', 'events')}"),
        ("Waiting", _waiting(preview)),
    ]
    parts: list[RenderableType] = [
        Text(f"Removing {plain(preview['name'])} takes away for good:", style="bold"),
        facts_view(facts, indent=2),
        Text(f"Its rows, which you may keep: {_rows(preview)}"),
    ]
    if preview["tables"]:
        listing = Listing("table", "destination", Column("rows", is_number=True))
        for row in preview["tables"]:
            listing.add(row["table"], row["destination_name"], f"{row['rows']:,}")
        parts.append(listing)
    parts += [with_tone("warning", f"{name} does not answer: its rows are not counted.") for name in unreached(preview)]
    return Group(*parts)


def unreached(preview: dict[str, Any]) -> list[str]:
    """Return the names of the destinations that could not be asked."""
    return list(preview["unreachable"])


def _rows(preview: dict[str, Any]) -> str:
    return amount(sum(row["rows"] for row in preview["tables"]), "row", "rows")


def _waiting(preview: dict[str, Any]) -> str:
    letters = amount(preview["dead_letters"], "dead letter", "dead letters")
    return f"{letters}, {amount(preview['parked_records'], 'record', 'records')} that a destination could not take yet"


def removals(
    removal_id: Annotated[
        str | None, typer.Argument(help="Show this one's receipt.", autocompletion=completion.removals)
    ] = None,
    limit: Limit = 25,
    as_json: AsJson = False,
) -> None:
    """Show removals, or the receipt of one."""

    async def show(api: ApiClient) -> None:
        if removal_id:
            removal = await api.get(path_of("/v1/removals", removal_id))
            show_json(removal) if as_json else OUT.print(receipt_view(removal))
            return
        found = await api.list("/v1/removals", at_most=limit)
        if as_json:
            show_json(found.data)
        else:
            OUT.print(removals_table(found.data) if found.data else "No connection has been removed.")

    with_api(show, as_json=as_json)


def give_up_rows(
    removal_id: Annotated[str, typer.Argument(metavar="REMOVAL", autocompletion=completion.removals)],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Leave the rows that a removal has not deleted yet, such as those in a destination that is gone for good."""

    async def leave(api: ApiClient) -> None:
        if not yes:
            ERRORS.print(receipt_view(await api.get(path_of("/v1/removals", removal_id))))
            consent("Leave these rows where they are? This can't be undone.", yes=yes)
        removal = await api.post(path_of("/v1/removals", removal_id, "give-up-rows"))
        if as_json:
            show_json(removal)
        else:
            show_done("The rows stay where they are; the removal goes on without them.")

    with_api(leave, as_json=as_json)


def removals_table(rows: list[dict[str, Any]]) -> Listing:
    """Return a row per removal."""
    listing = Listing("id", "account", "mode", "requested", "rows", "status")
    for row in rows:
        fate = "deleted" if row["deletes_rows"] else "kept"
        listing.add(row["id"], row["account_id"], mode_of(row), minute(row["requested_at"]), fate, _status(row))
    return listing


def receipt_view(removal: dict[str, Any]) -> RenderableType:
    """Return what was undone, when, and how much of it."""
    parts: list[RenderableType] = [Text.assemble(("Removal  ", "bold"), _status(removal))]
    if removal["cause"]:
        parts.append(Text(f"It waits: {plain(removal['cause'])}"))
    for wait in removal["waits"]:
        tried = amount(wait["attempts"], "time", "times")
        since, following = moment(wait["since"]), moment(wait["next_try_at"])
        parts.append(Text(f"Since {since}, tried {tried}, next try {following}: {plain(wait['cause'])}"))
    fate = "deleted" if removal["deletes_rows"] else "kept"
    facts: list[tuple[str, str | Text]] = [
        ("Id", removal["id"]),
        ("Connection", removal["connection_id"]),
        ("Account", f"{removal['account_id']}  {mode_of(removal)}"),
        ("Rows", fate),
        ("Requested", moment(removal["requested_at"])),
        ("Finished", moment(removal["finished_at"]) or "not yet"),
        *((f"Kafka, {one['topic']}", f"until {moment(one['until'])}") for one in removal["leftovers"]),
    ]
    parts += [Text(), facts_view(facts)]
    if removal["steps"]:
        parts += [Text(), _steps(removal)]
    return Group(*parts)


def _status(removal: dict[str, Any]) -> Text:
    if removal["is_done"]:
        return with_tone("passed", "done")
    return with_tone("warning" if removal["cause"] else "busy", "waiting" if removal["cause"] else "under way")


def _steps(removal: dict[str, Any]) -> Listing:
    listing = Listing("step", "done", Column("what", may_fold=True))
    for step in removal["steps"]:
        counts = ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in step["counts"].items() if number)
        listing.add(STEPS[step["name"]], moment(step["at"]), ". ".join(filter(None, (counts, step["note"]))))
    return listing
