"""Whoever tries again says why, since when and how often, until the work has succeeded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from shared.db import Pool, make_pool
from shared.delays import Work, delays_of_connection, delays_of_destination, delays_of_sync, end_delays, note_delay

SOON = datetime(2026, 1, 1, tzinfo=UTC)
DESTINATION = (
    "INSERT INTO destinations (id, name, kind, settings, secret, address) VALUES ($1, $1, 'postgres', '{}', '', $1)"
)
CONNECTION = (
    "INSERT INTO connections (id, account_id, account_name, livemode, state, key_hint, resources, live_by)"
    " VALUES ($1, 'acct_1', 'Till Shop', true, 'active', '', '{charge}', 'webhooks')"
)
LINK = "INSERT INTO connection_destinations VALUES ('con_1', 'dst_1', 'acct_1', true)"
SYNC = (
    "INSERT INTO syncs (id, connection_id, kind, trigger, status, resources)"
    " VALUES ('syn_1', 'con_1', 'backfill', 'person', 'running', '{charge}')"
)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await make_pool(database_url)
    await pool.execute(DESTINATION, "dst_1")
    await pool.execute(CONNECTION, "con_1")
    await pool.execute(CONNECTION, "con_2")
    await pool.execute(LINK)
    await pool.execute(SYNC)
    yield pool
    await pool.close()


async def test_each_failed_try_is_counted_and_the_first_ones_time_stays(pool: Pool) -> None:
    await note_delay(
        pool, Work.SLICE, "7", code="page", cause="Stripe answered 504.", next_try_at=SOON, sync_id="syn_1"
    )
    first = await delays_of_sync(pool, "syn_1")
    later = SOON + timedelta(minutes=1)
    await note_delay(pool, Work.SLICE, "7", code="page", cause="It was cut off.", next_try_at=later, sync_id="syn_1")
    (delay,) = await delays_of_sync(pool, "syn_1")
    assert (delay.attempts, delay.since, delay.next_try_at) == (2, first[0].since, later)
    assert (delay.cause, delay.fix) == ("It was cut off.", None)


async def test_a_destination_that_is_delayed_delays_its_connections_alone(pool: Pool) -> None:
    await note_delay(
        pool, Work.DESTINATION, "dst_1", code="42501", cause="No rights.", next_try_at=SOON, destination_id="dst_1"
    )
    assert await delays_of_connection(pool, "con_1") == await delays_of_destination(pool, "dst_1") != []
    assert await delays_of_connection(pool, "con_2") == []


async def test_work_that_has_succeeded_is_not_delayed_any_more(pool: Pool) -> None:
    for slice_id in ("7", "8"):
        await note_delay(pool, Work.SLICE, slice_id, code="x", cause="x", next_try_at=SOON, connection_id="con_1")
    await end_delays(pool, Work.SLICE, ["7"])
    assert [delay.work_id for delay in await delays_of_connection(pool, "con_1")] == ["8"]
