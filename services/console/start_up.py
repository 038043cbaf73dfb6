"""The start of a stack on a terminal: one line per thing, with how long it took."""

from __future__ import annotations

import time

from rich.console import Console

from local_stack.children import ChildEvent, ChildState
from local_stack.jars import Progress
from services.console.running import Watchers


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
