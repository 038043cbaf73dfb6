"""`tillstream verify`: whether the rows are what Stripe has, and putting right what is not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from services.console import completion
from services.console.client import ApiClient, ApiUnavailableError
from services.console.listing import Column, Listing
from services.console.options import AsJson
from services.console.picking import only_connection, pick_connection
from services.console.progress import calls_of, duration_of, is_open
from services.console.screen import ERRORS, OUT, amount, plain, show_done, show_json
from services.console.task import FAILED, with_api
from services.console.times import ago

POLL_INTERVAL = 0.5  # seconds
SHOWN = 50  # differences
COUNTS = ("compared", "equal", "newer", "different", "missing", "extra", "skipped")
WRONG = ("different", "missing", "extra")


def verify(
    connection: Annotated[
        str | None,
        typer.Argument(
            help="Its id, its account's id, or a unique part of the account's name; may be left out if there is one.",
            autocompletion=completion.connections,
        ),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Compare everything, at a call for every 100 objects, instead of a sample.")
    ] = False,
    resource: Annotated[
        list[str] | None, typer.Option(help="Compare this resource only; may be given more than once.")
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Ask Stripe for what differs, and write it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare the rows with what Stripe has, and exit with 1 if any differ; no row is changed without --repair."""

    async def compare(api: ApiClient) -> int:
        found = await (pick_connection(api, connection) if connection else only_connection(api))
        body = {"full": full, **({"resources": resource} if resource else {})}
        sync = await api.post(f"/v1/connections/{found['id']}/verify", body)
        sync = await _ended(api, sync["id"])
        differences = (await api.list(f"/v1/syncs/{sync['id']}/differences")).data
        repaired = 0
        if not as_json:
            _show(sync, differences)
        if repair and differences:
            repaired = (await api.post(f"/v1/syncs/{sync['id']}/repair"))["objects"]
        if as_json:
            show_json(sync | {"differences": differences, "repaired": repaired})
        elif repaired:
            show_done(f"Stripe is asked for {amount(repaired, 'object', 'objects')}. Compare again in a moment.")
        return FAILED if _wrong(sync) or sync["status"] != "succeeded" else 0

    with_api(compare, as_json=as_json)


async def _ended(api: ApiClient, sync_id: str) -> dict[str, Any]:
    """Return the sync once it has ended, however long that takes."""
    while True:
        try:
            sync: dict[str, Any] = await api.get(f"/v1/syncs/{sync_id}")
        except ApiUnavailableError:
            await asyncio.sleep(POLL_INTERVAL)
            continue
        if not is_open(sync):
            return sync
        await asyncio.sleep(POLL_INTERVAL)


def _wrong(sync: dict[str, Any]) -> int:
    return sum(row[name] for row in sync["comparison"] for name in WRONG)


def _show(sync: dict[str, Any], differences: list[dict[str, Any]]) -> None:
    OUT.print(comparison_table(sync["comparison"]) if sync["comparison"] else "Nothing was compared.")
    now = datetime.now(UTC)
    OUT.print()
    if sync["cause"]:
        OUT.print(Text(plain(sync["cause"]), style="red"))
    wrong = _wrong(sync)
    summary = (
        f"{amount(wrong, 'difference', 'differences')}, {calls_of(sync)} calls to Stripe, {duration_of(sync, now)}"
    )
    OUT.print(Text(summary, style="red" if wrong else "green"))
    if differences:
        OUT.print()
        OUT.print(differences_table(differences[:SHOWN], now))
    if wrong > SHOWN:
        ERRORS.print(f"These are the first {SHOWN}; `--json` gives up to 1,000.", markup=False)


def comparison_table(rows: list[dict[str, Any]]) -> Listing:
    """Return a row per resource and destination with its counts."""
    places = {row["destination_id"] for row in rows}
    place = ["destination"] if len(places) > 1 else []
    listing = Listing("resource", *place, *(Column(name, is_number=True) for name in COUNTS))
    for row in rows:
        where = [row["destination_id"]] if place else []
        listing.add(row["resource"], *where, *(_cell(row, name) for name in COUNTS))
    return listing


def differences_table(rows: list[dict[str, Any]], now: datetime) -> Listing:
    """Return a row per difference."""
    listing = Listing("object", "resource", "what", Column("fields", may_fold=True), "repair")
    for row in rows:
        asked = ago(row["repaired_at"], now) if row["repaired_at"] else ""
        asked = "waits for the destination" if row["is_waiting"] else asked
        listing.add(row["object_id"], row["resource"], row["kind"], ", ".join(row["fields"]), asked)
    return listing


def _cell(row: dict[str, Any], name: str) -> Text:
    style = "red" if name in WRONG and row[name] else "yellow" if name == "skipped" and row[name] else ""
    return Text(f"{row[name]:,}", style=style)
