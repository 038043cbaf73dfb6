"""Stripe's answers become errors that say what to do, and no call gives more away than it must."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from shared.errors import (
    AppError,
    KeyInvalidError,
    PermissionMissingError,
    ResourceUnavailableError,
    StripeNotFoundError,
    StripeRateLimitedError,
    StripeRefusedError,
    StripeUnavailableError,
)
from shared.stripe_api import API_VERSION, STAMP_MARGIN, StripeApi, raise_for_status, stamp_of
from tests.unit.shared.fake_stripe import KEY

NOON = 1_750_000_000  # Stripe's clock in these tests
CHARGE = {"id": "ch_1", "object": "charge", "created": 1}


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent; without a status, nothing ever is."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Date": formatdate(NOON, usegmt=True)})


NEVER = Answer(status=0)
PLAN_LACKS = "The provided key 'rk_live_***aaaa' does not have the required permissions for this endpoint."


@dataclass(slots=True)
class Script:
    """Answers one call after the other, the last answer for ever; keeps what it was asked."""

    answers: list[Answer]
    requests: list[web.BaseRequest] = field(default_factory=list)
    endpoints: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is NEVER:
            await asyncio.Event().wait()
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers)

    @asynccontextmanager
    async def turn(self, endpoint: str) -> AsyncIterator[None]:
        self.endpoints.append(endpoint)
        yield

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


def ok(body: Any = CHARGE) -> Answer:
    return Answer(json.dumps(body).encode())


def refusal(status: int, message: str = "", code: str | None = None, **headers: str) -> Answer:
    answer = Answer(json.dumps({"error": {"message": message, "code": code}}).encode(), status)
    return replace(answer, headers=answer.headers | {name.replace("_", "-"): text for name, text in headers.items()})


@asynccontextmanager
async def calling(script: Script, **options: Any) -> AsyncIterator[StripeApi]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield StripeApi(session, base=str(server.make_url("")), key=KEY, budget=script, sleep=script.sleep, **options)


@pytest.mark.parametrize(
    ("status", "message", "code", "expected"),
    [
        (400, "Received unknown parameter: colour", "parameter_unknown", StripeRefusedError),
        (400, "Your account is not set up to use Issuing.", None, ResourceUnavailableError),
        (400, "Your account is not set up to use Identity.", None, ResourceUnavailableError),
        (400, "You are not authorized to send Forwarding requests in livemode.", None, ResourceUnavailableError),
        (400, "This endpoint is only available in testmode.", None, ResourceUnavailableError),
        (400, "Unrecognized request URL (GET: /v1/treasury/x).", None, ResourceUnavailableError),
        (400, "Accounts v2 is not enabled for your platform.", None, ResourceUnavailableError),
        (400, "No such charge: 'ch_9'", "resource_missing", StripeNotFoundError),
        (401, "Invalid API Key provided: rk_live_***aaaa", None, KeyInvalidError),
        (401, "Expired API Key provided: rk_live_***aaaa", "api_key_expired", KeyInvalidError),
        (401, "The API key provided does not allow requests from your IP address.", None, KeyInvalidError),
        (402, "Your card was declined.", "card_declined", StripeRefusedError),
        (403, "Having the 'rak_charge_read' permission would allow this.", None, PermissionMissingError),
        (
            403,
            f"{PLAN_LACKS} Enabling \"Prices Read\" ('plan_read') permissions would help.",
            None,
            PermissionMissingError,
        ),
        (403, PLAN_LACKS, None, PermissionMissingError),
        (403, "This application lacks something.", "more_permissions_required_for_application", PermissionMissingError),
        (403, "The API key provided does not allow requests from your IP address (192.0.2.1).", None, KeyInvalidError),
        (403, "Expired API Key provided: rk_live_***aaaa", "api_key_expired", KeyInvalidError),
        (403, "Only Stripe Connect platforms can work with other accounts.", None, ResourceUnavailableError),
        (403, "You can't do that.", "account_invalid", ResourceUnavailableError),
        (403, f"{PLAN_LACKS} They are not available for use by restricted keys.", None, ResourceUnavailableError),
        (403, "This account is being looked at.", None, StripeRefusedError),
        (404, "No such charge: 'ch_9'", "resource_missing", StripeNotFoundError),
        (404, "Unrecognized request URL (GET: /v1/treasury/x).", None, ResourceUnavailableError),
        (409, "There is another request in progress.", None, StripeUnavailableError),
        (429, "Request rate limit exceeded.", "rate_limit", StripeRateLimitedError),
        (429, "This object cannot be accessed right now.", "lock_timeout", StripeRateLimitedError),
        (500, "An unknown error occurred", None, StripeUnavailableError),
        (503, "An unknown error occurred", None, StripeUnavailableError),
    ],
)
def test_each_answer_becomes_the_error_that_says_what_to_do(
    status: int, message: str, code: str | None, expected: type[AppError]
) -> None:
    body = json.dumps({"error": {"message": message, "code": code, "type": "x"}}).encode()
    with pytest.raises(AppError) as caught:
        raise_for_status(status, body, None)
    assert type(caught.value) is expected
    assert caught.value.message == message


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error":"gone"}', b'{"error":{"message":null}}', b"\xff", b"[]"])
def test_an_error_without_stripes_body_still_says_its_status(body: bytes) -> None:
    with pytest.raises(StripeUnavailableError, match="Stripe answered 502"):
        raise_for_status(502, body, None)


def test_a_missing_permission_is_named() -> None:
    body = b'{"error":{"message":"Having the \'rak_balance_transaction_source_read\' permission would help"}}'
    with pytest.raises(PermissionMissingError) as caught:
        raise_for_status(403, body, None)
    assert caught.value.permission == "rak_balance_transaction_source_read"


def test_a_missing_permission_is_named_in_stripes_newer_words_too() -> None:
    message = f"{PLAN_LACKS} Enabling \"Prices Read\" ('plan_read') permissions on this key would allow this request."
    with pytest.raises(PermissionMissingError) as caught:
        raise_for_status(403, json.dumps({"error": {"message": message}}).encode(), None)
    assert caught.value.permission == "rak_plan_read"


def test_no_error_repeats_a_key() -> None:
    body = json.dumps({"error": {"message": f"Bad key {KEY.get_secret_value()}."}}).encode()
    with pytest.raises(KeyInvalidError) as caught:
        raise_for_status(401, body, None)
    assert KEY.get_secret_value() not in caught.value.message


async def test_every_call_carries_key_and_pinned_version() -> None:
    script = Script([ok()])
    async with calling(script) as api:
        await api.retrieve("/v1/charges/ch_1")
    assert script.requests[0].headers["Stripe-Version"] == API_VERSION
    assert script.requests[0].headers["Authorization"] == f"Bearer {KEY.get_secret_value()}"


async def test_a_page_has_a_hundred_objects_unless_told_otherwise() -> None:
    script = Script([ok({"data": [], "has_more": False})])
    async with calling(script) as api:
        await api.list_page("/v1/charges")
        await api.list_page("/v1/charges", [("limit", "3")])
    assert [request.query_string for request in script.requests] == ["limit=100", "limit=3"]


async def test_objects_of_a_page_stay_the_bytes_that_stripe_sent() -> None:
    body = b'{"object":"list","data":[{"id":"ch_1",  "amount":1.50}],"has_more":true}'
    async with calling(Script([Answer(body)])) as api:
        page = await api.list_page("/v1/charges")
    assert page.objects == (b'{"id":"ch_1",  "amount":1.50}',)
    assert page.has_more


async def test_an_answer_is_stamped_before_its_request_began() -> None:
    async with calling(Script([ok()])) as api:
        fetched = await api.retrieve("/v1/charges/ch_1")
    assert NOON - STAMP_MARGIN - 2 <= fetched.stamp < NOON - STAMP_MARGIN


def test_a_stamp_goes_back_by_duration_and_margin() -> None:
    assert stamp_of(formatdate(NOON, usegmt=True), 2.5) == NOON - STAMP_MARGIN - 3


@pytest.mark.parametrize("header", [None, "yesterday"])
def test_without_a_readable_date_our_clock_stamps(header: str | None) -> None:
    assert stamp_of(header, 0.0, now=lambda: NOON) == NOON - STAMP_MARGIN


async def test_an_object_that_is_gone_says_when_it_was_gone() -> None:
    async with calling(Script([refusal(404, "No such charge", "resource_missing")])) as api:
        with pytest.raises(StripeNotFoundError) as caught:
            await api.retrieve("/v1/charges/ch_1")
    assert caught.value.stamp is not None
    assert caught.value.stamp < NOON - STAMP_MARGIN


@pytest.mark.parametrize("status", [429, 500, 502, 503, 409])
async def test_a_passing_failure_is_tried_again(status: int) -> None:
    script = Script([refusal(status), refusal(status), ok()])
    async with calling(script) as api:
        await api.retrieve("/v1/charges/ch_1")
    assert len(script.requests) == 3
    assert len(script.pauses) == 2


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404])
async def test_a_refusal_is_not_tried_again(status: int) -> None:
    script = Script([refusal(status)])
    async with calling(script) as api:
        with pytest.raises(StripeRefusedError):
            await api.retrieve("/v1/charges/ch_1")
    assert len(script.requests) == 1


async def test_a_pause_is_at_least_what_stripe_asks_for() -> None:
    script = Script([refusal(429, Retry_After="7"), ok()])
    async with calling(script) as api:
        await api.retrieve("/v1/charges/ch_1")
    assert 7 <= script.pauses[0] <= 8


@pytest.mark.parametrize("header", ["soon", "-3", "nan", ""])
async def test_a_pause_that_makes_no_sense_is_ignored(header: str) -> None:
    script = Script([refusal(429, Retry_After=header), ok()])
    async with calling(script) as api:
        await api.retrieve("/v1/charges/ch_1")
    assert 0 <= script.pauses[0] <= 0.5


async def test_attempts_end() -> None:
    script = Script([refusal(500)])
    async with calling(script, attempts=3) as api:
        with pytest.raises(StripeUnavailableError):
            await api.retrieve("/v1/charges/ch_1")
    assert len(script.requests) == 3
    assert len(script.pauses) == 2


@pytest.mark.parametrize("body", [b'{"object":"list","data":[{"id":"ch_', b"", b"<html>Bad gateway</html>"])
async def test_a_page_that_was_cut_is_asked_for_again(body: bytes) -> None:
    script = Script([Answer(body), ok({"data": [CHARGE]})])
    async with calling(script) as api:
        page = await api.list_page("/v1/charges")
    assert len(page.objects) == 1


async def test_an_object_that_was_cut_is_asked_for_again() -> None:
    script = Script([Answer(b'{"id":"ch_1","obj'), ok()])
    async with calling(script) as api:
        assert json.loads((await api.retrieve("/v1/charges/ch_1")).body) == CHARGE


async def test_an_answer_that_does_not_come_is_given_up() -> None:
    async with calling(Script([NEVER]), attempts=1, timeout_seconds=0.05) as api:
        with pytest.raises(StripeUnavailableError, match="did not answer"):
            await api.retrieve("/v1/charges/ch_1")


async def test_a_server_that_is_away_is_unavailable() -> None:
    script = Script([ok()])
    async with aiohttp.ClientSession() as session:
        api = StripeApi(session, base="http://127.0.0.1:1", key=KEY, budget=script, sleep=script.sleep, attempts=2)
        with pytest.raises(StripeUnavailableError):
            await api.retrieve("/v1/charges/ch_1")
    assert api.calls.made == 2


async def test_calls_are_counted_with_those_that_were_limited() -> None:
    async with calling(Script([refusal(429), refusal(500), ok()])) as api:
        await api.retrieve("/v1/charges/ch_1")
    assert (api.calls.made, api.calls.rate_limited) == (3, 1)


async def test_a_redirect_does_not_take_the_key_elsewhere() -> None:
    script = Script([Answer(status=302, headers={"Location": "http://elsewhere.invalid/"})])
    async with calling(script) as api:
        with pytest.raises(StripeRefusedError):
            await api.retrieve("/v1/charges/ch_1")
    assert len(script.requests) == 1


async def test_a_creation_can_be_repeated_under_its_key() -> None:
    script = Script([refusal(500), ok()])
    async with calling(script) as api:
        await api.post("/v1/webhook_endpoints", [("url", "https://x.example")], idempotency_key="once")
    assert [request.headers["Idempotency-Key"] for request in script.requests] == ["once", "once"]


async def test_deleting_what_is_gone_is_fine() -> None:
    async with calling(Script([refusal(404, "No such endpoint", "resource_missing")])) as api:
        await api.delete("/v1/webhook_endpoints/we_1")
    assert api.calls.made == 1


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/v1/payment_intents", "GET /v1/payment_intents"),
        ("/v1/balance_transactions", "GET /v1/balance_transactions"),
        ("/v1/payment_intents/pi_3MtwBw", "GET /v1/payment_intents/{id}"),
        ("/v1/invoices/in_1MtHbE/lines", "GET /v1/invoices/{id}/lines"),
        ("/v1/checkout/sessions/cs_test_a1", "GET /v1/checkout/sessions/{id}"),
        ("/v1/coupons/SUMMER%2025", "GET /v1/coupons/{id}"),
    ],
)
async def test_each_endpoint_waits_for_its_own_turn(path: str, endpoint: str) -> None:
    script = Script([ok()])
    async with calling(script) as api:
        await api.retrieve(path)
    assert script.endpoints == [endpoint]


async def test_each_attempt_waits_for_its_turn() -> None:
    script = Script([refusal(500), ok()])
    async with calling(script) as api:
        await api.retrieve("/v1/charges/ch_1")
    assert len(script.endpoints) == 2


def limits(script: Script) -> list[str]:
    return [request.query["limit"] for request in script.requests]


@pytest.mark.parametrize("failure", [refusal(504), refusal(500), Answer(b'{"data":[{"id":'), Answer(b"<html>")])
async def test_a_page_that_fails_is_asked_for_with_half_of_its_objects(failure: Answer) -> None:
    script = Script([failure, failure, ok({"data": [CHARGE], "has_more": False})])
    async with calling(script) as api:
        await api.list_page("/v1/charges")
    assert limits(script) == ["100", "50", "25"]


async def test_a_page_that_is_limited_is_asked_for_as_it_was() -> None:
    script = Script([refusal(429, "Too many"), ok({"data": [CHARGE], "has_more": False})])
    async with calling(script) as api:
        await api.list_page("/v1/charges")
    assert limits(script) == ["100", "100"]


async def test_connections_that_lead_nowhere_are_left_at_the_second_try() -> None:
    pooled, dead = asyncio.Barrier(4), set[asyncio.Transport | None]()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.transport in dead:
            await asyncio.Event().wait()
        if pooled.n_waiting or not dead:
            dead_soon.add(request.transport)
            await pooled.wait()
        return web.json_response(CHARGE)

    dead_soon = set[asyncio.Transport | None]()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    script = Script([])
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        options = {"timeout_seconds": 1.0, "attempts": 2, "sleep": script.sleep}
        api = StripeApi(session, base=str(server.make_url("")), key=KEY, budget=script, **options)  # type: ignore[arg-type]
        await asyncio.gather(*(api.retrieve("/v1/charges/ch_1") for _ in range(4)))
        dead |= dead_soon
        assert len(dead) == 4
        assert (await api.retrieve("/v1/charges/ch_1")).body
