"""A destination that refuses too much of a connection: delivery there stops instead of filling the dead letters."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog

from services.connection_api.life.deliveries import Deliveries
from shared.audit import Actor
from shared.errors import NotFoundError
from shared.topics import EVENTS, SNAPSHOTS
from tests.eventually import eventually
from tests.integration.destination_writer.state import make_settings
from tests.integration.destination_writer.world import World, event, open_world, running, snapshot

NOW = int(time.time())
BY = Actor("token tok_test", "req_test")
FORBID = "ALTER TABLE copy.customers ADD CONSTRAINT named CHECK (data->>'name' <> 'odd')"
ALLOW = "ALTER TABLE copy.customers DROP CONSTRAINT named"
STOPS = "SELECT count(*) FROM delivery_stops"


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as found:
        yield found


@pytest.fixture
async def world(database_url: str, kafka_bootstrap_servers: str, topic_prefix: str) -> AsyncIterator[World]:
    """A connection that delivers to `copy`, which refuses what is odd, and to `other`, which takes all."""
    async with open_world(make_settings(database_url, kafka_bootstrap_servers, topic_prefix)) as world:
        other = await world.state.add_destination("other")
        sql = "INSERT INTO connection_destinations VALUES ('con_1', $1, 'acct_1', true)"
        await world.state.pool.execute(sql, other)
        async with running(world):
            for schema in ("copy", "other"):
                made = f"SELECT to_regclass('{schema}.customers') IS NOT NULL"
                await eventually(world.has(made, True), within=20)
            await world.state.pool.execute(FORBID)
            yield world


async def rows(world: World, schema: str) -> int:
    return int(await world.state.value(f"SELECT count(*) FROM {schema}.customers"))


async def test_delivery_stops_and_goes_on_when_a_person_lets_it(world: World) -> None:
    """Of 400 records that are all refused 99 become dead letters; the rest waits, and the other destination has all."""
    await world.publish(SNAPSHOTS, [snapshot(f"cus_{n}", NOW - 50, name="odd") for n in range(400)])
    await eventually(world.done(SNAPSHOTS, 400), within=40)
    await eventually(world.has("SELECT count(*) FROM dead_letters", 99), within=60)
    assert await world.state.value("SELECT count(*) FROM parked_records") == 301
    assert (await rows(world, "copy"), await rows(world, "other")) == (0, 400)
    [(failed, counted, reason)] = await world.state.rows("SELECT failed, counted, reason FROM delivery_stops")
    assert (failed, counted) == (100, 100)
    assert "constraint named" in reason

    # What comes meanwhile is not tried, however good it is.
    await world.publish(EVENTS, [event(1, "cus_new", NOW, name="Ada")])
    await eventually(world.done(EVENTS, 1), within=20)
    assert (await rows(world, "copy"), await rows(world, "other")) == (0, 401)
    assert await world.state.value("SELECT count(*) FROM dead_letters") == 99

    await world.state.pool.execute(ALLOW)
    await Deliveries(world.state.pool).resume("con_1", by=BY)
    await eventually(world.has("SELECT count(*) FROM parked_records", 0), within=20)
    assert await rows(world, "copy") == 302  # the 99 are replayed by whoever wants them
    assert await world.state.rows(STOPS) == [(0,)]
    assert await world.state.rows("SELECT action FROM audit_log WHERE action LIKE '%delivery%'") == [
        ("connection.delivery_resumed",)
    ]


async def test_delivery_that_fails_again_stops_again(world: World) -> None:
    await world.publish(SNAPSHOTS, [snapshot(f"cus_{n}", NOW - 50, name="odd") for n in range(400)])
    await eventually(world.has(STOPS, 1), within=40)
    await eventually(world.has("SELECT count(*) FROM parked_records", 301), within=20)
    await Deliveries(world.state.pool).resume("con_1", by=BY)
    await eventually(world.has(STOPS, 1), within=20)
    await eventually(world.has("SELECT count(*) FROM dead_letters", 198), within=60)
    await eventually(
        world.has("SELECT count(*) FROM parked_records WHERE next_try_at > now() + '1 year'", 202), within=20
    )


async def test_some_failures_among_many_records_stop_nothing(world: World) -> None:
    sent = [snapshot(f"cus_{n}", NOW - 50, name="odd" if n % 10 == 0 else "Ada") for n in range(600)]
    await world.publish(SNAPSHOTS, sent)
    await eventually(world.done(SNAPSHOTS, 600), within=40)
    await eventually(world.has("SELECT count(*) FROM dead_letters", 60), within=60)
    assert (await rows(world, "copy"), await world.state.rows(STOPS)) == (540, [(0,)])


async def test_delivery_that_has_not_stopped_stays_as_it_is(world: World) -> None:
    await Deliveries(world.state.pool).resume("con_1", by=BY)
    assert await world.state.rows("SELECT count(*) FROM audit_log WHERE action LIKE 'connection.delivery%'") == [(0,)]
    with pytest.raises(NotFoundError):
        await Deliveries(world.state.pool).resume("con_9", by=BY)
