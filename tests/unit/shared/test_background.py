"""Loops in the background go on, whatever one of their steps raises."""

from __future__ import annotations

import asyncio

import structlog

from shared.background import lasting
from tests.eventually import eventually


async def test_loop_that_fails_begins_again_and_says_why() -> None:
    begun = 0

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise ValueError("a row that nobody was prepared for")
        await asyncio.get_running_loop().create_future()

    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(lasting("test", work))
        await eventually(lambda: begun == 3)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [entry["loop"] for entry in logs if entry["event"] == "loop_failed"] == ["test", "test"]
    assert task.cancelled()
