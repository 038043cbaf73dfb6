"""Waiting in tests: until something is true, never for a fixed time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

INTERVAL = 0.02  # seconds


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]], *, within: float = 40.0, what: str = "the condition"
) -> None:
    """Return once `condition` is true; fail the test when it isn't within so many seconds."""
    deadline = time.monotonic() + within
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return
        assert time.monotonic() < deadline, f"{what} was not true within {within} s"
        await asyncio.sleep(INTERVAL)
