"""Heartbeats: a loop of a service that has not turned for a long time is stuck, and only a restart helps.

A loop that waits for Postgres, Kafka or Stripe turns: its tries end by their time limits, and each one beats.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

STUCK_AFTER = 300.0  # seconds; the longest limit of one try, of Stripe and of the database, is 30


class Heart:
    """What one loop beats."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name = name
        self._clock = clock
        self.beat()

    def beat(self) -> None:
        """Note that the loop has got on."""
        self._last = self._clock()

    @property
    def silence(self) -> float:
        """Seconds since it last got on."""
        return self._clock() - self._last


class Heartbeats:
    """The hearts of a service's loops; a loop that has ended has none."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds."""
        self._clock = clock
        self._hearts: set[Heart] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Let what runs in the block, and the tasks that it starts, have its hearts here."""
        token = _HEARTBEATS.set(self)
        try:
            yield
        finally:
            _HEARTBEATS.reset(token)

    @contextmanager
    def heart(self, name: str) -> Iterator[None]:
        """Expect a beat from the block at least every five minutes."""
        heart = Heart(name, self._clock)
        self._hearts.add(heart)
        token = _HEART.set(heart)
        try:
            yield
        finally:
            _HEART.reset(token)
            self._hearts.discard(heart)

    def stuck(self) -> dict[str, float]:
        """Return the loops that have not beaten for too long, and for how many seconds."""
        return {heart.name: round(heart.silence) for heart in self._hearts if heart.silence > STUCK_AFTER}


@contextmanager
def heart(name: str) -> Iterator[None]:
    """Expect a beat from the block at least every five minutes, where the service watches its loops."""
    with (_HEARTBEATS.get() or Heartbeats()).heart(name):
        yield


def beat() -> None:
    """Note that the loop in which this is called has got on."""
    if heart := _HEART.get():
        heart.beat()


_HEARTBEATS: ContextVar[Heartbeats | None] = ContextVar("heartbeats", default=None)
_HEART: ContextVar[Heart | None] = ContextVar("heart", default=None)
