"""Every request has an id of its own, by which a person finds its log lines."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from shared.errors import ConflictError
from shared.http import REQUEST_ID_HEADER, Access, add_route, make_app

Client = TestClient[web.Request, web.Application]


async def fine(_request: web.Request) -> web.Response:
    return web.Response()


async def clash(_request: web.Request) -> web.Response:
    raise ConflictError


async def bug(_request: web.Request) -> web.Response:
    raise ZeroDivisionError


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = make_app(ready={})
    for path, handler in (("/fine", fine), ("/clash/{secret}", clash), ("/bug/{secret}", bug)):
        add_route(app, "GET", path, handler, Access.PUBLIC)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize("path", ["/fine", "/clash/x", "/bug/x", "/nowhere", "/livez"])
async def test_every_answer_has_an_id_of_its_own(client: Client, path: str) -> None:
    sent = {REQUEST_ID_HEADER: "req_of_somebody_else"}
    ids = {(await client.get(path, headers=sent)).headers[REQUEST_ID_HEADER] for _ in range(2)}
    assert len(ids) == 2
    assert all(one.startswith("req_") and one not in sent.values() for one in ids)


@pytest.mark.parametrize(("path", "status"), [("/clash/x", 409), ("/bug/x", 500), ("/nowhere", 404)])
async def test_problem_and_header_name_the_same_request(client: Client, path: str, status: int) -> None:
    answer = await client.get(path)
    problem = await answer.json()
    assert (answer.status, problem["request_id"]) == (status, answer.headers[REQUEST_ID_HEADER])


@pytest.mark.parametrize(
    ("path", "event", "route"),
    [("/clash/wonder", "request_refused", "/clash/{secret}"), ("/bug/wonder", "request_failed", "/bug/{secret}")],
)
async def test_log_names_the_route_and_not_what_stood_in_its_place(
    client: Client, path: str, event: str, route: str
) -> None:
    with capture_logs(processors=[merge_contextvars]) as logs:
        answer = await client.get(path)
    [line] = [log for log in logs if log["event"] == event]
    assert (line["method"], line["route"]) == ("GET", route)
    assert line["request_id"] == answer.headers[REQUEST_ID_HEADER]
    assert "wonder" not in str(line)
