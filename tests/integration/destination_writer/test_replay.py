"""Replays of dead letters through a real Kafka and Postgres: safe, complete, and without effect the second time."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from services.connection_api.letters.letters import Letters
from services.connection_api.letters.replays import NotReplayableError, Replays
from services.connection_api.rest.models import LetterChoice, ReplayAnswer
from services.destination_writer.graveyard import Graveyard
from shared.audit import Actor
from shared.dead_letters import DeadLetter
from shared.errors import NotFoundError
from shared.kafka import Outgoing
from shared.messages import EventHeaders, Origin, RecordHeaders
from shared.stripe_api import API_VERSION
from shared.topics import EVENTS, SNAPSHOTS, record_key
from tests.eventually import eventually
from tests.integration.destination_writer.state import make_settings
from tests.integration.destination_writer.world import World, event, open_world, running, snapshot

NOW = int(time.time())
BY = Actor("token tok_test", "req_test")
ALL = LetterChoice(all=True)
FORBID = "ALTER TABLE copy.customers ADD CONSTRAINT named CHECK (_deleted OR data->>'name' <> 'odd')"
ALLOW = "ALTER TABLE copy.customers DROP CONSTRAINT named"


@pytest.fixture
async def world(database_url: str, kafka_bootstrap_servers: str, topic_prefix: str) -> AsyncIterator[World]:
    async with open_world(make_settings(database_url, kafka_bootstrap_servers, topic_prefix)) as world:
        yield world


def replays(world: World) -> Replays:
    return Replays(world.state.pool, topic_prefix=world.state.settings.topic_prefix)


async def replayed(world: World, chosen: LetterChoice = ALL) -> ReplayAnswer:
    """Ask for a replay and wait for its end."""
    asked = await replays(world).request(chosen, by=BY)

    async def is_done() -> bool:
        return (await replays(world).get(asked.id)).status == "done"

    await eventually(is_done, within=30)
    return await replays(world).get(asked.id)


def tally(answer: ReplayAnswer) -> tuple[int, ...]:
    return answer.letters, answer.written, answer.asked, answer.failed, answer.skipped


async def tables_are_made(world: World) -> None:
    await eventually(world.has("SELECT to_regclass('copy.customers') IS NOT NULL", True), within=20)


async def letters(world: World, number: int) -> None:
    await eventually(world.has("SELECT count(*) FROM dead_letters", number), within=40)


async def test_a_thousand_of_a_thousand_are_written_after_the_fix_and_nothing_stale(world: World) -> None:
    """Every fourth object has changed meanwhile: the letter's older version must not come back."""
    for n in range(1000):
        await keep(world, n, object_id=f"cus_{n}", stamp=NOW - 90)
    assert await world.state.rows("SELECT letters FROM dead_letter_groups") == [(1000,)]
    async with running(world):
        newer = [event(n, f"cus_{n}", NOW - 30, name="newer") for n in range(0, 1000, 4)]
        newer += [event(5000, "cus_1", NOW - 30, "customer.deleted", name="Ada")]
        await world.publish(EVENTS, newer)
        await eventually(world.done(EVENTS, len(newer)), within=20)

        assert tally(await replayed(world)) == (1000, 1000, 0, 0, 0)
        rows = await world.customers()
        assert rows == {f"cus_{n}": ("Ada" if n % 4 else "newer", False) for n in range(1000)} | {
            "cus_1": ("Ada", True)
        }
        versions = await world.state.rows("SELECT id, xmin::text FROM copy.customers ORDER BY 1")
        assert tally(await replayed(world)) == (0, 0, 0, 0, 0)
        assert await world.state.rows("SELECT id, xmin::text FROM copy.customers ORDER BY 1") == versions
    assert await world.state.value("SELECT count(*) FROM dead_letters") == 0
    actions = await world.state.rows("SELECT subject, details->'letters' FROM audit_log WHERE action LIKE 'dead%'")
    assert actions == [("dead_letters", 1000), ("dead_letters", 0)]


