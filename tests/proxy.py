"""A TCP proxy for tests: it forwards, takes its time, holds everything back, or is not there."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self


class Proxy:
    """Stands between a client and a server. While `is_silent`, what either side says goes nowhere.

    `delay_seconds` is how long each answer of the server takes.
    """

    def __init__(self, host: str, port: int, *, listen: int = 0) -> None:
        """Take the server's address, and the port to listen on; 0 takes a free one."""
        self._target = host, port
        self.port = listen
        self.is_silent = False
        self.delay_seconds = 0.0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def cut(self) -> None:
        """End the connections that are open: what was held back is lost."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink, is_answer=source is far_reader))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            # Also of one that is cancelled before it begins.
            task.add_done_callback(lambda _, sink=sink: sink.close())

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_answer: bool) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if is_answer and self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                if not self.is_silent:
                    sink.write(data)
                    await sink.drain()
