"""The writer as a whole, with a real Kafka and a real Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import structlog
from aiohttp.test_utils import TestClient, TestServer

from services.destination_writer.app import create_app
from shared.kafka import Outgoing
from shared.topics import EVENTS, SNAPSHOTS, Topic
from tests.eventually import eventually
from tests.integration.destination_writer.state import make_settings
from tests.integration.destination_writer.world import World, event, open_world, running, snapshot

BEGIN = 1_790_000_000
ROWS_CHANGED = """
SELECT sum(n_tup_ins), sum(n_tup_upd), sum(n_tup_del) FROM pg_stat_user_tables WHERE schemaname = 'copy'
"""


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as found:
        yield found


@pytest.fixture
async def world(database_url: str, kafka_bootstrap_servers: str, topic_prefix: str) -> AsyncIterator[World]:
    async with open_world(make_settings(database_url, kafka_bootstrap_servers, topic_prefix)) as world:
        yield world


def history() -> tuple[list[Outgoing], list[Outgoing]]:
    """Return 200 listed customers, and events that change, delete, repeat and add."""
    listed = [snapshot(f"cus_{n}", BEGIN, name="listed") for n in range(200)]
    events = [
        *(event(n, f"cus_{n}", BEGIN + 10, name="changed") for n in range(50)),
        *(event(n, f"cus_{n}", BEGIN - 10, name="stale") for n in range(50, 100)),
        *(event(n, f"cus_{n}", BEGIN + 10, "customer.deleted", name="listed") for n in range(100, 120)),
        *(event(n, f"cus_{n}", BEGIN + 10, "customer.created", name="new") for n in range(200, 210)),
    ]
    return listed, events + events[:30]


TRUTH = (
    {f"cus_{n}": ("changed", False) for n in range(50)}
    | {f"cus_{n}": ("listed", False) for n in range(50, 200)}
    | {f"cus_{n}": ("listed", True) for n in range(100, 120)}
    | {f"cus_{n}": ("new", False) for n in range(200, 210)}
)


async def deliver_history(world: World) -> tuple[int, int]:
    listed, events = history()
    return await world.publish(SNAPSHOTS, listed), await world.publish(EVENTS, events)


async def test_rows_appear_and_what_is_served_says_so(world: World) -> None:
    snapshots, events = await deliver_history(world)
    async with running(world) as client:
        await eventually(world.done(SNAPSHOTS, snapshots), within=20)
        await eventually(world.done(EVENTS, events), within=20)
        assert (await client.get("/readyz")).status == 200
        assert "tillstream" in await (await client.get("/metrics")).text()
    # An event may reach a row before its listing, in which case the deletion has nothing but its own body.
    assert await world.customers() == TRUTH
    assert await world.state.value("SELECT count(*) FROM event_log") == 130


async def test_destination_has_its_tables_before_the_first_record(world: World) -> None:
    """Also when another destination can't be reached."""
    await world.state.add_destination("nowhere", "postgresql://nobody:secret@127.0.0.1:1/none")
    async with running(world):
        await world.state.add_destination("later")
        for schema in ("copy", "later"):
            await eventually(world.has(f"SELECT to_regclass('{schema}.charges') IS NOT NULL", True))
            await eventually(world.has(f"SELECT to_regclass('{schema}.v_charges') IS NOT NULL", True))


async def test_replay_of_everything_changes_no_row(world: World) -> None:
    snapshots, events = await deliver_history(world)
    async with running(world):
        await eventually(world.done(SNAPSHOTS, snapshots), within=20)
        await eventually(world.done(EVENTS, events), within=20)
    before = await changes(world)
    assert before[0][0] > 200
    counts = await world.state.rows("SELECT sum(inserted), sum(updated), sum(deleted) FROM delivery_hours")
    versions = await world.state.rows("SELECT id, xmin::text FROM copy.customers ORDER BY 1")
    for topic in (SNAPSHOTS, EVENTS):
        assert await world.committed(topic, to=0) == 0
    async with running(world):
        await eventually(lambda: is_committed(world, SNAPSHOTS, snapshots), within=20)
        await eventually(lambda: is_committed(world, EVENTS, events), within=20)
    assert await changes(world) == before
    assert await world.state.rows("SELECT id, xmin::text FROM copy.customers ORDER BY 1") == versions
    assert await world.state.rows("SELECT sum(inserted), sum(updated), sum(deleted) FROM delivery_hours") == counts


