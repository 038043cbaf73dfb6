"""Reads the body of a request in parts, within its limits of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import hdrs, web

from shared.errors import RejectedError, TooLargeError

MAX_BODY = 1024 * 1024  # bytes
BODY_TIMEOUT = 12.0  # seconds; closing the connection of a client that goes on sending takes a few more


class SlowBodyError(RejectedError):
    """The body did not arrive in time."""

    code = "too_slow"
    status = 408


class BrokenBodyError(RejectedError):
    """The body ended early or can't be decoded."""

    code = "body_broken"


def size_of(request: web.Request) -> int:
    """Return the most bytes that the body may take, before one is read; raise `TooLargeError`."""
    announced = request.content_length
    if announced is not None and announced > MAX_BODY:
        raise TooLargeError
    is_plain = announced is not None and hdrs.CONTENT_ENCODING not in request.headers
    return announced if is_plain and announced is not None else MAX_BODY


async def read_body(request: web.Request, timeout_seconds: float, take: Callable[[bytes], None]) -> None:
    """Give the body's parts to `take`; raise `TooLargeError`, `SlowBodyError` or `BrokenBodyError`."""
    try:
        if request.content.is_eof():  # most bodies come together with their headers: no need of a timer
            await _read(request, take)
            return
        async with asyncio.timeout(timeout_seconds):
            await _read(request, take)
    except TimeoutError as error:
        raise SlowBodyError from error
    except (ConnectionError, web.RequestPayloadError) as error:
        raise BrokenBodyError from error


async def _read(request: web.Request, take: Callable[[bytes], None]) -> None:
    size = 0
    while part := await request.content.readany():
        size += len(part)
        if size > MAX_BODY:
            raise TooLargeError
        take(part)
