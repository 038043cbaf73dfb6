"""Alarms from a connection's trouble to a receiver: a real HTTP server, a real mail server, a real database."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from email import message_from_bytes

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from services.connection_api.alarms.alarms import Alarms, Made
from services.connection_api.alarms.channel import ChannelKind, Event, QuietHours
from services.connection_api.alarms.sending import Sender
from services.connection_api.alarms.store import AlarmStore, Message
from services.connection_api.alarms.watcher import Watcher
from services.connection_api.mail_server import MailServer, parse_smtp_url
from shared.audit import Actor
from shared.connections import State
from shared.crypto import make_encryption_key, parse_key_ring
from shared.db import Pool, make_pool
from shared.errors import ConflictError, PayloadError
from shared.networks import ANYWHERE, Networks, parse_networks
from tests.browser.sample import add_connection, add_destination
from tests.eventually import eventually
from tests.integration.connection_api.owing_rows import LETTER
from tests.integration.connection_api.serving import execute, ready
from tests.unit.connection_api.serving import BEARER

BY = Actor("test")
REFUSED = "Stripe refuses the API key."


@dataclass
class Receiver:
    """What an HTTP server has got, and how it answers."""

    url: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    status: int = 204

    def verified(self, secret: str) -> list[dict[str, object]]:
        """Return the bodies whose signature fits, computed as a receiver does."""
        key, found = base64.b64decode(secret.removeprefix("whsec_")), []
        for headers, body in self.got:
            signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
            expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
            if f"v1,{expected}" in headers["webhook-signature"].split():
                found.append(json.loads(body))
        return found


@dataclass
class World:
    """Alarms on a database, with a clock that the test turns."""

    pool: Pool
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    networks: Networks = ANYWHERE
    server: MailServer | None = None

    def __post_init__(self) -> None:
        self.store = AlarmStore(self.pool, parse_key_ring(make_encryption_key("k1")))
        self.alarms = Alarms(self.store, has_mail=self.server is not None, wake=lambda: None)
        self.watcher = self.another_watcher()

    def another_watcher(self) -> Watcher:
        return Watcher(self.pool, self.store, dashboard_url="https://till.example.com/", now=lambda: self.now)

    async def add(self, address: str, kind: ChannelKind = ChannelKind.WEBHOOK, quiet: QuietHours | None = None) -> Made:
        return await self.alarms.add(kind, SecretStr(address), events=list(Event), quiet=quiet, by=BY)

    async def pass_time(self, seconds: int) -> None:
        """Look every ten seconds."""
        for _ in range(seconds // 10):
            await self.watcher.look()
            self.now += timedelta(seconds=10)

    async def send(self) -> None:
        sender = Sender(self.store, networks=self.networks, server=self.server, now=lambda: self.now)
        while await sender.send_due():
            pass

    async def break_key(self) -> None:
        sql = "UPDATE connections SET state = 'action_required', cause = $1 WHERE id = 'con_1'"
        await self.pool.execute(sql, REFUSED)

    async def mend_key(self) -> None:
        await self.pool.execute("UPDATE connections SET state = 'active', cause = NULL WHERE id = 'con_1'")

    async def messages(self) -> list[Message]:
        return list(reversed(await self.store.list_newest(limit=100)))


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    pool = await make_pool(database_url)
    await add_destination(pool)
    await add_connection(pool, "con_1", "Till Shop", state=State.ACTIVE)
    yield World(pool)
    pool.terminate()


@asynccontextmanager
async def receiving(location: str | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()

    async def take(request: web.Request) -> web.Response:
        receiver.got.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        return web.Response(status=receiver.status, headers={"Location": location} if location else {})

    app = web.Application()
    app.router.add_post("/alarms", take)
    async with TestServer(app) as server:
        receiver.url = str(server.make_url("/alarms"))
        yield receiver


async def test_webhook_tells_of_trouble_and_of_its_end_once_and_its_signature_fits(world: World) -> None:
    async with receiving() as receiver:
        made = await world.add(receiver.url)
        await world.pass_time(100)
        await world.break_key()
        await world.pass_time(200)
        await world.send()
        await world.mend_key()
        await world.pass_time(200)
        await world.send()
        assert made.secret
        told = receiver.verified(made.secret.get_secret_value())
    page = "https://till.example.com/connections/con_1"
    name = await world.pool.fetchval("SELECT coalesce(name, account_name) FROM connections")
    assert [(one["type"], one["data"]) for one in told] == [
        (
            "action_required",
            {
                "connection": {"id": "con_1", "name": name},
                "sentence": f"{name} needs you: {REFUSED} Update API Key.",
                "url": page,
            },
        ),
        (
            "recovered",
            {
                "connection": {"id": "con_1", "name": name},
                "sentence": f"{name} has recovered: nothing needs you any more.",
                "url": page,
            },
        ),
    ]
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 2
    assert all(message.sent_at and not message.last_error for message in await world.messages())


async def test_failed_records_have_an_event_of_their_own(world: World) -> None:
    await world.add("https://example.com/alarms")
    await world.pool.execute(LETTER, "a constraint of the table forbids a value", 1)
    await world.pass_time(80)
    [message] = await world.messages()
    assert message.event == "records_failed"
    assert "1 record failed and is not written." in message.sentence


async def test_one_process_watches_at_a_time_and_another_takes_over(world: World) -> None:
    await world.add("https://example.com/alarms")
    await world.break_key()
    other = world.another_watcher()
    await world.watcher.look()
    world.now += timedelta(seconds=60)
    assert await other.look() == 0
    await world.pool.execute("UPDATE leases SET until = now() - interval '1 s' WHERE name = 'alarms'")
    assert await other.look() == 1
    assert await world.watcher.look() == 0


async def test_what_has_not_arrived_is_tried_again_and_keeps_its_id_and_its_order(world: World) -> None:
    async with receiving() as receiver:
        await world.add(receiver.url)
        receiver.status = 500
        await world.break_key()
        await world.pass_time(100)
        await world.send()
        [first] = await world.messages()
        assert (first.sent_at, first.attempts, first.last_error) == (None, 1, "The receiver answered 500.")
        assert first.next_try_at
        assert first.next_try_at > datetime.now(UTC)
        await world.mend_key()
        await world.pass_time(100)
        receiver.status = 200
        await world.send()
        assert len(receiver.got) == 1  # what follows waits for its turn
        await world.pool.execute("UPDATE alarm_messages SET next_try_at = now() WHERE attempts > 0")
        await world.send()
    assert [json.loads(body)["type"] for _, body in receiver.got] == ["action_required"] * 2 + ["recovered"]
    assert receiver.got[0][0]["webhook-id"] == receiver.got[1][0]["webhook-id"]
    assert receiver.got[0][1] == receiver.got[1][1]


async def test_a_message_is_given_up_in_the_end(world: World) -> None:
    await world.add("http://127.0.0.1:1/alarms")
    await world.break_key()
    await world.pass_time(100)
    for _ in range(20):
        await world.pool.execute("UPDATE alarm_messages SET next_try_at = now() WHERE next_try_at IS NOT NULL")
        await world.send()
    [message] = await world.messages()
    assert message.is_given_up
    assert message.last_error == "The receiver could not be reached."


async def test_redirects_are_not_followed_and_refused_networks_not_reached(world: World) -> None:
    async with receiving() as inner:
        async with receiving(location=inner.url) as receiver:
            receiver.status = 307
            await world.alarms.test((await world.add(receiver.url)).channel.id, by=BY)
            await world.send()
            [message] = await world.messages()
            assert "redirect (307)" in str(message.last_error)
            world.networks = parse_networks("!127.0.0.0/8")
            await world.pool.execute("UPDATE alarm_messages SET next_try_at = now()")
            await world.send()
            assert len(receiver.got) == 1
            [message] = await world.messages()
            assert message.last_error == "Alarms may not be sent to the network of this address."
        assert inner.got == []


async def test_slack_is_told_in_its_form(world: World) -> None:
    async with receiving() as receiver:
        made = await world.add(receiver.url, ChannelKind.SLACK)
        await world.pool.execute("UPDATE connections SET name = 'A & <b>'")
        await world.break_key()
        await world.pass_time(100)
        await world.send()
    [(headers, body)] = receiver.got
    assert made.secret is None
    assert "webhook-signature" not in headers
    text = f"A &amp; &lt;b&gt; needs you: {REFUSED} Update API Key. https://till.example.com/connections/con_1"
    assert json.loads(body) == {"text": text}


async def test_mail_is_handed_to_a_mail_server(world: World) -> None:
    async with mail_server() as (port, letters):
        with pytest.raises(PayloadError, match="TILLSTREAM_SMTP_URL"):
            await world.add("ada@example.com", ChannelKind.EMAIL)
        server = parse_smtp_url(SecretStr(f"smtp://127.0.0.1:{port}"))
        place = MailServer(server.host, server.port, server.is_tls, "", SecretStr(""), sender="till@example.com")
        mailing = World(world.pool, server=place)
        mailing.store, mailing.watcher = mailing.store, mailing.another_watcher()
        await mailing.add("ada@example.com", ChannelKind.EMAIL)
        await mailing.break_key()
        await mailing.pass_time(100)
        await mailing.send()
    [letter] = [message_from_bytes(content) for content in letters]
    name = await world.pool.fetchval("SELECT coalesce(name, account_name) FROM connections")
    assert (letter["From"], letter["To"]) == ("till@example.com", "ada@example.com")
    assert str(letter["Subject"]).startswith("Till Shop") or "utf-8" in str(letter["Subject"])
    body = letter.get_payload(decode=True)
    assert isinstance(body, bytes)
    assert f"{name} needs you: {REFUSED}" in body.decode()


async def test_quiet_hours_hold_back_what_passes(world: World) -> None:
    world.now = datetime(2026, 3, 2, 22, 0, tzinfo=UTC)
    await world.add("https://example.com/alarms", quiet=QuietHours(begin=time(21), end=time(6)))
    await world.break_key()
    await world.pass_time(100)
    await world.mend_key()
    await world.pass_time(100)
    world.now = datetime(2026, 3, 3, 7, 0, tzinfo=UTC)
    await world.pass_time(100)
    assert await world.messages() == []


async def test_nothing_is_told_of_what_is_paused_or_removed(world: World) -> None:
    await world.add("https://example.com/alarms")
    await world.break_key()
    await world.pass_time(100)
    await world.pool.execute("UPDATE connections SET state = 'active', cause = NULL")
    await world.pool.execute("UPDATE connections SET state = 'paused'")
    await world.pass_time(200)
    assert [message.event for message in await world.messages()] == ["action_required"]


async def test_addresses_and_secrets_lie_sealed_and_fifty_channels_are_enough(world: World) -> None:
    made = await world.add("https://example.com/hook?token=canary")
    assert made.channel.shown == "example.com"
    text = str([dict(row) for row in await world.pool.fetch("SELECT * FROM alarm_channels")])
    assert "canary" not in text
    assert made.secret
    assert made.secret.get_secret_value()[6:] not in text
    assert "canary" not in str([dict(row) for row in await world.pool.fetch("SELECT * FROM audit_log")])
    for _ in range(49):
        await world.add("https://example.com/alarms")
    with pytest.raises(ConflictError, match="50"):
        await world.add("https://example.com/alarms")


@pytest.mark.parametrize(
    "wrong", ["example.com", "ftp://example.com", "https://user:secret@example.com", "https://", "//x"]
)
async def test_an_address_that_cannot_be_one_is_refused(world: World, wrong: str) -> None:
    with pytest.raises(PayloadError, match="whole address"):
        await world.add(wrong)


async def test_rest_adds_tests_lists_and_removes(database_url: str) -> None:
    async with receiving() as receiver, ready(database_url) as api:
        wanted = {"kind": "webhook", "address": receiver.url, "quiet_hours": {"begin": "22:00", "end": "07:00"}}
        answer = await api.post("/v1/alarms", json=wanted, headers=BEARER)
        assert answer.status == 201
        made = await answer.json()
        alarm = made["alarm"]
        listed = await (await api.get("/v1/alarms", headers=BEARER)).json()
        assert listed["data"] == [alarm]
        assert "signing_secret" not in str(listed)
        answer = await api.post(f"/v1/alarms/{alarm['id']}/test", headers=BEARER)
        assert answer.status == 202

        async def has_arrived() -> bool:
            page = await (await api.get("/v1/alarms/messages", headers=BEARER)).json()
            return bool(page["data"][0]["sent_at"])

        await eventually(has_arrived, what="the test has arrived")
        [told] = receiver.verified(made["signing_secret"])
        assert told["type"] == "test"
        assert (await api.delete(f"/v1/alarms/{alarm['id']}", headers=BEARER)).status == 204
        assert (await api.delete(f"/v1/alarms/{alarm['id']}", headers=BEARER)).status == 404
        assert await execute(database_url, "SELECT * FROM alarm_messages") == []
        for wrong in ({"events": []}, {"kind": "fax"}, {"quiet_hours": {"begin": "1", "end": "07:00"}}):
            assert (await api.post("/v1/alarms", json=wanted | wrong, headers=BEARER)).status == 422


@asynccontextmanager
async def mail_server() -> AsyncIterator[tuple[int, list[bytes]]]:
    """Lend a mail server that keeps what it is handed. https://www.rfc-editor.org/rfc/rfc5321"""
    letters: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 test\r\n")
        while line := await reader.readline():
            word = line.split()[0].upper() if line.split() else b""
            if word == b"DATA":
                writer.write(b"354 go on\r\n")
                letters.append((await reader.readuntil(b"\r\n.\r\n"))[:-5])
            writer.write(b"221 bye\r\n" if word == b"QUIT" else b"250 fine\r\n")
            if word == b"QUIT":
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], letters
