"""What a connection wants changes while its writer runs: from then on it holds, and no record is lost over it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from shared.audit import Actor
from shared.catalogue import BY_NAME
from shared.cleanups import CleanupStore, request_cleanup
from shared.db import transaction
from shared.topics import EVENTS, SNAPSHOTS
from tests.eventually import eventually
from tests.integration.destination_writer.state import ACCOUNT_ID, make_settings
from tests.integration.destination_writer.world import World, event, open_world, running, snapshot

BEGIN = 1_790_000_000
BY = Actor("test")
FILL = """
INSERT INTO copy.customers (_account, _livemode, id, data, _stamp, _listed)
SELECT $1, $2, 'cus_' || n, '{}', 1, true FROM generate_series(1, $3) AS n
"""


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as found:
        yield found


@pytest.fixture
async def world(database_url: str, kafka_bootstrap_servers: str, topic_prefix: str) -> AsyncIterator[World]:
    async with open_world(make_settings(database_url, kafka_bootstrap_servers, topic_prefix)) as world:
        yield world


async def test_what_was_made_before_the_start_date_is_passed_over_and_its_slice_ends(world: World) -> None:
    await world.state.pool.execute("UPDATE connections SET start_date = to_timestamp($1)", BEGIN)
    slice_id = await world.state.add_slice("con_1")
    listed = [snapshot(f"cus_{n}", BEGIN + 99, slice_id, created=BEGIN - 10 + n) for n in range(20)]
    events = [event(n, f"cus_{n}", BEGIN + 100, created=BEGIN - 10 + n) for n in (9, 10)]
    snapshots = await world.publish(SNAPSHOTS, listed)
    async with running(world):
        await eventually(world.done(SNAPSHOTS, snapshots), within=20)
        await eventually(world.done(EVENTS, await world.publish(EVENTS, events)), within=20)
    assert sorted(await world.customers()) == [f"cus_{n}" for n in range(10, 20)]
    assert await world.state.rows("SELECT inserted FROM slice_counts WHERE slice_id = $1", slice_id) == [(10,)]
    logged = await world.state.rows("SELECT object_id, outcome FROM event_log ORDER BY object_id")
    assert [outcome == "not_synced" for _, outcome in logged] == [False, True]
    assert [object_id for object_id, _ in logged] == ["cus_10", "cus_9"]
    live = "SELECT records, inserted + updated + unchanged, status FROM syncs WHERE kind = 'live'"
    assert await world.state.rows(live) == [(1, 1, "running")]


async def test_change_of_what_is_wanted_holds_for_the_very_next_record(world: World) -> None:
    """A backfill that follows the change relies on it: nothing else would bring what comes now."""
    second = await world.state.add_destination("second")
    await world.state.pool.execute("UPDATE connections SET start_date = to_timestamp($1)", BEGIN)
    async with running(world):
        done = await world.publish(EVENTS, [event(1, "cus_1", BEGIN + 1, created=BEGIN - 1)])
        await eventually(world.done(EVENTS, done), within=20)
        await world.state.pool.execute("UPDATE connections SET start_date = to_timestamp($1)", BEGIN - 1)
        link = "INSERT INTO connection_destinations VALUES ('con_1', $1, $2, true)"
        await world.state.pool.execute(link, second, ACCOUNT_ID)
        done += await world.publish(EVENTS, [event(2, "cus_1", BEGIN + 2, created=BEGIN - 1)])
        await eventually(world.done(EVENTS, done), within=20)
    for schema in ("copy", "second"):
        assert await world.state.rows(f"SELECT id FROM {schema}.customers") == [("cus_1",)]


async def test_destination_with_another_address_is_written_to_within_two_seconds(world: World) -> None:
    [(destination_id,)] = await world.state.rows("SELECT id FROM destinations")
    row = await world.state.destinations.get(destination_id)
    password = await world.state.destinations.password(destination_id)
    async with running(world):
        await eventually(world.done(EVENTS, await world.publish(EVENTS, [event(1, "cus_1", BEGIN)])), within=20)
        moved = replace(row.address, schema="moved")
        await world.state.destinations.change(destination_id, place=(moved, password), by=BY)
        changed = time.monotonic()
        await eventually(world.has("SELECT to_regclass('moved.customers') IS NOT NULL", True), within=20)
        assert time.monotonic() - changed < 10  # two seconds and what making some sixty tables takes on a busy machine
        await eventually(world.done(EVENTS, 1 + await world.publish(EVENTS, [event(2, "cus_2", BEGIN)])), within=20)
    assert await world.state.rows("SELECT id FROM moved.customers") == [("cus_2",)]


async def test_destination_whose_password_was_wrong_gets_its_records_once_it_is_right(world: World) -> None:
    [(destination_id,)] = await world.state.rows("SELECT id FROM destinations")
    row = await world.state.destinations.get(destination_id)
    right = await world.state.destinations.password(destination_id)
    wrong = replace(row.address, user="nobody")
    await world.state.destinations.change(destination_id, place=(wrong, SecretStr("wrong")), by=BY)
    async with running(world):
        await world.publish(EVENTS, [event(1, "cus_1", BEGIN, name="Ada")])
        await eventually(world.has("SELECT count(*) FROM parked_records", 1), within=20)
        await world.state.destinations.change(destination_id, place=(row.address, right), by=BY)
        await eventually(world.has("SELECT count(*) FROM parked_records", 0), within=30)
    assert await world.customers() == {"cus_1": ("Ada", False)}


@asynccontextmanager
async def process(world: World) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a writer that can be killed."""
    settings = world.state.settings
    variables = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "TOPIC_PREFIX": settings.topic_prefix,
        "ENCRYPTION_KEYS": settings.encryption_keys.get_secret_value(),
        "LOG_LEVEL": "error",
    }
    environ = os.environ | {f"TILLSTREAM_{name}": value for name, value in variables.items()}
    started = await asyncio.create_subprocess_exec(sys.executable, "-m", "services", "destination-writer", env=environ)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def test_removal_of_rows_survives_a_killed_writer(world: World) -> None:
    state, cleanups = world.state, CleanupStore(world.state.pool)
    [(destination_id,)] = await state.rows("SELECT id FROM destinations")
    async with running(world):
        await eventually(world.has("SELECT to_regclass('copy.billing_feedback_options') IS NOT NULL", True), within=20)
    for account in ((ACCOUNT_ID, True), (ACCOUNT_ID, False), ("acct_2", True)):
        await state.pool.execute(FILL, *account, 40_000)
    await state.pool.execute("UPDATE connections SET state = 'removing'")
    async with transaction(state.pool) as db:
        await request_cleanup(
            db, "con_1", destination_id, (ACCOUNT_ID, True), resources=list(BY_NAME), after=timedelta(0)
        )
    async with process(world) as writer:
        await eventually(lambda: is_counted(cleanups), within=30)
        writer.kill()
        await writer.wait()
    [cut_off] = await cleanups.of_connection("con_1")
    assert not cut_off.is_done
    await state.pool.execute("UPDATE cleanups SET lease_until = now()")
    late = await world.publish(EVENTS, [event(1, "cus_1", BEGIN)])
    async with running(world):
        await eventually(lambda: is_finished(cleanups), within=60)
        await eventually(world.done(EVENTS, late), within=20)
    rows = await state.rows("SELECT _account, _livemode, count(*) FROM copy.customers GROUP BY 1, 2 ORDER BY 1, 2")
    assert rows == [(ACCOUNT_ID, False, 40_000), ("acct_2", True, 40_000)]


async def is_counted(cleanups: CleanupStore) -> bool:
    return bool((await cleanups.of_connection("con_1"))[0].affected)


async def is_finished(cleanups: CleanupStore) -> bool:
    return (await cleanups.of_connection("con_1"))[0].is_done
