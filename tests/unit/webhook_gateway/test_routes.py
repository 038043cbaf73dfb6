"""What Stripe, and a stranger, get as an answer."""

from __future__ import annotations

import asyncio
import gzip
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientResponse, StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from services.webhook_gateway.app import create_app
from services.webhook_gateway.bodies import MAX_BODY, SlowBodyError, read_body, size_of
from services.webhook_gateway.endpoints import EndpointCache
from shared.endpoint_secrets import Endpoint
from shared.errors import DatabaseUnavailableError, KafkaUnavailableError, TooLargeError
from shared.http import ROUTE_ACCESS, Access
from shared.messages import EventHeaders
from shared.metrics import REGISTRY
from shared.topics import DEAD_LETTERS, EVENTS
from tests.eventually import eventually
from tests.fakes import FakeProducer
from tests.unit.webhook_gateway.webhooks import ENDPOINT, NOW, SECRET, URL, header, make_body, make_settings


async def find(endpoint_id: str) -> Endpoint | None:
    if endpoint_id == "we_away":
        raise DatabaseUnavailableError
    return ENDPOINT if endpoint_id == ENDPOINT.id else None


@pytest.fixture
def producer() -> FakeProducer:
    return FakeProducer()


@pytest.fixture
async def gateway(producer: FakeProducer) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = create_app(make_settings(), producer=producer, endpoints=EndpointCache(find), now=lambda: NOW)
    async with TestClient(TestServer(app), auto_decompress=False) as client:
        yield client


async def post(
    gateway: TestClient[Any, Any], body: bytes, *, signature: str | None = None, url: str = URL, **headers: str
) -> ClientResponse:
    sent = {"Stripe-Signature": header(body) if signature is None else signature} | headers
    return await gateway.post(url, data=body, headers=sent)


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("tillstream_gateway_webhooks_total", {"outcome": outcome}) or 0.0


async def test_event_is_published_as_the_bytes_that_came(gateway: TestClient[Any, Any], producer: FakeProducer) -> None:
    body, before = make_body(), counted("published")
    assert (await post(gateway, body)).status == 200
    [(topic, record)] = producer.published
    assert (topic, record.key, record.value) == (EVENTS, b"con_1:cus_1", body)
    assert EventHeaders.decode(record.headers) == EventHeaders("con_1", int(NOW * 1000), "acct_1", True)
    assert counted("published") == before + 1


async def test_same_webhook_is_taken_every_time(gateway: TestClient[Any, Any], producer: FakeProducer) -> None:
    assert [(await post(gateway, make_body())).status for _ in range(3)] == [200] * 3
    assert len(producer.published) == 3


async def test_stranger_gets_the_same_answer_whatever_is_wrong(
    gateway: TestClient[Any, Any], producer: FakeProducer
) -> None:
    body = make_body()
    answers = [
        await post(gateway, body, signature=header(body, "whsec_forged")),
        await post(gateway, body, signature=""),
        await post(gateway, body, signature=header(body, at=NOW - 3600)),
        await post(gateway, body, signature="t=é,v1=é"),
        await post(gateway, body, url="/webhooks/stripe/we_2"),
        await post(gateway, body, url="/webhooks/stripe/%00%ff"),
        await post(gateway, b"[]", signature="x"),
    ]
    seen = {(answer.status, _without_id(await answer.json()), answer.content_type) for answer in answers}
    assert len(seen) == 1
    assert seen.pop()[0] == 400
    assert producer.published == []


def _without_id(problem: dict[str, Any]) -> str:
    return repr({name: value for name, value in problem.items() if name != "request_id"})


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("not_json", b"hello"),
        ("not_an_event", b"[]"),
        ("thin_event", b'{"id":"evt_1","object":"v2.core.event","type":"v1.customer.created"}'),
        ("object_id_missing", make_body(data={"object": {"object": "customer"}})),
        ("wrong_mode", make_body(livemode=False)),
        ("wrong_account", make_body(account="acct_2")),
    ],
)
async def test_signed_body_that_is_of_no_use_is_quarantined(
    gateway: TestClient[Any, Any], producer: FakeProducer, code: str, body: bytes
) -> None:
    assert (await post(gateway, body)).status == 200
    [letter] = producer.records(DEAD_LETTERS)
    assert (letter.key, letter.value) == (b"con_1", body)
    described = dict(letter.headers)
    assert (described["dead-letter-stage"], described["dead-letter-code"]) == (b"gateway", code.encode())
    assert described["dead-letter-reason"]
    assert producer.records(EVENTS) == []


async def test_preview_of_an_invoice_is_answered_and_counted(
    gateway: TestClient[Any, Any], producer: FakeProducer
) -> None:
    before = counted("ignored")
    body = make_body(type="invoice.upcoming", data={"object": {"object": "invoice"}})
    assert (await post(gateway, body)).status == 200
    assert (producer.published, counted("ignored")) == ([], before + 1)


