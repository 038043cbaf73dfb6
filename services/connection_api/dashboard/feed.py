"""The Accounts page's server-sent events: each part of the page anew whenever it has changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from aiohttp import hdrs, web

from services.connection_api.account_filter import HomeFilter, read_home_filter
from shared.errors import TransientError

INTERVAL = 1.0  # seconds between two looks
HEARTBEAT = 15.0  # seconds of silence after which a comment keeps proxies from closing the connection
CHECK = 5.0  # seconds after which a page whose session has ended gets no more
PAGES_KEPT = 64
HEADERS = {
    hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
    hdrs.CACHE_CONTROL: "no-store",
    "X-Accel-Buffering": "no",
}

Parts = Mapping[str, object]  # the parts of a page by name; equal ones look the same
Read = Callable[[HomeFilter], Awaitable[Parts]]
Render = Callable[[str, object, web.Request], str]
IsSignedIn = Callable[[web.Request], Awaitable[bool]]


class Snapshots:
    """What a page shows, read at most once per interval however many people watch."""

    def __init__(self, read: Read, *, interval_seconds: float = INTERVAL) -> None:
        self._read = read
        self._interval = interval_seconds
        self._lock = asyncio.Lock()
        self._kept: dict[HomeFilter, tuple[float, Parts]] = {}

    def forget(self) -> None:
        """Let what was just done show in the next look."""
        self._kept.clear()

    async def get(self, wanted: HomeFilter) -> Parts:
        """Return the page that is wanted, at most an interval old; raise `DatabaseUnavailableError`."""
        async with self._lock:
            read_at, parts = self._kept.get(wanted, (0.0, None))
            if parts is None or time.monotonic() - read_at >= self._interval:
                parts = await self._read(wanted)
                self._kept.pop(wanted, None)
                while len(self._kept) >= PAGES_KEPT:
                    self._kept.pop(next(iter(self._kept)))
                self._kept[wanted] = (time.monotonic(), parts)
            return parts


class Feed:
    """Streams what changes to every open page until the page or the service closes."""

    def __init__(
        self,
        snapshots: Snapshots,
        render: Render,
        is_signed_in: IsSignedIn,
        *,
        interval_seconds: float = INTERVAL,
        heartbeat_seconds: float = HEARTBEAT,
        check_seconds: float = CHECK,
    ) -> None:
        self._snapshots = snapshots
        self._render = render
        self._is_signed_in = is_signed_in
        self._interval = interval_seconds
        self._heartbeat = heartbeat_seconds
        self._check = check_seconds
        self._closing = asyncio.Event()

    async def close(self, _app: web.Application) -> None:
        """End all streams, so that the service need not wait for open pages."""
        self._closing.set()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Answer with an event for each part (its fragment), `trouble` (no database) and `ended` (the session)."""
        wanted = read_home_filter(request)
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        with suppress(ConnectionResetError):  # the page was closed
            await self._send_changes(request, response, wanted)
        return response

    async def _send_changes(self, request: web.Request, response: web.StreamResponse, wanted: HomeFilter) -> None:
        shown: Parts = {}
        said_at = checked_at = time.monotonic()
        while not self._closing.is_set():
            if time.monotonic() - checked_at >= self._check:
                if not await self._is_signed_in(request):
                    await response.write(event("ended", "You are signed out.").encode())
                    return
                checked_at = time.monotonic()
            message, shown = await self._look(request, wanted, shown)
            if not message and time.monotonic() - said_at >= self._heartbeat:
                message = ": still here\n\n"
            if message:
                await response.write(message.encode())
                said_at = time.monotonic()
            await self._pause()

    async def _look(self, request: web.Request, wanted: HomeFilter, shown: Parts) -> tuple[str, Parts]:
        """Return the message that is due, if any, and what the page shows once it has it."""
        try:
            parts = await self._snapshots.get(wanted)
        except TransientError as error:
            return event("trouble", error.message), {}
        changed = [name for name, part in parts.items() if part != shown.get(name)]
        return "".join(event(name, self._render(name, parts[name], request)) for name in changed), parts

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), self._interval)


def event(name: str, data: str) -> str:
    """Return a server-sent event. https://html.spec.whatwg.org/multipage/server-sent-events.html"""
    lines = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
    return f"event: {name}\n{lines}\n"
