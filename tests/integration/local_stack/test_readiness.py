from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from local_stack.readiness import http_ready, tcp_ready


async def answer_ready(request: web.Request) -> web.Response:
    return web.Response()


async def answer_busy(request: web.Request) -> web.Response:
    return web.Response(status=503)


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    app = web.Application()
    app.router.add_get("/readyz", answer_ready)
    app.router.add_get("/busy", answer_busy)
    async with TestServer(app) as running:
        yield running


async def test_service_is_ready_when_it_answers_200(server: TestServer) -> None:
    assert server.port is not None
    assert await http_ready(server.host, server.port)()
    assert not await http_ready(server.host, server.port, "/busy")()


async def test_port_is_ready_when_something_listens(server: TestServer) -> None:
    assert server.port is not None
    assert await tcp_ready(server.host, server.port)()


async def test_nothing_is_ready_where_nothing_listens() -> None:
    assert not await tcp_ready("127.0.0.1", 1)()
    assert not await http_ready("127.0.0.1", 1)()