async def is_committed(world: World, topic: Topic, total: int) -> bool:
    return await world.committed(topic) == total


async def changes(world: World) -> list[tuple[Any, ...]]:
    """Return rows inserted, updated and deleted in the destination; the writer's connections are closed by now."""
    await eventually(
        world.has("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ~ 'copy'", 1)
    )
    await world.state.value("SELECT pg_stat_clear_snapshot()")
    return await world.state.rows(ROWS_CHANGED)


async def test_slice_is_counted_and_its_poison_is_a_dead_letter(world: World) -> None:
    slice_id = await world.state.add_slice("con_1")
    good = [snapshot(f"cus_{n}", BEGIN, slice_id, name="Ada") for n in range(20)]
    refused = snapshot("cus_nul", BEGIN, slice_id, name="bad \u0000")
    unreadable = Outgoing(good[0].key, b"\xff", good[0].headers)
    total = await world.publish(SNAPSHOTS, [*good[:10], refused, *good[10:], unreadable])
    async with running(world):
        await eventually(world.done(SNAPSHOTS, total), within=20)
        await eventually(world.has("SELECT count(*) FROM dead_letters", 2), within=20)
    assert await world.state.rows("SELECT inserted, failed FROM slice_counts WHERE slice_id = $1", slice_id) == [
        (20, 1)
    ]
    letters = await world.state.rows("SELECT stage, code, destination_id <> '', body FROM dead_letters ORDER BY stage")
    assert letters == [
        ("parse", "message_invalid", False, b"\xff"),
        ("write", "destination_rejected", True, refused.value),
    ]


async def test_records_of_a_removed_connection_are_refused(world: World) -> None:
    await world.state.pool.execute("UPDATE connections SET state = 'removing'")
    total = await world.publish(EVENTS, [event(1, "cus_1", BEGIN, name="late")])
    async with running(world):
        await eventually(world.done(EVENTS, total), within=20)
    assert await world.customers() == {}


async def test_destination_that_is_away_is_delivered_to_once_it_is_there(world: World) -> None:
    """Another destination of the same connection has its rows meanwhile."""
    parts = urlsplit(world.state.settings.database_url.get_secret_value())
    database = f"{parts.path[1:]}_late"
    url = urlunsplit(parts._replace(path=f"/{database}"))
    away = await world.state.add_destination("away", url)
    await world.state.pool.execute("INSERT INTO connection_destinations VALUES ('con_1', $1, 'acct_1', true)", away)
    total = await world.publish(EVENTS, [event(1, "cus_1", BEGIN, name="Ada")])
    try:
        async with running(world):
            await eventually(world.done(EVENTS, total), within=20)
            parked = "SELECT destination_id, count(*) FROM parked_records GROUP BY 1"
            await eventually(world.has(parked, away, 1), within=20)
            assert await world.customers() == {"cus_1": ("Ada", False)}
            await world.state.pool.execute(f"CREATE DATABASE {database}")
            await eventually(world.has("SELECT count(*) FROM parked_records", 0), within=30)
        late = await asyncpg.connect(url)
        assert [row["id"] for row in await late.fetch("SELECT id FROM away.customers")] == ["cus_1"]
        await late.close()
    finally:
        await world.state.pool.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")


async def test_service_waits_for_its_database_and_says_so(world: World) -> None:
    settings = make_settings("postgresql://nobody@127.0.0.1:1/none")
    async with TestClient(TestServer(create_app(settings))) as client:
        assert (await client.get("/livez")).status == 200
        assert (await client.get("/readyz")).status == 503
