"""Readiness: whether what a service depends on answers, asked at most once at a time however many want to know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from shared.errors import TransientError

ReadyCheck = Callable[[], Awaitable[bool]]

TIMEOUT = 1.0  # seconds for one check
GOOD_FOR = 2.0  # seconds for which a good answer holds
BAD_FOR = 0.5  # seconds for which a bad one holds: a start is not to wait for it


class Readiness:
    """The checks of a service, and their last answers."""

    def __init__(self, checks: Mapping[str, ReadyCheck], *, clock: Callable[[], float] = time.monotonic) -> None:
        """`checks` tell by name whether something answers; `clock` counts seconds."""
        self._checks = checks
        self._clock = clock
        self._answers: dict[str, bool] = {}
        self._fresh_until = -1.0
        self._asking = asyncio.Lock()

    async def answers(self) -> dict[str, bool]:
        """Return what answers within a second, by name, as it was up to two seconds ago."""
        async with self._asking:
            if self._clock() >= self._fresh_until:
                answers = await asyncio.gather(*(_within(check) for check in self._checks.values()))
                self._answers = dict(zip(self._checks, answers, strict=True))
                self._fresh_until = self._clock() + (GOOD_FOR if all(answers) else BAD_FOR)
            return self._answers


async def _within(check: ReadyCheck) -> bool:
    try:
        return await asyncio.wait_for(check(), TIMEOUT)
    except (TimeoutError, TransientError):
        return False