async def test_letter_that_fails_again_stays_with_one_more_attempt_and_the_new_reason(world: World) -> None:
    async with running(world):
        await tables_are_made(world)
        await world.state.pool.execute(FORBID)
        await world.publish(SNAPSHOTS, [snapshot("cus_1", NOW, name="odd")])
        await letters(world, 1)
        first = await world.state.rows("SELECT id, reason, attempts FROM dead_letters")
        assert "constraint named" in first[0][1]
        await world.state.pool.execute(ALLOW)
        await world.state.pool.execute(FORBID.replace(" named ", " other "))

        assert tally(await replayed(world)) == (1, 0, 0, 1, 0)
        [(number, reason, attempts)] = await world.state.rows("SELECT id, reason, attempts FROM dead_letters")
        assert (number, attempts) == (first[0][0], 2)
        assert "constraint other" in reason
        await world.state.pool.execute("ALTER TABLE copy.customers DROP CONSTRAINT other")
        assert tally(await replayed(world, LetterChoice(ids=(f"dlt_{number}",)))) == (1, 1, 0, 0, 0)
    assert await world.customers() == {"cus_1": ("odd", False)}


async def test_replaying_twice_at_once_takes_each_letter_once(world: World) -> None:
    for n in range(20):
        await keep(world, n, body=b'{"id":"cus_1","object":"customer","name":"Ada"}')
    first = await replays(world).request(ALL, by=BY)
    async with running(world):
        second = await replayed(world)

        async def is_done() -> bool:
            return (await replays(world).get(first.id)).status == "done"

        await eventually(is_done, within=20)
    written = [(await replays(world).get(one.id)).written for one in (first, second)]
    assert sum(written) == 20
    total = f"SELECT sum(next_offset)::int FROM writer_progress WHERE topic = '{SNAPSHOTS.name(prefix(world))}'"
    assert await world.state.value(total) == 20


async def test_filter_leaves_the_other_letters(world: World) -> None:
    await keep(world, 1, code="one")
    await keep(world, 2, code="other")
    async with running(world):
        assert tally(await replayed(world, LetterChoice(code="one"))) == (1, 1, 0, 0, 0)
    assert await world.state.rows("SELECT code FROM dead_letters") == [("other",)]


async def test_record_for_one_destination_is_not_written_to_the_others(world: World) -> None:
    other = await world.state.add_destination("other")
    await world.state.pool.execute("INSERT INTO connection_destinations VALUES ('con_1', $1, 'acct_1', true)", other)
    await keep(world, 1, destination_id=other)
    async with running(world):
        assert tally(await replayed(world)) == (1, 1, 0, 0, 0)
    assert await world.customers() == {}
    assert await world.state.value("SELECT count(*) FROM other.customers") == 1


async def test_old_or_unreadable_letter_is_asked_for_at_stripe_instead(world: World) -> None:
    """A deletion may have been forgotten since: an old version could bring its object back."""
    await keep(world, 1, stamp=NOW - 35 * 86_400, object_id="cus_old")
    await keep(world, 2, body=b"\xff", stage="parse", object_id="cus_torn")
    async with running(world):
        assert tally(await replayed(world)) == (2, 0, 2, 0, 0)
    assert await world.state.rows("SELECT resource, object_id, reason FROM refetches ORDER BY 2") == [
        ("customer", "cus_old", "dead letter"),
        ("customer", "cus_torn", "dead letter"),
    ]
    assert await world.state.value("SELECT count(*) FROM dead_letters") == 0


async def test_signed_webhook_is_accepted_anew_where_that_is_possible_now(world: World) -> None:
    await keep_webhook(world, 1, webhook(livemode=False))
    await keep_webhook(world, 2, webhook(livemode=True))
    await keep_webhook(world, 3, b"[1]")
    async with running(world):
        assert tally(await replayed(world)) == (3, 1, 0, 2, 0)
        assert await world.customers() == {"cus_9": ("Ada", False)}
    rows = await world.state.rows("SELECT code, attempts FROM dead_letters ORDER BY id")
    assert rows == [("wrong_mode", 2), ("not_an_event", 2)]


