"""What the commands show on a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
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

OUT = Console(highlight=False)
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


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Return names and values in two columns."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    return table


def progress_table(sync: dict[str, Any] | None, connection: dict[str, Any]) -> RenderableType:
    """Return the backfill per resource."""
    if sync is None:
        return Text("The backfill is about to begin …", style="dim")
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for header in ("resource", "backfill"):
        table.add_column(header)
    for header in ("read", "written"):
        table.add_column(header, justify="right")
    for row in sync["progress"]:
        counts = row["counts"]
        written = counts["inserted"] + counts["updated"] + counts["deleted"]
        bar = ProgressBar(total=1.0, completed=row["share"], width=24)
        table.add_row(row["resource"], bar, f"{row['read']:,}", f"{written:,}")
    today = (
        f"rows today {connection['rows_today']:,} · {sync['kind']} {sync['status']} · "
        f"calls to Stripe {sync['stripe_calls']:,}"
    )
    return Group(table, Text(today, style="dim"))


def report_table(report: Report) -> Table:
    """Return the check's result, a row per table."""
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("table")
    for header in ("truth", "rows", "missing", "extra", "different", "events", "p50 ms", "p99 ms"):
        table.add_column(header, justify="right")
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
