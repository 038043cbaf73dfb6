"""Servers beside a test that is not asynchronous itself, such as one that runs commands."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
PATIENCE = 60.0  # seconds for one step


class Background:
    """An event loop in a thread of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what the work gives, once it is done over there."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    @contextmanager
    def holding(self, manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Lend what an asynchronous block lends, from its loop."""
        given: asyncio.Future[T] | None = None
        done = asyncio.Event()

        async def hold(ready: asyncio.Future[T]) -> None:
            try:
                async with manager as lent:
                    ready.set_result(lent)
                    await done.wait()
            except BaseException as error:
                if ready.done():
                    raise
                ready.set_exception(error)

        async def begin() -> tuple[asyncio.Future[T], asyncio.Task[None]]:
            ready: asyncio.Future[T] = self._loop.create_future()
            return ready, asyncio.create_task(hold(ready))

        async def wait_for(future: asyncio.Future[T]) -> T:
            return await future

        async def end(task: asyncio.Task[None]) -> None:
            done.set()
            await task

        given, task = self.run(begin())
        try:
            yield self.run(wait_for(given))
        finally:
            self.run(end(task))


@contextmanager
def background() -> Iterator[Background]:
    """Lend a loop that runs until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="background")
    thread.start()
    try:
        yield Background(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
