"""Heartbeats: a loop of a service that has not turned for a long time is stuck, and only a restart helps.

A loop that waits for Postgres, Kafka or Stripe turns: its tries end by their time limits, and each one beats.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")
STUCK_AFTER = 600.0  # seconds; the longest pause of a loop is 300, and the limit of one try is 30


class Heart:
    """What one loop beats."""

    def __init__(self, name: str, clock: Callable[[], float], parent: Heart | None) -> None:
        self.name = name
        self._clock = clock
        self._parent = parent
        self.beat()

    def beat(self) -> None:
        """Note that the loop has got on, and the one that it is a part of."""
        self._last = self._clock()
        if self._parent is not None:
            self._parent.beat()

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
        """Expect a beat from the block at least every ten minutes."""
        heart = Heart(name, self._clock, _HEART.get())
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
    """Expect a beat from the block at least every ten minutes, where the service watches its loops."""
    with (_HEARTBEATS.get() or Heartbeats()).heart(name):
        yield


async def watched(work: Coroutine[Any, Any, T]) -> T:
    """Run a loop that beats whenever it asks the database or Stripe, which it does at each turn."""
    with heart(getattr(work, "__qualname__", type(work).__name__)):
        return await work


def beat() -> None:
    """Note that the loop in which this is called has got on."""
    if heart := _HEART.get():
        heart.beat()


_HEARTBEATS: ContextVar[Heartbeats | None] = ContextVar("heartbeats", default=None)
_HEART: ContextVar[Heart | None] = ContextVar("heart", default=None)
