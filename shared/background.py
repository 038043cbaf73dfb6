"""Work that runs beside a service's routes, from its start to its end.

A service starts although Postgres or Kafka is away: it is alive, not ready, and waits for them.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from aiohttp import web

from shared.db import Pool, make_pool, require_migrated
from shared.errors import TransientError
from shared.heartbeat import Heartbeats, beat, heart
from shared.log import get_logger
from shared.metrics import LOOPS_FAILED
from shared.retries import pause_seconds
from shared.settings import Settings

LONGEST_PAUSE = 5.0  # seconds between two tries to reach what a service depends on
T = TypeVar("T")


class Background:
    """The tasks of a service; one that fails ends the service, so that its supervisor starts it anew."""

    def __init__(self) -> None:
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heartbeats = Heartbeats()

    @asynccontextmanager
    async def running(self, work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Run `work` until the block ends."""
        with self.heartbeats.watching():
            task = asyncio.ensure_future(work())
        task.add_done_callback(self._note)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _note(self, task: asyncio.Future[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error and not self.failed.done():
            self.failed.set_exception(error)


def run_beside(app: web.Application, work: Callable[[], Awaitable[None]]) -> None:
    """Let `work` run from the app's start to its end."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        async with app[BACKGROUND].running(work):
            yield

    app.cleanup_ctx.append(context)


BACKGROUND: web.AppKey[Background] = web.AppKey("background", Background)


async def until_available(what: str, call: Callable[[], Awaitable[T]]) -> T:
    """Return what `call` returns, however long it takes until it does not raise `TransientError`."""
    for attempt in itertools.count():
        beat()
        try:
            return await call()
        except TransientError as error:
            get_logger().warning("waiting", what=what, attempt=attempt, reason=error.message)
            await asyncio.sleep(pause_seconds(attempt, cap=LONGEST_PAUSE))
    raise AssertionError("count() does not end")


async def repeat(step: Callable[[], Awaitable[int]], *, interval_seconds: float, delayed: str) -> None:
    """Take step after step, for ever; wait where one has done nothing or raised `TransientError`, logged as `delayed`.

    A step returns how much it has done.
    """
    with heart(delayed):
        while True:
            beat()
            try:
                done = await step()
            except TransientError as error:
                get_logger().warning(delayed, reason=error.message)
                done = 0
            if not done:
                await asyncio.sleep(interval_seconds)


async def lasting(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work`, a loop that does not end; begin it again, after a pause, when something unforeseen ends it.

    So one row that nobody was prepared for ends neither the service nor the loops beside it.
    """
    with heart(name):
        for attempt in itertools.count():
            beat()
            try:
                await work()
            except Exception as error:
                get_logger().error("loop_failed", loop=name, attempt=attempt, exc_info=error)
                LOOPS_FAILED.labels(name).inc()
            await asyncio.sleep(pause_seconds(attempt, base=1.0, cap=LONGEST_PAUSE, at_least=0.5))


@asynccontextmanager
async def open_state(settings: Settings, *, pool_size: int = 10) -> AsyncIterator[Pool]:
    """Lend a pool of the migrated state database; wait for it. Raises `ConfigError` on an older schema."""
    url = settings.database_url.get_secret_value()
    pool = await until_available("database", lambda: make_pool(url, max_size=pool_size))
    try:
        await until_available("database", lambda: require_migrated(pool))
        yield pool
    finally:
        pool.terminate()
