"""Alarms from a connection's trouble to a receiver: a real HTTP server, a real mail server, a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes

import pytest
from pydantic import SecretStr

from services.connection_api.alarms.channel import ChannelKind
from services.connection_api.mail_server import MailServer, parse_smtp_url
from shared.errors import ConflictError, PayloadError
from shared.networks import parse_networks
from tests.eventually import eventually
from tests.integration.connection_api.alarming import BY, REFUSED, World, alarm_world, receiving
from tests.integration.connection_api.owing_rows import LETTER
from tests.integration.connection_api.serving import execute, ready
from tests.unit.connection_api.serving import BEARER


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with alarm_world(database_url) as world:
        yield world


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
                "connections": [{"id": "con_1", "name": name}],
                "number": 1,
                "sentence": f"{name} needs you: {REFUSED} Update API Key.",
                "url": page,
            },
        ),
        (
            "recovered",
            {
                "connection": {"id": "con_1", "name": name},
                "connections": [{"id": "con_1", "name": name}],
                "number": 1,
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
