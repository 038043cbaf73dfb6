"""What asking the public URL finds."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from services.connection_api.public_url import FINE, NOT_SET, judge, try_public_url
from services.webhook_gateway.app import create_app as create_gateway
from shared.http import PROBLEM
from tests.unit.connection_api.serving import make_settings, running
from tests.unit.webhook_gateway.webhooks import make_settings as make_gateway_settings


async def test_the_gateway_is_known_by_how_it_answers_where_stripe_posts() -> None:
    for settings in (make_gateway_settings(), make_gateway_settings(probe_port=unused_port())):
        async with TestServer(create_gateway(settings)) as server:
            assert await try_public_url(f"{server.make_url('/')}") == FINE


async def test_another_part_of_tillstream_is_told_apart() -> None:
    async with running(make_settings()) as api:
        tried = await try_public_url(str(api.make_url("/")))
    assert tried.sentence == "Tillstream answers there, but not its webhook gateway."


async def test_a_redirect_is_not_followed_and_a_long_body_not_read() -> None:
    asked: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"}, body=b"x" * 10_000_000)

    app = web.Application()
    app.router.add_get("/{path:.*}", redirect)
    async with TestServer(app) as server:
        tried = await try_public_url(f"{server.make_url('/hooks/')}")
    assert tried.sentence == "It answers with a redirect (302)."
    assert asked == ["/hooks/webhooks/stripe/we_test"]


async def test_what_never_answers_is_left_in_time() -> None:
    async def sleep(_request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    app = web.Application()
    app.router.add_get("/{path:.*}", sleep)
    async with TestServer(app) as server:
        tried = await try_public_url(str(server.make_url("/")), timeout=0.2)
    assert tried.sentence.startswith("Nothing answered within")


async def test_what_can_not_be_reached_says_why() -> None:
    assert (await try_public_url(f"http://127.0.0.1:{unused_port()}")).sentence == "Nothing listens there."
    assert (await try_public_url("http://nowhere.invalid")).sentence == "The host of the public URL is unknown."
    assert await try_public_url(None) == NOT_SET


@pytest.mark.parametrize(
    ("status", "content_type", "says"),
    [
        (502, "text/html", "A proxy answers 502"),
        (200, "text/html", "Something else answers there (200)."),
        (405, "text/html", "Something else answers there (405)."),
        (503, PROBLEM, "A proxy answers 503"),
    ],
)
def test_other_answers_are_no_gateway(status: int, content_type: str, says: str) -> None:
    tried = judge(status, content_type)
    assert tried.sentence.startswith(says)
    assert not tried.is_fine
    assert tried.fix
