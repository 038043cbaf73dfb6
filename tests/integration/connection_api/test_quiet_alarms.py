"""What alarms keep quiet: by night, where one cause has reached many accounts, and of whom they are sent to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, time, timedelta

import pytest

from services.connection_api.alarms.channel import ChannelKind, QuietHours
from shared.connections import State
from tests.browser.sample import add_connection
from tests.integration.connection_api.alarming import BY, REFUSED, World, alarm_world, receiving


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with alarm_world(database_url) as world:
        yield world


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


async def test_what_is_tried_again_waits_for_the_end_of_quiet_hours_and_a_test_goes(world: World) -> None:
    world.now = datetime(2026, 3, 2, 20, 57, tzinfo=UTC)
    async with receiving() as receiver:
        made = await world.add(receiver.url, quiet=QuietHours(begin=time(21), end=time(6)))
        receiver.status = 500
        await world.break_key()
        await world.pass_time(70)
        await world.send()
        receiver.status = 204
        world.now = datetime(2026, 3, 2, 23, 0, tzinfo=UTC)
        await world.pool.execute("UPDATE alarm_messages SET next_try_at = now()")
        await world.alarms.test(made.channel.id, by=BY)
        await world.send()
        assert [json.loads(body)["type"] for _, body in receiver.got] == ["action_required", "test"]
        [held, _] = await world.messages()
        assert held.attempts == 1
        assert held.next_try_at
        assert timedelta(hours=6, minutes=55) < held.next_try_at - datetime.now(UTC) <= timedelta(hours=7)
        world.now = datetime(2026, 3, 3, 6, 0, tzinfo=UTC)
        await world.pool.execute("UPDATE alarm_messages SET next_try_at = now() WHERE sent_at IS NULL")
        await world.send()
    assert json.loads(receiver.got[-1][1])["type"] == "action_required"


async def test_a_try_that_fails_before_quiet_hours_is_made_again_after_them(world: World) -> None:
    world.now = datetime(2026, 3, 2, 20, 58, 55, tzinfo=UTC)
    await world.add("http://127.0.0.1:1/alarms", quiet=QuietHours(begin=time(21), end=time(6)))
    await world.break_key()
    await world.pass_time(60)
    world.now = datetime(2026, 3, 2, 20, 59, 58, tzinfo=UTC)
    await world.watcher.look()
    await world.send()
    [message] = await world.messages()
    assert message.next_try_at
    assert message.next_try_at - datetime.now(UTC) > timedelta(hours=8, minutes=59)


async def test_one_cause_of_many_accounts_is_one_message_that_keeps_no_name(world: World) -> None:
    for number in range(2, 8):
        await add_connection(world.pool, f"con_{number}", f"Shop {number}", state=State.ACTIVE)
    async with receiving() as receiver:
        await world.add(receiver.url)
        await world.pool.execute("UPDATE connections SET state = 'action_required', cause = $1", REFUSED)
        await world.pass_time(100)
        await world.pool.execute("UPDATE connections SET name = 'A new name' WHERE id = 'con_1'")
        await world.send()
        [(_, body)] = receiver.got
        told = json.loads(body)["data"]
        await world.pool.execute("UPDATE connections SET state = 'active', cause = NULL")
        await world.pass_time(100)
        await world.send()
    assert told["sentence"].startswith("7 accounts need you: ")
    assert "A new name" in [one["name"] for one in told["connections"]]
    assert (told["connection"], told["number"], len(told["connections"])) == (None, 7, 7)
    assert told["url"] == "https://till.example.com/?status=Action+required"
    assert told["sentence"].endswith(f"{REFUSED} Update API Key.")
    [_, ended] = await world.messages()
    assert ended.sentence.startswith("7 accounts have recovered: ")
    kept = await world.pool.fetch("SELECT sentence, connection_id FROM alarm_messages")
    assert "Shop" not in str(kept)


async def test_what_follows_waits_for_a_message_about_several(world: World) -> None:
    await add_connection(world.pool, "con_2", "Shop 2", state=State.ACTIVE)
    async with receiving() as receiver:
        await world.add(receiver.url)
        receiver.status = 500
        await world.pool.execute("UPDATE connections SET state = 'action_required', cause = $1", REFUSED)
        await world.pass_time(100)
        await world.send()
        await world.mend_key()
        await world.pass_time(100)
        await world.send()
    assert len(receiver.got) == 1
    assert [message.event for message in await world.messages()] == ["action_required", "recovered"]


async def test_of_a_mail_address_only_the_first_letter_and_the_host_are_readable(world: World) -> None:
    world.alarms.has_mail = True
    made = await world.add("ada.lovelace@example.com", ChannelKind.EMAIL)
    assert made.channel.shown == "a…@example.com"
    assert "lovelace" not in str([dict(row) for row in await world.pool.fetch("SELECT * FROM alarm_channels")])
    assert (await world.store.address(made.channel.id)).address.get_secret_value() == "ada.lovelace@example.com"
