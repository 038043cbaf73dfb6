"""Checks that answer whether a child can be used."""

from __future__ import annotations

import asyncio

from local_stack.children import Ready

TIMEOUT = 2.0  # seconds, for one question


def tcp_ready(host: str, port: int) -> Ready:
    """Return a check that is true once something accepts connections at `host:port`."""

    async def check() -> bool:
        try:
            async with asyncio.timeout(TIMEOUT):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    return check


def http_ready(host: str, port: int, path: str = "/readyz") -> Ready:
    """Return a check that is true once `path` at `host:port` answers 200."""

    async def check() -> bool:
        try:
            async with asyncio.timeout(TIMEOUT):
                return await _answers_ok(host, port, path)
        except (OSError, TimeoutError):
            return False

    return check


async def _answers_ok(host: str, port: int, path: str) -> bool:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode())
        status = await reader.readline()
        return status.split()[1:2] == [b"200"]
    finally:
        writer.close()
