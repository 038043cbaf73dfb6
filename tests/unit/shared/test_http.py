"""Every request has an id of its own, by which a person finds its log lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from shared.errors import ConflictError
from shared.http import REQUEST_ID_HEADER, Access, add_route, make_app, make_probe_app
from shared.listener import listening
from shared.metrics import REGISTRY

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


async def test_refusals_beyond_a_number_are_counted_and_not_logged(client: Client) -> None:
    with capture_logs() as logs:
        for _ in range(100):
            assert (await client.get("/clash/x")).status == 409
    assert 0 < len([line for line in logs if line["event"] == "request_refused"]) < 50


async def test_probes_on_a_port_of_their_own_are_not_on_the_other() -> None:
    app = make_app(ready={}, probe_port=8081)
    async with TestClient(TestServer(app)) as outside:
        probes = make_probe_app(app)
        async with TestClient(TestServer(probes)) as inside:
            for path in ("/livez", "/readyz", "/metrics"):
                assert (await inside.get(path)).status == 200
                assert (await outside.get(path)).status == 404


async def test_what_is_no_http_is_answered_counted_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("tillstream_http_malformed_total") or 0.0

    before = counted()
    async with listening(make_app(ready={}), "127.0.0.1", 0) as url:
        host, _, port = url.removeprefix("http://").rpartition(":")
        for sent in (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(sent)
            assert (await asyncio.wait_for(reader.readline(), 60)).split()[1] == b"400"
            writer.close()
            await writer.wait_closed()
    assert (counted() - before, caplog.records) == (2, [])
