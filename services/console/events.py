"""Commands about events: search them, show the way of one, follow them as they reach their destinations."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from services.console.client import ApiClient, path_of
from services.console.listing import Column, Listing, show_rows
from services.console.options import AsJson, Limit, OfConnection
from services.console.picking import pick_connection
from services.console.screen import OUT, facts_view, plain, show_json, with_tone
from services.console.task import with_api
from services.console.times import clock, moment, parse_moment
from shared.event_outcomes import EventOutcome

cli = typer.Typer(no_args_is_help=True, help="What Stripe sent, and what became of it; `listen` follows it live.")
POLL_INTERVAL = 0.5  # seconds
REMEMBERED = 1000  # events, to show each once
EVENT_PREFIX = "evt_"
AT_MOST = 25  # events of one object, the newest


@cli.command("list")
def list_newest(
    connection: OfConnection = None,
    object_id: Annotated[str | None, typer.Option("--object", help="Only about this object, such as ch_3Nf….")] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="Only of this type, such as invoice.paid, or of a kind: 'invoice.*'.")
    ] = None,
    resource: Annotated[str | None, typer.Option(help="Only about this resource, such as invoice.")] = None,
    outcome: Annotated[
        EventOutcome | None, typer.Option(help="Only with this outcome, such as failed.", case_sensitive=False)
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only those written since: today, 24h, 7d, or a time in UTC.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Only those written before: today, 24h, 7d, or a time in UTC.")
    ] = None,
    limit: Limit = 25,
    as_json: AsJson = False,
) -> None:
    """Show events of the last 35 days, newest first."""

    async def show(api: ApiClient) -> None:
        connection_id = (await pick_connection(api, connection))["id"] if connection else None
        now = datetime.now(UTC)
        found = await api.list(
            "/v1/events",
            at_most=limit,
            connection_id=connection_id,
            object_id=object_id,
            type=type_,
            resource=resource,
            outcome=outcome,
            since=parse_moment(since, now, field="since") if since else None,
            until=parse_moment(until, now, field="until") if until else None,
        )
        show_rows(found, events_table, if_none="No event fits.", as_json=as_json)

    with_api(show, as_json=as_json)


def events_table(rows: list[dict[str, Any]]) -> Listing:
    """Return a row per event."""
    listing = Listing(
        "id",
        Column("connection", may_fold=True),
        "type",
        Column("object", is_extra=True),
        "written",
        "outcome",
        Column("why", is_extra=True),
    )
    for row in rows:
        written = moment(row["written_at"])
        whose = (row["event_id"], row["connection_name"], row["type"])
        listing.add(*whose, row["object_id"] or "", written, row["outcome"], _why(row))
    return listing


def _why(row: dict[str, Any]) -> str:
    """Return why, where all destinations say the same; else how many say what."""
    told = row["destinations"]
    outcomes = Counter(one["outcome"] for one in told)
    if len(outcomes) > 1:
        return ", ".join(f"{count} × {outcome}" for outcome, count in outcomes.most_common())
    return next((one["code"] for one in told if one["code"]), "")


@cli.command()
def show(
    stripe_id: Annotated[
        str, typer.Argument(metavar="ID", help="An event's id, such as evt_1Nf…, or an object's, such as ch_3Nf….")
    ],
    as_json: AsJson = False,
) -> None:
    """Show an event's way: received, published, and what became of it at each destination; of an object, all events."""

    async def answer(api: ApiClient) -> None:
        if stripe_id.startswith(EVENT_PREFIX):
            ids = [stripe_id]
        else:
            found = await api.list("/v1/events", at_most=AT_MOST, object_id=stripe_id)
            ids = list(dict.fromkeys(row["event_id"] for row in reversed(found.data)))
        ways = [await api.get(path_of("/v1/events", event_id)) for event_id in ids]
        if as_json:
            show_json(ways[0] if stripe_id.startswith(EVENT_PREFIX) else ways)
            return
        if not ways:
            OUT.print("No event fits.")
        for number, way in enumerate(ways):
            OUT.print(event_view(way) if number == 0 else Group(Text(), event_view(way)))

    with_api(answer, as_json=as_json)


