"""Named points at which a service kills itself, as `kill -9` would: between an effect and what has to follow it.

A point is armed by a file in a folder; the process that reaches the point first takes the file away and dies.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

POINTS = {
    "webhook-gateway": ("before_produce", "after_produce"),
    "sync-worker": ("before_produce", "after_produce"),
    "destination-writer": ("mid_upsert", "before_commit"),
}
"""The points of each service.

`before_produce`, `after_produce`: of a webhook, or of a page whose checkpoint follows. `mid_upsert`: in the transaction
of the destination, after one of its tables. `before_commit`: all is written, Kafka's offset is not committed yet.
"""

Method = Callable[..., Awaitable[Any]]


class Traps:
    """The crash points of one service's process."""

    def __init__(self, folder: Path, service: str) -> None:
        self._folder = folder
        self._service = service

    def set(self) -> None:
        """Wrap what leads past the service's points."""
        {"webhook-gateway": self._set_in_gateway, "sync-worker": self._set_in_worker}.get(
            self._service, self._set_in_writer if self._service in POINTS else lambda: None
        )()

    def spring(self, point: str) -> None:
        """Die if the point is armed."""
        try:
            trap_of(self._folder, self._service, point).unlink()
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    def _around(self, method: Method, *, before: str = "", after: str = "") -> Method:
        async def guarded(*arguments: Any, **named: Any) -> Any:
            if before:
                self.spring(before)
            answer = await method(*arguments, **named)
            if after:
                self.spring(after)
            return answer

        return guarded

    def _set_in_gateway(self) -> None:
        from shared.kafka import Producer

        Producer.publish = self._around(Producer.publish, before="before_produce", after="after_produce")  # type: ignore[method-assign]

    def _set_in_worker(self) -> None:
        from shared.kafka import Producer

        Producer.publish_all = self._around(Producer.publish_all, before="before_produce", after="after_produce")  # type: ignore[method-assign]

    def _set_in_writer(self) -> None:
        from services.destination_writer.destinations.postgres import PostgresDestination
        from shared import consumers

        PostgresDestination._write_table = self._around(PostgresDestination._write_table, after="mid_upsert")  # type: ignore[method-assign]
        consumers.settle = self._around(consumers.settle, after="before_commit")


def trap_of(folder: Path, service: str, point: str) -> Path:
    """Return the file that arms a point."""
    return folder / f"{service}.{point}"