@pytest.mark.parametrize("body", [make_body(), b"not an event"])
async def test_nothing_is_acknowledged_that_kafka_does_not_have(
    gateway: TestClient[Any, Any], producer: FakeProducer, body: bytes
) -> None:
    producer.error = KafkaUnavailableError()
    answer = await post(gateway, body)
    assert (answer.status, (await answer.json())["code"]) == (503, "kafka_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


async def test_endpoint_that_cannot_be_looked_up_is_unavailable(gateway: TestClient[Any, Any]) -> None:
    answer = await post(gateway, make_body(), url="/webhooks/stripe/we_away")
    assert (answer.status, (await answer.json())["code"]) == (503, "database_unavailable")
    assert "Retry-After" in answer.headers


async def test_largest_body_is_accepted(gateway: TestClient[Any, Any]) -> None:
    body = make_body().ljust(MAX_BODY)
    answer = await gateway.post(URL, data=io.BytesIO(body), headers={"Stripe-Signature": header(body)})
    assert answer.status == 200


@pytest.mark.parametrize("chunked", [False, True])
async def test_larger_body_is_refused(gateway: TestClient[Any, Any], chunked: bool) -> None:
    body = make_body().ljust(MAX_BODY + 1)

    async def chunks() -> AsyncIterator[bytes]:
        yield body

    data = chunks() if chunked else io.BytesIO(body)
    answer = await gateway.post(URL, data=data, headers={"Stripe-Signature": header(body)})
    assert (answer.status, (await answer.json())["code"]) == (413, "too_large")


async def test_body_that_grows_when_unpacked_is_refused(gateway: TestClient[Any, Any]) -> None:
    packed = gzip.compress(bytes(50 * MAX_BODY))
    sent = {"Content-Encoding": "gzip", "Stripe-Signature": header(packed)}
    answer = await gateway.post(URL, data=packed, headers=sent)
    assert answer.status == 413


async def test_body_that_cannot_be_unpacked_is_refused(gateway: TestClient[Any, Any]) -> None:
    sent = {"Content-Encoding": "gzip", "Stripe-Signature": header(b"")}
    answer = await gateway.post(URL, data=b"not gzip" * 100, headers=sent)
    assert (answer.status, (await answer.json())["code"]) == (400, "body_broken")


def test_announced_size_is_refused_before_a_byte_is_read() -> None:
    request = make_mocked_request("POST", URL, headers={"Content-Length": str(MAX_BODY + 1)})
    with pytest.raises(TooLargeError):
        size_of(request)


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "10", "Content-Encoding": "gzip"}])
def test_size_that_is_not_known_counts_as_the_largest(headers: dict[str, str]) -> None:
    assert size_of(make_mocked_request("POST", URL, headers=headers)) == MAX_BODY


async def test_body_that_drips_is_given_up() -> None:
    loop = asyncio.get_running_loop()
    connection = BaseProtocol(loop)
    connection.connection_made(asyncio.Transport())
    body = StreamReader(connection, 2**16, loop=loop)
    body.feed_data(b"{")
    with pytest.raises(SlowBodyError):
        await read_body(make_mocked_request("POST", URL, payload=body), 0.01, lambda part: None)


async def test_body_that_ends_early_is_no_error_of_ours(producer: FakeProducer) -> None:
    before = counted("body_broken")
    app = create_app(make_settings(), producer=producer, endpoints=EndpointCache(find), now=lambda: NOW)
    # Not a TestServer: it cancels a handler whose client is gone, which our server does not.
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _, writer = await asyncio.open_connection(*runner.addresses[0])
    head = f"POST {URL} HTTP/1.1\r\nHost: x\r\nStripe-Signature: {header(b'')}\r\nContent-Length: 100\r\n\r\n"
    writer.write(f"{head}short".encode())
    await writer.drain()
    writer.close()
    await eventually(lambda: counted("body_broken") == before + 1)
    await runner.cleanup()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_only_post_is_answered(gateway: TestClient[Any, Any], method: str) -> None:
    assert (await gateway.request(method, URL)).status == 405


async def test_route_is_declared_as_signed(gateway: TestClient[Any, Any]) -> None:
    declared = gateway.app[ROUTE_ACCESS]
    assert {path: access for (_, path), access in declared.items() if access is not Access.PROBE} == {
        "/webhooks/stripe/{endpoint}": Access.SIGNED
    }


async def test_no_secret_and_no_body_is_told(gateway: TestClient[Any, Any]) -> None:
    body = make_body()
    answer = await post(gateway, body, signature=header(body, "whsec_forged"))
    text = await answer.text() + await (await gateway.get("/metrics")).text()
    assert SECRET not in text
    assert "Ada" not in text


async def test_producer_is_stopped_with_the_service(producer: FakeProducer) -> None:
    app = create_app(make_settings(), producer=producer, endpoints=EndpointCache(find))
    async with TestClient(TestServer(app)) as client:
        assert (await client.get("/livez")).status == 200
    assert producer.is_stopped


header_values = st.text(st.characters(min_codepoint=0x20, exclude_characters="\x7f", codec="latin-1"), max_size=40)


@given(body=st.binary(max_size=60), signature=header_values | st.just(""), encoding=st.sampled_from(["", "gzip", "br"]))
def test_no_request_of_a_stranger_is_an_error_of_ours(body: bytes, signature: str, encoding: str) -> None:
    async def answer() -> int:
        producer = FakeProducer()
        app = create_app(make_settings(), producer=producer, endpoints=EndpointCache(find), now=lambda: NOW)
        async with TestClient(TestServer(app)) as client:
            headers = {"Stripe-Signature": signature.strip()} | ({"Content-Encoding": encoding} if encoding else {})
            status = (await client.post(URL, data=body, headers=headers)).status
        assert producer.published == []
        return status

    assert asyncio.run(answer()) in {400, 413}
