"""Several coroutines at once, of which none goes on after one has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


async def together(*coroutines: Coroutine[object, object, T]) -> list[T]:
    """Run `coroutines` at once and return their results in order; the first error cancels the others."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