async def test_letter_that_can_not_be_replayed_says_why(world: World) -> None:
    await keep_webhook(world, 1, webhook(livemode=False))
    await keep(world, 2, body=b"\xff", stage="parse", headers=(), key=b"")
    numbers = [f"dlt_{row[0]}" for row in await world.state.rows("SELECT id FROM dead_letters ORDER BY id")]
    with pytest.raises(NotReplayableError, match="still can't be used: The event is of the other mode"):
        await replays(world).request(LetterChoice(ids=numbers[:1]), by=BY)
    with pytest.raises(NotReplayableError, match="does not tell which object"):
        await replays(world).request(LetterChoice(ids=numbers[1:]), by=BY)
    with pytest.raises(NotFoundError):
        await replays(world).request(LetterChoice(ids=("dlt_999",)), by=BY)
    async with running(world):
        done = await replayed(world)
    assert tally(done) == (2, 0, 0, 1, 1)
    assert done.note is not None
    assert "does not tell which object" in done.note


async def test_letter_goes_when_what_waited_for_its_destination_is_written(world: World) -> None:
    parts = urlsplit(world.state.settings.database_url.get_secret_value())
    database = f"{parts.path[1:]}_late"
    away = await world.state.add_destination("away", urlunsplit(parts._replace(path=f"/{database}")))
    await world.state.pool.execute("INSERT INTO connection_destinations VALUES ('con_1', $1, 'acct_1', true)", away)
    await keep(world, 1, destination_id=away)
    try:
        async with running(world):
            asked = await replays(world).request(ALL, by=BY)
            await eventually(world.has("SELECT is_parked FROM dead_letters", True), within=20)
            now = await replays(world).get(asked.id)
            assert (now.status, now.waiting) == ("running", 1)
            await world.state.pool.execute(f"CREATE DATABASE {database}")
            await letters(world, 0)
            await eventually(world.has("SELECT written, status FROM dead_letter_replays", 1, "done"), within=20)
    finally:
        await world.state.pool.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")


async def test_discarded_letters_are_gone_and_noted(world: World) -> None:
    for number, code in enumerate(("one", "one", "other")):
        await keep(world, number, code=code)
    store = Letters(world.state.pool)
    assert await store.discard(LetterChoice(code="one"), by=BY) == 2
    assert await world.state.rows("SELECT code FROM dead_letters") == [("other",)]
    assert await world.state.rows("SELECT action, details->'letters' FROM audit_log WHERE action LIKE 'dead%'") == [
        ("dead_letters.discarded", 2)
    ]
    with pytest.raises(NotFoundError):
        await store.discard(LetterChoice(ids=("dlt_999",)), by=BY)


def prefix(world: World) -> str:
    return world.state.settings.topic_prefix


async def keep(world: World, offset: int, **changes: Any) -> None:
    """Keep the dead letter of a write, or what the changes make of it."""
    object_id, stamp = changes.pop("object_id", f"cus_{offset}"), changes.pop("stamp", NOW)
    sent: Outgoing = snapshot(object_id, stamp, name="Ada")
    values = {
        "stage": "write",
        "code": "destination_rejected",
        "reason": "why",
        "body": sent.value,
        "connection_id": "con_1",
        "destination_id": await world.state.value("SELECT min(id) FROM destinations"),
        "source_topic": SNAPSHOTS.name(prefix(world)),
        "source_partition": 0,
        "source_offset": 10_000 + offset,
        "key": record_key("con_1", object_id),
        "headers": tuple(RecordHeaders("con_1", "customer", stamp, Origin.LISTED).encode()),
    }
    if changes.get("stage") == "parse":
        values["destination_id"] = ""
    await Graveyard(world.state.pool).keep([DeadLetter(**{**values, **changes})])


async def keep_webhook(world: World, offset: int, body: bytes) -> None:
    await keep(
        world,
        offset,
        stage="gateway",
        code="not_json",
        body=body,
        destination_id="",
        source_topic="dead",
        key=b"",
        headers=tuple(EventHeaders("con_1", NOW * 1000).encode()),
    )


def webhook(*, livemode: bool) -> bytes:
    return json.dumps(
        {
            "id": "evt_9",
            "object": "event",
            "type": "customer.created",
            "created": NOW,
            "livemode": livemode,
            "api_version": API_VERSION,
            "data": {"object": {"id": "cus_9", "object": "customer", "name": "Ada"}},
        }
    ).encode()
