"""`tillstream status`: what needs somebody first, the worst of it first, then a line for each account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from services.console.client import ApiClient
from services.console.connection_view import command_for, status_of
from services.console.listing import Column, Listing
from services.console.options import AsJson
from services.console.picking import mode_of
from services.console.screen import OUT, amount, plain, show_json, with_tone
from services.console.task import FAILED, with_api
from services.console.times import ago, moment, span

TONES = ("bad", "warning", "busy", "quiet", "good")  # the worst first
SEVERITIES = ("person", "late")  # the worst first
NOTHING = "Nothing needs you."
Row = dict[str, Any]


def status(as_json: AsJson = False) -> None:
    """Show what needs somebody, then each account; exit with 1 if anything needs somebody, and else with 0."""

    async def show(api: ApiClient) -> int:
        connections = worst_first((await api.list("/v1/connections")).data)
        found = needs(connections)
        if as_json:
            show_json({"needs": found, "connections": connections})
        else:
            OUT.print(state_view(connections, found, datetime.now(UTC)))
        return FAILED if any(one["severity"] == "person" for one in found) else 0

    with_api(show, as_json=as_json)


def worst_first(connections: list[Row]) -> list[Row]:
    """Return connections by how they are, and by their names."""
    return sorted(connections, key=lambda one: (TONES.index(one["status"]["tone"]), one["name"].casefold()))


def needs(connections: list[Row]) -> list[Row]:
    """Return what connections owe, the worst first, each with the command that helps; what mends itself comes last.

    A status that is bad without anything owed, such as a removal that waits, counts as well.
    """
    found = []
    for connection in connections:
        for one in connection["owed"] or _by_status(connection["status"]):
            remedy = one["remedy"]
            found.append(
                {
                    "connection_id": connection["id"],
                    "connection_name": connection["name"],
                    "severity": one["severity"],
                    "sentence": one["sentence"],
                    "fix": one["fix"],
                    "command": command_for(connection["id"], remedy, one.get("about")) if remedy else None,
                    "since": one.get("since"),
                    "next_try_at": one.get("next_try_at"),
                }
            )
    return sorted(found, key=lambda one: SEVERITIES.index(one["severity"]))


def _by_status(status: Row) -> list[Row]:
    severity = {"bad": "person", "warning": "late"}.get(status["tone"])
    return [status | {"severity": severity}] if severity else []


def state_view(connections: list[Row], found: list[Row], now: datetime) -> RenderableType:
    """Return all that `status` shows."""
    if not connections:
        return Text("No Stripe account is connected yet. Connect one with `tillstream connections add`.")
    persons = sum(one["severity"] == "person" for one in found)
    head = with_tone("bad", f"{amount(persons, 'thing needs', 'things need')} you") if persons else None
    parts: list[RenderableType] = [head or with_tone("passed", NOTHING)]
    for one in found:
        parts += [Text(), *_need(one)]
    return Group(*parts, Text(), accounts_table(connections, now))


def _need(one: Row) -> list[RenderableType]:
    tone = "bad" if one["severity"] == "person" else "warning"
    since = f" Since {moment(one['since'])}." if one["since"] else ""
    lines: list[RenderableType] = [
        with_tone(tone, one["connection_name"]),
        Padding(Text(plain(one["sentence"] + since)), (0, 0, 0, 2)),
    ]
    if one["fix"]:
        lines.append(Padding(Text(plain(one["fix"])), (0, 0, 0, 2)))
    if one["next_try_at"]:
        lines.append(Padding(Text(f"Next try: {moment(one['next_try_at'])}.", style="dim"), (0, 0, 0, 2)))
    if one["command"]:
        lines.append(Padding(Text.assemble(("→ ", "bold"), one["command"]), (0, 0, 0, 2)))
    return lines


def accounts_table(connections: list[Row], now: datetime) -> Listing:
    """Return a row per connection; it is as far behind as what it owes for the longest time."""
    numbers = (Column("behind", is_number=True), Column("rows", is_number=True))
    listing = Listing(Column("account", may_fold=True), Column("mode", is_extra=True), "status", *numbers, "last sync")
    for one in connections:
        cells = (behind(one, now), f"{one['rows']:,}", ago(one["last_synced_at"], now))
        listing.add(one["name"], mode_of(one), status_of(one), *cells)
    return listing


def behind(connection: Row, now: datetime) -> str:
    """Return for how long something has been owed, a dash where nothing is."""
    since = [datetime.fromisoformat(one["since"]) for one in connection["owed"] if one["since"]]
    return span(max(timedelta(), now - min(since))) if since else "–"
