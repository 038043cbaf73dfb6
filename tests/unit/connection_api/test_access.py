"""Who may call what: every route declares it, one gate enforces it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from services.connection_api.access.attempts import ADDRESSES_KEPT, BAD_TOKENS, Attempts, TooManyAttemptsError
from services.connection_api.access.auth import require_same_origin
from services.connection_api.app import create_app
from services.connection_api.settings import ApiSettings
from shared.errors import ConfigError, ForbiddenError
from shared.http import ROUTE_ACCESS, Access
from shared.settings import load
from tests.unit.connection_api.serving import BEARER, TOKEN, Client, Clock, make_settings, running

OPEN_ROUTES = {
    ("GET", "/livez"): Access.PROBE,
    ("GET", "/readyz"): Access.PROBE,
    ("GET", "/metrics"): Access.PROBE,
    ("GET", "/openapi.json"): Access.PUBLIC,
    ("GET", "/reference"): Access.PUBLIC,
    ("GET", "/sign-in"): Access.PUBLIC,
    ("GET", "/sign-in/{token}"): Access.PUBLIC,
    ("POST", "/sign-in/{token}"): Access.PUBLIC,
    ("POST", "/sign-out"): Access.PUBLIC,
    ("GET", "/static/{name}"): Access.PUBLIC,
}
ADMIN_ROUTES = {("POST", "/v1/sign-in-links"), ("POST", "/v1/tokens"), ("DELETE", "/v1/tokens/{id}")}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def api(clock: Clock) -> AsyncIterator[Client]:
    async with running(make_settings(), clock=clock.read) as client:
        yield client


class Peer:
    """A transport of which only the other end is asked."""

    def __init__(self, address: str) -> None:
        self._address = address

    def get_extra_info(self, name: str, default: object = None) -> object:
        return (self._address, 1) if name == "peername" else default


def test_every_route_declares_its_access() -> None:
    app = create_app(make_settings())
    routes = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource}
    assert routes == set(app[ROUTE_ACCESS])
    assert len(routes) == len(list(app.router.routes()))


def test_only_these_routes_need_no_token() -> None:
    declared = create_app(make_settings())[ROUTE_ACCESS]
    open_access = (Access.PROBE, Access.PUBLIC, Access.SIGNED)
    assert {route: access for route, access in declared.items() if access in open_access} == OPEN_ROUTES


def test_changes_need_more_than_reading() -> None:
    declared = create_app(make_settings())[ROUTE_ACCESS]
    changes = {route: access for route, access in declared.items() if route[0] != "GET" and route not in OPEN_ROUTES}
    assert {route for route, access in changes.items() if access is Access.ADMIN} == ADMIN_ROUTES
    assert {access for route, access in changes.items() if route not in ADMIN_ROUTES} == {Access.MANAGE}


async def test_every_other_route_refuses_a_stranger(api: Client) -> None:
    for method, path in api.app[ROUTE_ACCESS]:
        if (method, path) not in OPEN_ROUTES:
            answer = await api.request(method, re.sub(r"{\w+}", "con_1", path))
            assert (answer.status, (await answer.json())["code"]) == (401, "unauthenticated"), path


async def test_every_response_has_the_security_headers(api: Client) -> None:
    for path in ("/livez", "/v1/connections", "/nothing-here", "/openapi.json", "/sign-in/wrong"):
        headers = (await api.get(path)).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"


async def test_without_its_database_it_is_alive_and_asks_to_try_again(api: Client) -> None:
    answer = await api.get("/v1/connections", headers=BEARER)
    assert (answer.status, (await answer.json())["code"]) == (503, "database_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert (await api.get("/livez")).status == 200
    assert (await api.get("/readyz")).status == 503


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic Zm9v", f"Token {TOKEN}"])
async def test_what_is_no_bearer_token_is_refused(api: Client, header: str) -> None:
    assert (await api.get("/v1/connections", headers={"Authorization": header})).status == 401


async def test_good_token_passes_whatever_strangers_try_from_its_address(api: Client) -> None:
    wrong = {"Authorization": "Basic Zm9v"}
    statuses = [(await api.get("/v1/connections", headers=wrong)).status for _ in range(BAD_TOKENS)]
    assert statuses == [401] * BAD_TOKENS
    good = await api.get("/v1/connections", headers=BEARER)
    assert good.status == 503  # let in, to a database that is away


async def test_eleventh_wrong_token_within_a_minute_has_to_wait(api: Client, clock: Clock) -> None:
    wrong = {"Authorization": "Basic Zm9v"}
    for _ in range(BAD_TOKENS):
        await api.get("/v1/connections", headers=wrong)
    refused = await api.get("/v1/connections", headers=wrong)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "60")
    assert (await refused.json())["code"] == "too_many_attempts"
    clock.seconds += 60
    assert (await api.get("/v1/connections", headers=wrong)).status == 401


def test_networks_of_one_holder_count_as_one_address() -> None:
    attempts = Attempts(lambda: 0.0)
    for number in range(BAD_TOKENS):
        attempts.note(f"2001:db8::{number:x}")
    with pytest.raises(TooManyAttemptsError):
        attempts.require_room("2001:db8::ffff")
    attempts.require_room("2001:db8:0:1::1")


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ([], "10.0.0.9"),
        (["192.0.2.7"], "192.0.2.7"),
        (["203.0.113.1, 192.0.2.7"], "192.0.2.7"),  # what a browser adds itself is believed by nobody
        (["203.0.113.1", "192.0.2.7, 10.1.1.1"], "192.0.2.7"),
    ],
)
def test_address_is_what_the_nearest_stranger_has(forwarded: list[str], address: str) -> None:
    settings = make_settings(trusted_proxies="10.0.0.0/8, fd00::/8")
    attempts = Attempts(lambda: 0.0, settings.proxy_networks)
    headers = CIMultiDict([("X-Forwarded-For", value) for value in forwarded])
    request = make_mocked_request("GET", "/", headers=headers, transport=Peer("10.0.0.9"))
    assert attempts.address_of(request) == address
    assert Attempts(lambda: 0.0).address_of(request) == "10.0.0.9"


def test_addresses_do_not_pay_for_each_other() -> None:
    attempts = Attempts(lambda: 0.0)
    for _ in range(BAD_TOKENS):
        attempts.note("192.0.2.1")
    attempts.require_room("192.0.2.2")
    with pytest.raises(TooManyAttemptsError):
        attempts.require_room("192.0.2.1")


def test_many_addresses_do_not_fill_the_memory() -> None:
    attempts = Attempts(lambda: 0.0)
    for number in range(ADDRESSES_KEPT + 100):
        attempts.note(str(number))
    assert len(attempts._failed) == ADDRESSES_KEPT


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://rows.example"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Origin": "https://rows.example"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({}, False),
    ],
)
def test_change_with_a_session_has_to_come_from_our_own_pages(headers: dict[str, str], is_ours: bool) -> None:
    request = make_mocked_request("POST", "/sign-out", headers={"Host": "rows.example"} | headers)
    if is_ours:
        require_same_origin(request)
    else:
        with pytest.raises(ForbiddenError):
            require_same_origin(request)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRUSTED_PROXIES", "10.0.0.0/8,office"),
        ("API_TOKEN", "short"),
        ("PUBLIC_URL", "hooks.example.com"),
        ("PUBLIC_URL", "https://a b"),
    ],
)
def test_setting_that_cannot_be_used_is_named(name: str, value: str) -> None:
    environ = {
        "TILLSTREAM_DATABASE_URL": "postgresql://a@b/c",
        "TILLSTREAM_KAFKA_BOOTSTRAP_SERVERS": "a:1",
        "TILLSTREAM_ENCRYPTION_KEYS": make_settings().encryption_keys.get_secret_value(),
        f"TILLSTREAM_{name}": value,
    }
    with pytest.raises(ConfigError, match=f"TILLSTREAM_{name}"):
        load(ApiSettings, environ)
