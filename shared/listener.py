"""The socket on which an app listens: a client that takes its time over a header is not waited for.

aiohttp itself has one limit, for connections on which nothing happens. A header that comes a byte at a time would live
as long as that, and so would a connection that never says anything.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger

from shared.metrics import MALFORMED_REQUESTS

HEADER_TIMEOUT = 10.0  # seconds for a request's header, and for the first one to begin
KEEPALIVE_TIMEOUT = 75.0  # seconds between two requests; longer than the usual 60 of a proxy, so that it closes first
LINGERING_TIME = 2.0  # seconds for what is left of a body that nobody reads
RECEIVE_BUFFER = 64 * 1024  # bytes that the kernel keeps of a connection, and so the most that one read brings
READ_BUFFER = 16 * 1024  # bytes of a body that nobody has read yet; at twice as many the connection is not read
SHUTDOWN_TIMEOUT = 20.0  # seconds for requests in flight


class PromptHandler(web.RequestHandler):
    """A connection that is closed when a header does not come in time."""

    __slots__ = ("_body", "_deadline", "_header_seconds", "_is_serving")

    def __init__(self, server: web.Server, *, header_seconds: float, **settings: Any) -> None:
        super().__init__(server, **settings)
        self._header_seconds = header_seconds
        self._deadline: asyncio.TimerHandle | None = None
        self._is_serving = False
        self._body: StreamReader | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Expect a header."""
        super().connection_made(transport)
        # Of many connections at once each would bring 256 KiB into memory before any of them is looked at.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._expect_header()

    def data_received(self, data: bytes) -> None:
        """Take bytes: of a header, unless a request or the rest of its body is under way."""
        has_body = self._body is not None and not self._body.is_eof()
        if self._deadline is None and not self._is_serving and not has_body:
            self._expect_header()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Expect nothing more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def begin(self, request: web.BaseRequest) -> None:
        """Note that the header of a request is complete."""
        self._stop_waiting()
        self._is_serving, self._body = True, request.content

    def end(self) -> None:
        """Note that the request is answered."""
        self._is_serving = False

    def _expect_header(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(self._header_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        self.force_close()


@web.middleware
async def note_header(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Tell the connection that the header is complete, and that what comes after the answer is the next one."""
    connection = request.protocol
    if not isinstance(connection, PromptHandler):
        return await handler(request)
    connection.begin(request)
    try:
        return await handler(request)
    finally:
        connection.end()


@asynccontextmanager
async def listening(
    app: web.Application, host: str, port: int, *, header_seconds: float = HEADER_TIMEOUT
) -> AsyncIterator[str]:
    """Serve the app, whose middlewares have `note_header`; lend its address. 0 takes a free port.

    At the end, requests in flight may finish, and the app closes what it opened.
    """
    server_logger.addFilter(is_ours)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT)
    await runner.setup()
    listener: asyncio.Server | None = None
    try:
        loop, server = asyncio.get_running_loop(), runner.server
        assert server is not None

        def connect() -> PromptHandler:
            return PromptHandler(
                server,
                loop=loop,
                access_log=None,
                keepalive_timeout=KEEPALIVE_TIMEOUT,
                lingering_time=LINGERING_TIME,
                read_bufsize=READ_BUFFER,
                header_seconds=header_seconds,
            )

        listener = await loop.create_server(connect, host, port)
        address, chosen = listener.sockets[0].getsockname()[:2]
        yield f"http://{address}:{chosen}"
    finally:
        if listener is not None:
            listener.close()
        await runner.cleanup()


def is_ours(record: Any) -> bool:
    """Tell whether a log record of aiohttp is to be kept: what is no HTTP is a stranger's mistake, and is counted."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError):
        return True
    MALFORMED_REQUESTS.inc()
    return False
