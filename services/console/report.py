"""What the demo shows: the account while it fills, and the result of its check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from services.console.check import Report
from services.console.client import ApiClient, ApiError
from services.console.demo import newest_sync
from services.console.progress import ABOUT_TO_BEGIN, progress_table
from services.console.screen import make_table, plain
from services.console.times import clock
from shared.catalogue import RESOURCES

EVENTS_SHOWN = 12
ASK = "Ask something: tillstream ask revenue_by_day"
REMOVED = "No account is connected. Connect one on the dashboard, or with `tillstream connections add`."


async def account_now(api: ApiClient) -> RenderableType:
    """Return the account as it is now; a person may remove it and connect it again, and the demo goes on."""
    try:
        connections = (await api.get("/v1/connections", limit=1))["data"]
        if not connections:
            return Text(REMOVED, style="yellow")
        connection_id = connections[0]["id"]
        sync = await newest_sync(api, connection_id, "backfill")
        events = (await api.get("/v1/events", connection_id=connection_id, limit=EVENTS_SHOWN))["data"]
    except ApiError as error:  # it was removed between two questions
        return Text(plain(error.message), style="yellow")
    return account_view(connections[0], sync, events)


def account_view(
    connection: dict[str, Any], sync: dict[str, Any] | None, events: Sequence[dict[str, Any]]
) -> RenderableType:
    """Return the backfill per resource while it runs, then the newest events."""
    summary = Text(
        f"{plain(connection['name'])} ({connection['account_id']}): {connection['rows_today']:,} rows today",
        style="bold",
    )
    if sync is None or sync["status"] in ("queued", "running"):
        return Group(summary, progress_table(sync) if sync else Text(ABOUT_TO_BEGIN, style="dim"))
    done = Text(f"Backfill {sync['status']}: {sync['read']:,} objects with {sync['stripe_calls']:,} calls to Stripe")
    ask = Text(ASK, style="dim")
    return Group(summary, done, ask, Text(), _events(events))


def _events(events: Sequence[dict[str, Any]]) -> RenderableType:
    if not events:
        return Text("Nothing has happened since.", style="dim")
    table = make_table(("written", "event", "object", "row"), ())
    for event in events:
        table.add_row(clock(event["written_at"]), event["type"], event["object_id"], event["outcome"])
    return table


def report_table(report: Report) -> Table:
    """Return the check's result, a row per table."""
    table = make_table(("table",), ("truth", "rows", "missing", "extra", "different", "events", "p50 ms", "p99 ms"))
    for verdict, resource in zip(report.verdicts, _resources(report), strict=True):
        latency = report.latencies.get(resource)
        faults = (len(verdict.missing), len(verdict.extra), len(verdict.different))
        cells = [f"[red]{n}[/]" if n else "0" for n in faults]
        timing = [f"{latency.events:,}", f"{latency.p50:.0f}", f"{latency.p99:.0f}"] if latency else ["", "", ""]
        table.add_row(verdict.table, f"{verdict.truth:,}", f"{verdict.rows:,}", *cells, *timing)
    return table


def differences(report: Report, most: int = 10) -> Sequence[str]:
    """Return some of the differences, in words."""
    lines = []
    for verdict in report.verdicts:
        for what, ids in (("missing", verdict.missing), ("extra", verdict.extra), ("different", verdict.different)):
            lines += [f"{verdict.table} {what} {one}" for one in ids]
    return lines[:most]


def _resources(report: Report) -> list[str]:
    names = {row.table: row.name for row in RESOURCES}
    return [names.get(verdict.table, "") for verdict in report.verdicts]
