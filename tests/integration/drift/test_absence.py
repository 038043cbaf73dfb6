"""What was deleted while nobody listened is found by its absence from a list, and Stripe's answer decides."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog

from services.destination_writer import searching
from shared.syncs import Kind
from tests.eventually import eventually
from tests.integration.drift.pipeline import CONNECTION, EVERYTHING, Pipeline, pipeline


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as found:
        yield found


@pytest.fixture
async def here(database_url: str, kafka_bootstrap_servers: str, topic_prefix: str) -> AsyncIterator[Pipeline]:
    async with pipeline(database_url, kafka_bootstrap_servers, topic_prefix) as made:
        yield made


async def test_a_healthy_connection_has_no_absent_rows_in_any_resource(
    database_url: str, kafka_bootstrap_servers: str, topic_prefix: str
) -> None:
    servers = (database_url, kafka_bootstrap_servers, topic_prefix)
    async with pipeline(*servers, resources=EVERYTHING, objects=1000, changes_per_second=5) as here:
        assert await here.searched() == 0
        await here.listed_again(*EVERYTHING)
        assert await here.searched() == 0
        listed = await here.pool.fetchval("SELECT count(DISTINCT resource) FROM searches")
    assert listed > 40


async def test_what_was_deleted_unheard_is_deleted_after_a_list(here: Pipeline) -> None:
    gone = {name: (await here.ids(name, 2))[-1] for name in ("customer", "coupon", "payment_method", "price")}
    for name, object_id in gone.items():
        here.simulation.platform.store.tables[name].remove(object_id)  # and no event tells of it
    assert len(await here.wrong(gone)) == len(gone)
    # Stamps are whole seconds: within one, a list shows no row to be newer than another.
    await eventually(here.holds("SELECT max(_stamp) + 7 < extract(epoch FROM now()) FROM copy.customers"))
    await here.listed_again(*gone)
    assert await here.searched() == len(gone)
    await here.answered()
    await eventually(here.holds("SELECT count(*) = 1 FROM copy.customers WHERE _deleted"), within=60)

    async def is_right() -> bool:
        return await here.wrong(gone) == {}

    await eventually(is_right, within=60)


async def test_a_row_that_only_the_list_leaves_out_stays(here: Pipeline) -> None:
    """A candidate is not a deletion: Stripe still has the object, and its row only becomes newer."""
    [object_id] = await here.ids("customer")
    before = await here.pool.fetchval("SELECT max(_stamp) FROM copy.customers WHERE id = $1", object_id)
    await here.pool.execute(
        """INSERT INTO searches (sync_id, connection_id, destination_id, resource, stamp)
           SELECT id, $1, $2, 'customer', $3 FROM syncs WHERE kind = 'backfill'""",
        CONNECTION,
        here.destination_id,
        before + 1,
    )
    await here.searched()
    await here.answered()
    newer = here.holds("SELECT _stamp > $2 AND NOT _deleted FROM copy.customers WHERE id = $1", object_id, before)
    await eventually(newer, within=60)
    assert await here.wrong(["customer"]) == {}


async def test_rows_before_the_start_date_are_not_looked_for(here: Pipeline) -> None:
    """They stay as they are: no list shows them any more."""
    newest = await here.pool.fetchval("SELECT max(created) FROM copy.customers")
    await here.pool.execute("UPDATE connections SET start_date = $1", newest)
    await here.listed_again("customer", "payment_method")
    assert await here.searched() == 0


async def test_the_frequent_reading_of_silent_lists_looks_for_nothing(here: Pipeline) -> None:
    await here.searched()
    await here.pool.execute("DELETE FROM searches")
    connection = await here.connection()
    await here.ended(await here.syncs.reconcile(connection, trigger="schedule", now=time.time()))
    assert await here.pool.fetchval("SELECT count(*) FROM searches") == 0
    await here.ended(await here.syncs.reconcile(connection, trigger="daily", now=time.time()))
    assert await here.pool.fetchval("SELECT count(*) FROM searches") > 0


async def test_a_search_waits_while_many_of_its_questions_are_open(here: Pipeline) -> None:
    await here.searched()
    await here.pool.execute(
        """INSERT INTO refetches (connection_id, resource, object_id, reason, due_at)
           SELECT $1, 'charge', 'ch_' || n, $2, now() + interval '1 hour' FROM generate_series(1, $3) n""",
        CONNECTION,
        searching.REASON,
        searching.MOST_OPEN,
    )
    await here.listed_again("customer")
    await eventually(here.holds("SELECT count(*) = 1 FROM searches WHERE cause LIKE '%search waits%'"), within=60)
    await here.pool.execute("DELETE FROM refetches")
    assert await here.searched() == 0


async def test_only_whole_lists_are_searched(here: Pipeline) -> None:
    await here.searched()
    await here.pool.execute("DELETE FROM searches")
    [object_id] = await here.ids("customer")
    await here.ended(await here.syncs.resync_object(await here.connection(), "customer", object_id))
    await here.ended(await here.syncs.create(CONNECTION, Kind.MANUAL, trigger="test", resources=["balance", "event"]))
    assert await here.pool.fetchval("SELECT count(*) FROM searches") == 0
