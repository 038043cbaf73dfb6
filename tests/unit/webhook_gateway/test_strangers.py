"""What strangers cost, and what they learn: next to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from services.webhook_gateway.bodies import MAX_BODY
from services.webhook_gateway.endpoints import EndpointCache
from services.webhook_gateway.refusing import Counts
from services.webhook_gateway.room import Room
from services.webhook_gateway.routes import PATH, Intake
from shared.endpoint_secrets import Endpoint
from shared.http import Access, add_route, make_app
from shared.listener import listening
from tests.eventually import eventually
from tests.fakes import FakeProducer
from tests.unit.webhook_gateway.webhooks import ENDPOINT, NOW, URL, header, make_body

STRANGER = "/webhooks/stripe/whe_made_up"
LOST = Endpoint("we_lost", "con_2", "acct_2", True, (), is_unreadable=True)
ROOM = 100_000  # bytes


async def find(endpoint_id: str) -> Endpoint | None:
    return {ENDPOINT.id: ENDPOINT, LOST.id: LOST}.get(endpoint_id)


@dataclass
class Gateway:
    """A gateway with little room, on a port."""

    url: str
    intake: Intake

    async def open(self, path: str, body: bytes, *, signature: str | None = None, sent: int = 0) -> Caller:
        """Send the header of a webhook, and so many bytes of its body."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        caller = Caller(*await asyncio.open_connection(host, int(port)))
        signed = header(body) if signature is None else signature
        lines = f"POST {path} HTTP/1.1", "Host: x", f"Stripe-Signature: {signed}", f"Content-Length: {len(body)}"
        caller.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body[:sent])
        await caller.writer.drain()
        return caller


@dataclass
class Caller:
    """One connection to the gateway."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, more: bytes) -> None:
        self.writer.write(more)
        await self.writer.drain()

    async def answer(self) -> tuple[int, str]:
        """Return status and code, once the answer is there."""
        async with asyncio.timeout(60):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
            body = (await self.reader.readexactly(length)).decode()
        return int(head.split()[1]), body.partition('"code": "')[2].partition('"')[0]

    async def status(self) -> int:
        """Return the status, once it is there."""
        async with asyncio.timeout(60):
            return int((await self.reader.readuntil(b"\r\n")).split()[1])

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@asynccontextmanager
async def running(room: int = ROOM, header_seconds: float = 60.0) -> AsyncIterator[Gateway]:
    intake = Intake(EndpointCache(find), FakeProducer(), Counts(), lambda: NOW, room_bytes=room)  # type: ignore[arg-type]
    app = make_app(ready={}, max_body=MAX_BODY)
    add_route(app, "POST", PATH, intake.receive, Access.SIGNED)
    async with listening(app, "127.0.0.1", 0, header_seconds=header_seconds) as url:
        yield Gateway(url, intake)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running() as gateway:
        yield gateway


@pytest.mark.parametrize("path", [URL, STRANGER, "/webhooks/stripe/NOT-OURS", "/webhooks/stripe/" + "a" * 65])
@pytest.mark.parametrize("signature", ["", "t=1", f"t={int(NOW)}"])
async def test_what_stripe_can_not_have_signed_is_refused_before_its_body(
    gateway: Gateway, path: str, signature: str
) -> None:
    caller = await gateway.open(path, b"x" * 5000, signature=signature)
    assert await caller.answer() == (400, "signature_invalid")
    await caller.close()


async def test_endpoint_that_can_not_be_ours_is_refused_before_the_body(gateway: Gateway) -> None:
    caller = await gateway.open("/webhooks/stripe/NOT-OURS", b"x" * 5000)
    assert await caller.answer() == (400, "signature_invalid")
    await caller.close()


async def test_nothing_tells_a_known_endpoint_from_an_unknown_one(gateway: Gateway) -> None:
    """Neither when the answer comes, nor what it is: a body is read to its end for both."""
    body = b"x" * 5000
    signature = header(body, "whsec_of_a_stranger")
    for path in (URL, STRANGER):
        caller = await gateway.open(path, body, signature=signature, sent=4999)
        waiting = asyncio.create_task(caller.answer())
        assert not (await asyncio.wait({waiting}, timeout=0.1))[0], "the answer came before the body's end"
        await caller.send(b"x")
        assert await waiting == (400, "signature_invalid")
        await caller.close()


async def test_bodies_of_an_endpoint_take_room_and_beyond_it_everybody_is_asked_to_come_again(gateway: Gateway) -> None:
    body = make_body().ljust(ROOM - 1000)
    first = await gateway.open(URL, body, sent=10)
    await eventually(lambda: gateway.intake._room._taken == len(body))
    for path in (URL, STRANGER):
        second = await gateway.open(path, make_body().ljust(5000), sent=5000)
        assert await second.answer() == (503, "crowded")
        await second.close()
    await first.send(body[10:])
    assert await first.status() == 200
    third = await gateway.open(URL, body, sent=len(body))
    assert await third.status() == 200
    for caller in (first, third):
        await caller.close()


@pytest.mark.parametrize("aside", [0, 50_000_000])
async def test_bodies_for_nobody_take_no_room_of_others(
    gateway: Gateway, aside: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.intake, "_room_aside", Room(aside))
    body = make_body().ljust(ROOM - 1000)
    strangers = [await gateway.open(STRANGER, body, sent=len(body) - 1) for _ in range(20)]
    small = make_body()
    caller = await gateway.open(URL, small, sent=len(small))
    assert await caller.status() == 200
    for stranger in [*strangers, caller]:
        await stranger.close()


async def test_room_is_given_back_by_whoever_goes_away(gateway: Gateway) -> None:
    callers = [await gateway.open(URL, make_body().ljust(20_000), sent=10) for _ in range(5)]
    await eventually(lambda: gateway.intake._room._taken == ROOM)
    for caller in callers:
        await caller.close()
    await eventually(lambda: gateway.intake._room._taken == 0, within=60)


async def test_header_that_drips_is_cut_off_and_a_body_that_takes_longer_is_not() -> None:
    async with running(header_seconds=2.0) as gateway:
        host, _, port = gateway.url.removeprefix("http://").rpartition(":")
        silent = Caller(*await asyncio.open_connection(host, int(port)))
        dripping = Caller(*await asyncio.open_connection(host, int(port)))
        await dripping.send(b"POST / HTTP/1.1\r\nHost: ")
        body = make_body()
        slow = await gateway.open(URL, body, sent=10)
        for caller in (silent, dripping):
            assert await asyncio.wait_for(caller.reader.read(), 60) == b""
        await slow.send(body[10:])
        assert await slow.status() == 200
        # Between two requests is the time of a proxy, not that of a header.
        await slow.reader.readuntil(b"\r\n\r\n")
        await slow.send(b"POST / HTTP/1.1\r\nHost: ")
        assert await asyncio.wait_for(slow.reader.read(), 60) == b""
        for caller in (silent, dripping, slow):
            await caller.close()


async def test_secret_that_can_not_be_read_is_answered_alike_for_everybody(gateway: Gateway) -> None:
    body = make_body()
    for path in (f"/webhooks/stripe/{LOST.id}", STRANGER, "/webhooks/stripe/whe_another"):
        caller = await gateway.open(path, body, sent=len(body))
        assert await caller.answer() == (503, "secrets_unreadable")
        await caller.close()
    caller = await gateway.open(URL, body, sent=len(body))
    assert await caller.status() == 200
    await caller.close()
