"""One connection on a terminal: how it is first, then facts, faults and the newest backfill."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from services.connection_api.status import percent_of
from services.console.listing import Column, Listing
from services.console.picking import mode_of
from services.console.progress import TONES, calls_of, written
from services.console.screen import facts_view, plain, with_tone
from services.console.times import ago, moment, utc_moment

REMEDIES = {
    "update_key": "tillstream connections update-key {}",
    "resume": "tillstream connections resume {}",
    "deliver_again": "tillstream connections deliver-again {}",
    "sync_again": "tillstream connections sync {} --resource …",
    "rotate_secret": "tillstream connections rotate-webhook-secret {}",
    "repair": "tillstream verify {} --full --repair",
    "check_destination": "tillstream destinations test {}",
    "show_failed": "tillstream dead-letters groups --connection {}",
}
LIVE_BY = {"webhooks": "webhooks", "polling": "asking Stripe for its events"}
Connection = dict[str, Any]


def status_of(connection: Connection) -> Text:
    """Return the status as the dashboard shows it."""
    return with_tone(connection["status"]["tone"], connection["status"]["text"])


def connection_view(connection: Connection, destinations: dict[str, str], now: datetime) -> RenderableType:
    """Return all of a connection; `destinations` are names by id."""
    status = connection["status"]
    name = Text.assemble((plain(connection["name"]), "bold"), f"  {connection['account_id']}  {mode_of(connection)}")
    parts: list[RenderableType] = [name, Text.assemble(status_of(connection), "  ", plain(status["sentence"]))]
    if status["fix"]:
        parts.append(Text(plain(status["fix"])))
    if status["remedy"]:
        parts.append(Text.assemble(("→ ", "bold"), _remedy(connection, status["remedy"])))
    if connection["owed"]:
        parts += [Text(), Text("Owed", style="bold"), _owed(connection, now)]
    parts += [Text(), facts_view(_facts(connection, destinations, now))]
    parts += [Text(), Text("How fresh", style="bold"), facts_view(_freshness(connection["freshness"], now))]
    if connection["faults"]:
        parts += [Text(), Text("Stopped resources", style="bold"), _faults(connection, now)]
    if connection["backfill"]:
        parts += [Text(), Text("Newest backfill", style="bold"), facts_view(_backfill(connection["backfill"]))]
        if connection["backfill"]["status"] == "succeeded" and connection["rows"]:
            parts.append(Text.assemble(("→ ", "bold"), f"tillstream ask --account {connection['id']}"))
    return Group(*parts)


def _facts(connection: Connection, destinations: dict[str, str], now: datetime) -> list[tuple[str, str | Text]]:
    last, start = connection["last_synced_at"], connection["start_date"]
    omitted = [f"{resource}:{path}" for resource, paths in connection["omitted_fields"].items() for path in paths]
    facts = [
        ("Id", connection["id"]),
        ("Account", connection["account_name"]),
        ("Last sync", f"{ago(last, now)}, {moment(last)}" if last else "never"),
        ("Rows", f"{connection['rows']:,}"),
        ("Rows today", f"{connection['rows_today']:,}"),
        ("Live by", LIVE_BY[connection["live_by"]]),
        ("Start date", utc_moment(start) if start else "everything that Stripe has"),
        ("Key", f"{connection['key_hint']}, version {connection['key_version']}"),
        ("Destinations", ", ".join(f"{destinations.get(one, '')} ({one})" for one in connection["destination_ids"])),
        ("Resources", f"{len(connection['resources'])}: {', '.join(connection['resources'])}"),
        ("Left out", ", ".join(omitted)),
        ("Connected", moment(connection["created_at"])),
    ]
    return [(name, value) for name, value in facts if value]


def _freshness(freshness: dict[str, Any], now: datetime) -> list[tuple[str, str | Text]]:
    facts: list[tuple[str, str | Text]] = []
    for way in freshness["ways"]:
        times = [f"Last: {ago(way['last_at'], now)}" if way["last_at"] else "Last: not yet"]
        times += [f"next: {moment(way['next_at'])}"] if way["next_at"] else []
        times += [f"{way['reads_per_day']:,} reads a day"] if way["reads_per_day"] else []
        facts.append((way["title"], f"{way['sentence']}\n{' · '.join(times)}"))
    return [*facts, ("Read allowance", freshness["cost"])]


def _remedy(connection: Connection, remedy: str) -> str:
    """Return the command that helps; a destination is tried by its own id."""
    about = next((one["about"] for one in connection["owed"] if one["remedy"] == remedy), None)
    return command_for(connection["id"], remedy, about)


def command_for(connection_id: str, remedy: str, about: str | None) -> str:
    """Return the command for a remedy; `about` is the id of what it is about."""
    return REMEDIES[remedy].format(about if remedy == "check_destination" and about else connection_id)


def _owed(connection: Connection, now: datetime) -> Listing:
    listing = Listing(Column("what", may_fold=True), "since", "tried", "next try")
    for one in connection["owed"]:
        what = f"{one['sentence']} {one['fix']}" if one["fix"] else one["sentence"]
        tried = f"{one['attempts']:,}" if one["attempts"] else ""
        listing.add(
            what,
            ago(one["since"], now) if one["since"] else "",
            tried,
            moment(one["next_try_at"]) if one["next_try_at"] else "",
        )
    return listing


def _faults(connection: Connection, now: datetime) -> Listing:
    listing = Listing("resource", "since", "permission", Column("cause", may_fold=True))
    for fault in connection["faults"]:
        listing.add(fault["resource"], ago(fault["since"], now), fault["permission"] or "", fault["cause"])
    return listing


def _backfill(backfill: dict[str, Any]) -> list[tuple[str, str | Text]]:
    is_running = backfill["status"] == "running"
    share = f" {percent_of(backfill['share'])} %" if is_running else ""
    return [
        ("Id", backfill["id"]),
        ("Status", with_tone(TONES[backfill["status"]], f"{backfill['status']}{share}")),
        ("Read", f"{backfill['read']:,}"),
        ("Written", f"{written(backfill['counts']):,}"),
        ("Stripe calls", calls_of(backfill)),
    ]