def event_view(event: dict[str, Any]) -> RenderableType:
    """Return an event from Stripe to the destinations, for each connection that got it."""
    made = datetime.fromtimestamp(event["created"], UTC).isoformat()
    facts = [("Id", event["event_id"]), ("Object", event["object_id"] or ""), ("Made at Stripe", moment(made))]
    parts: list[RenderableType] = [
        Text(plain(event["type"]), style="bold"),
        facts_view([(name, value) for name, value in facts if value]),
    ]
    for path in event["paths"]:
        parts += [Text(), facts_view(_path(path)), *map(_destination, path["destinations"])]
    return Group(*parts)


def _path(path: dict[str, Any]) -> list[tuple[str, str | Text]]:
    place = f"{path['topic']}, partition {path['partition']}, offset {path['offset']}" if path["topic"] else ""
    told = path["changes"] or {"changes": (), "is_cut": False}
    changed = [f"{one['field']}: {one['old'] or '–'} → {one['new'] or '–'}" for one in told["changes"]]
    facts = [
        ("Connection", f"{path['connection_name']}  {path['connection_id']}"),
        ("Received", moment(path["received_at"]) or "not by a webhook: Stripe was asked for it"),
        ("Published", place),
        ("Dealt with", f"{moment(path['written_at'])}, {path['outcome']}"),
        ("Asks Stripe", f"{path['question']['reason']}, due {moment(path['question']['due_at'])}")
        if path["question"]
        else ("", ""),
    ]
    facts += [("Changed" if number == 0 else "", plain(line)) for number, line in enumerate(changed)]
    facts += [("", "and more")] if told["is_cut"] else []
    return [(name, value) for name, value in facts if value]


def _destination(destination: dict[str, Any]) -> Text:
    outcome = destination["outcome"] or "as the event as a whole"
    tone = "warning" if destination["is_waiting"] else "bad" if outcome == "failed" else "passed"
    told = [f"{destination['destination_name']}  {outcome}"]
    if destination["at"]:
        told.append(moment(destination["at"]))
    if destination["is_waiting"]:
        told.append("waits until the destination can take it")
        if destination.get("next_try_at"):
            told.append(f"is tried next {moment(destination['next_try_at'])}")
    elif destination["parked_at"]:
        told.append(f"had waited since {moment(destination['parked_at'])}")
    if destination["answer"]:
        told.append(f"Stripe's answer: {destination['answer']['outcome']} {moment(destination['answer']['at'])}")
    reason = f": {destination['reason']}" if destination["reason"] else ""
    return with_tone(tone, ", ".join(told) + reason)


def listen(
    connection: OfConnection = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """Follow live events until Ctrl-C."""

    async def follow(api: ApiClient) -> None:
        connection_id = (await pick_connection(api, connection))["id"] if connection else None
        await _follow(api, connection_id, as_json=as_json)

    with_api(follow, as_json=as_json)


async def _follow(api: ApiClient, connection_id: str | None, *, as_json: bool) -> None:
    seen: dict[str, None] = {}
    while True:
        page = await api.get("/v1/events", limit=100, connection_id=connection_id)
        for event in reversed(page["data"]):
            if event["event_id"] not in seen:
                seen[event["event_id"]] = None
                _print(event, as_json=as_json, names_account=connection_id is None)
        for old in list(seen)[:-REMEMBERED]:
            del seen[old]
        await asyncio.sleep(POLL_INTERVAL)


def _print(event: dict[str, Any], *, as_json: bool, names_account: bool) -> None:
    if as_json:
        show_json(event)
        sys.stdout.flush()
        return
    about = event["object_id"] or ""
    whose = f"{event['connection_name']}: " if names_account else ""
    line = f"{clock(event['written_at'])} {whose}{event['type']:<36} {about:<30} {event['outcome']}"
    OUT.print(plain(line), soft_wrap=True, markup=False)
