"""What the commands show on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from local_stack.children import ChildEvent, ChildState
from local_stack.jars import Progress
from services.console.check import Report
from services.console.running import Watchers
from shared.catalogue import RESOURCES

WIDE = 160  # columns where nobody looks, so that nothing is cut for a program or a file
OUT = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
ERRORS = Console(stderr=True, highlight=False)


class StartUp:
    """Shows the start of a stack as one line per thing, with how long it took."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._status = console.status("Starting …")
        self._is_starting = True

    @property
    def watchers(self) -> Watchers:
        """Who listens to downloads and children."""
        return Watchers(on_progress=self._on_progress, on_event=self._on_event)

    def __enter__(self) -> StartUp:
        """Show that something goes on."""
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Clear the line."""
        self._status.stop()

    def done(self, what: str) -> None:
        """Say that everything runs."""
        self._is_starting = False
        self._status.stop()
        self._console.print(f"[green]✓[/] {what} [dim]in {time.monotonic() - self._began:.1f} s[/]")

    def say(self, what: str) -> None:
        """Show what goes on now."""
        self._status.update(what)

    def _on_progress(self, progress: Progress) -> None:
        self._status.update(f"{progress} …")

    def _on_event(self, event: ChildEvent) -> None:
        if self._is_starting and event.state is ChildState.READY:
            self._console.print(f"[green]✓[/] {event.name} [dim]{time.monotonic() - self._began:.1f} s[/]")
        elif event.state in (ChildState.EXITED, ChildState.RESTARTED):
            colour = "yellow" if event.state is ChildState.EXITED else "green"
            self._console.print(f"[{colour}]•[/] {event}")


def show_facts(*rows: tuple[str, str]) -> None:
    """Print names and values; lines are not folded, so that a value can be copied."""
    width = max(len(name) for name, _ in rows)
    OUT.print()
    for name, value in rows:
        OUT.print(Text.assemble((f"{name:<{width}}", "bold"), "  ", value), soft_wrap=True)
    OUT.print()


def moment(iso: str | None) -> str:
    """Return a time as people read it, in their own zone."""
    return datetime.fromisoformat(iso).astimezone().strftime("%b %d %H:%M:%S") if iso else ""


def account_view(
    connection: dict[str, Any], sync: dict[str, Any] | None, events: Sequence[dict[str, Any]]
) -> RenderableType:
    """Return the backfill per resource while it runs, then the newest events."""
    summary = Text(
        f"{connection['account_name']} ({connection['account_id']}): {connection['rows_today']:,} rows today",
        style="bold",
    )
    if sync is None or sync["status"] in ("queued", "running"):
        return Group(summary, _progress(sync))
    done = Text(f"Backfill {sync['status']}: {sync['read']:,} objects with {sync['stripe_calls']:,} calls to Stripe")
    return Group(summary, done, Text(), _events(events))


def _progress(sync: dict[str, Any] | None) -> RenderableType:
    if sync is None or not sync["progress"]:
        return Text("The backfill is about to begin …", style="dim")
    table = make_table(("resource", "backfill"), ("read", "written"))
    for row in sync["progress"]:
        counts = row["counts"]
        written = counts["inserted"] + counts["updated"] + counts["deleted"]
        bar = ProgressBar(total=1.0, completed=row["share"], width=24)
        table.add_row(row["resource"], bar, f"{row['read']:,}", f"{written:,}")
    return table


def _events(events: Sequence[dict[str, Any]]) -> RenderableType:
    if not events:
        return Text("Nothing has happened since.", style="dim")
    table = make_table(("written", "event", "object", "row"), ())
    for event in events:
        table.add_row(moment(event["written_at"])[-8:], event["type"], event["object_id"], event["outcome"])
    return table


def make_table(left: Sequence[str], right: Sequence[str]) -> Table:
    """Return an empty table with columns that are aligned left, then right."""
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for header in left:
        table.add_column(header, overflow="fold")
    for header in right:
        table.add_column(header, justify="right", no_wrap=True)
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
