"""Starts children in order, keeps them alive, and stops them in reverse order within a fixed time."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from local_stack import leftovers
from local_stack.children import Child, ChildEvent
from local_stack.concurrency import together
from local_stack.keeper import Keeper
from local_stack.storage import make_private_folder

STOP_BUDGET = 9.0  # seconds, for all children together
SHARE_OF_LATER_WAVE = 3.0  # seconds, kept for each wave that is stopped afterwards


class Supervisor:
    """Owns children: `start` them in waves, and leave the context to stop the waves in reverse order."""

    def __init__(self, home: Path, *, on_event: Callable[[ChildEvent], None] = lambda event: None) -> None:
        """Take the home folder (logs go to `logs/`, records to `run/`) and who wants to hear of children."""
        self.keepers: list[Keeper] = []
        self._logs = home / "logs"
        self._records = home / "run"
        self._on_event = on_event
        self._waves: list[list[Keeper]] = []

    async def __aenter__(self) -> Self:
        """End what an earlier supervisor of this home left running."""
        make_private_folder(self._logs)
        make_private_folder(self._records)
        await asyncio.to_thread(leftovers.sweep, self._records)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all children."""
        await self.stop()

    async def start(self, children: Sequence[Child]) -> None:
        """Start `children` together and return when all are ready; they are stopped before earlier ones.

        Raises ConfigError with the reason when one of them can't be started.
        """
        wave = [Keeper(child, self._log_of(child), self._records, self._on_event) for child in children]
        self._waves.append(wave)
        self.keepers.extend(wave)
        await together(*(keeper.start() for keeper in wave))

    async def stop(self, budget_seconds: float = STOP_BUDGET) -> None:
        """Stop all children, the last started first, within about `budget_seconds` in all."""
        deadline = time.monotonic() + budget_seconds
        while self._waves:
            wave = self._waves[-1]
            grace = deadline - time.monotonic() - SHARE_OF_LATER_WAVE * (len(self._waves) - 1)
            await asyncio.gather(*(keeper.stop(max(grace, 0.1)) for keeper in wave))
            self._waves.pop()
        self.keepers.clear()

    def kill(self) -> None:
        """End all children at once."""
        for keeper in self.keepers:
            keeper.kill()

    def _log_of(self, child: Child) -> Path:
        return self._logs / f"{child.name}.log"


@contextmanager
def cancelled_by_signals(on_second: Callable[[], None] = lambda: None) -> Iterator[asyncio.Event]:
    """Cancel the current task at the first SIGINT, SIGTERM or SIGHUP (a closed terminal); later ones call `on_second`.

    Yields an event that says whether a signal came, so that a caller can tell it from a failure.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    signalled = asyncio.Event()

    def handle() -> None:
        if signalled.is_set() or task is None:
            on_second()
            return
        signalled.set()
        task.cancel()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, handle)
    try:
        yield signalled
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
