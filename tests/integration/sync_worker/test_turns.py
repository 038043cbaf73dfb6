"""Connections take turns: what one of them has waiting keeps no other waiting."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from services.sync_worker.backfill import TURN, URGENT
from services.sync_worker.refetch import BATCH, CLAIM, LEASE, MOST_OF_ONE
from services.sync_worker.slices import CLAIM as CLAIM_SLICE
from shared.db import Row, transaction
from shared.syncs import EVENT_FEED, Kind
from tests.integration.sync_worker.worlds import CLUSTER, CONNECTION, World

OTHER = "con_2"
QUESTIONS = """
INSERT INTO refetches (connection_id, resource, object_id, reason, due_at)
SELECT $1, 'customer', 'cus_' || n, 'test', now() - $3::interval FROM generate_series(1, $2) n
"""
PLANNED = """
INSERT INTO slices (sync_id, connection_id, resource)
SELECT $1, $2, (ARRAY['charge', 'customer', 'invoice'])[1 + n % 3] FROM generate_series(1, $3) n
"""


async def add_other(here: World) -> None:
    await here.add_connection(OTHER)


async def start(here: World, connection_id: str, *resources: str) -> None:
    await here.syncs.create(connection_id, Kind.BACKFILL, trigger="test", resources=resources)
    await here.completion().start_queued()


async def ask_many(here: World, connection_id: str, count: int, age: timedelta) -> None:
    await here.pool.execute(QUESTIONS, connection_id, count, age)


async def claim(here: World, *, served: list[str] | None = None, answering: dict[str, int] | None = None) -> list[Row]:
    return list(await here.pool.fetch(CLAIM, BATCH, LEASE, MOST_OF_ONE, served or [], answering or {}))


def owners(rows: list[Row]) -> list[str]:
    return sorted(row["connection_id"] for row in rows)


async def test_one_question_stands_behind_none_of_the_thousand_of_another_connection(here: World) -> None:
    await add_other(here)
    await ask_many(here, CONNECTION, 1_500, timedelta(hours=1))
    await ask_many(here, OTHER, 1, timedelta())
    assert OTHER in owners(await claim(here))


async def test_questions_are_claimed_in_turns(here: World) -> None:
    await add_other(here)
    for connection_id in (CONNECTION, OTHER):
        await ask_many(here, connection_id, 50, timedelta(hours=1))
    found = owners(await claim(here))
    assert abs(found.count(CONNECTION) - found.count(OTHER)) == 1  # of five
    late = owners(await claim(here, answering={CONNECTION: 4}))
    assert late.count(OTHER) >= BATCH - 1


async def test_who_was_served_last_comes_last(here: World) -> None:
    await add_other(here)
    for connection_id in (CONNECTION, OTHER):
        await ask_many(here, connection_id, 50, timedelta(hours=1))
    for last, first in ((CONNECTION, OTHER), (OTHER, CONNECTION)):
        assert owners(await claim(here, served=[first, last])).count(first) == 3
        assert owners(await claim(here, served=[last])).count(first) == 3


async def test_one_connection_never_takes_all_room(here: World) -> None:
    await ask_many(here, CONNECTION, 50, timedelta(hours=1))
    assert len(await claim(here, answering={CONNECTION: MOST_OF_ONE - 2})) == 2
    assert await claim(here, answering={CONNECTION: MOST_OF_ONE}) == []


async def test_a_question_is_claimed_once(here: World) -> None:
    await ask_many(here, CONNECTION, 8, timedelta(hours=1))
    first, second = await claim(here), await claim(here)
    assert (len(first), len(second)) == (BATCH, 3)
    assert len({row["object_id"] for row in first + second}) == 8


async def test_slices_are_claimed_in_turns(here: World) -> None:
    await add_other(here)
    await start(here, CONNECTION, "charge", "customer", "invoice", "payment_intent")
    await start(here, OTHER, "charge", "customer", "invoice", "payment_intent")
    slices = here.slices()
    claimed = [await slices.claim() for _ in range(8)]
    found = [one.connection_id for one in claimed if one]
    assert found[0] != found[1]
    assert all(set(found[n : n + 2]) == {CONNECTION, OTHER} for n in range(0, 8, 2))
    assert await slices.claim() is None


async def test_a_single_fetcher_serves_connections_in_turns(here: World) -> None:
    await add_other(here)
    await start(here, CONNECTION, "charge", "customer")
    await start(here, OTHER, "charge", "customer")
    slices, found = here.slices(), []
    for _ in range(6):
        held = await slices.claim()
        assert held is not None
        found.append(held.connection_id)
        async with slices.held(held):
            pass  # a turn that ends: it is free again
    assert found == [found[0], found[1]] * 3
    assert found[0] != found[1]


async def test_a_slice_is_given_back_after_some_pages(here: World) -> None:
    await here.control("POST", "faults", {"odd_path": "charges", "odd_kind": "504", "odd_above": 12})
    await here.start("charge")
    await here.backfill().fetch_one()
    [pages] = [row["pages"] for row in await here.pool.fetch("SELECT pages FROM slices WHERE pages > 0")]
    assert pages == TURN
    assert await here.pool.fetchval("SELECT count(*) FROM slices WHERE lease_until > now()") == 0
    await here.fetch_all()
    assert sorted(map(str, here.published_ids())) == sorted(here.truth("charge"))


async def test_room_is_kept_for_what_heals_a_gap(here: World) -> None:
    await start(here, CONNECTION, "charge", "customer", EVENT_FEED)
    slices = here.slices()
    kept = await slices.claim(of=URGENT)
    assert kept is not None
    assert kept.resource == EVENT_FEED
    assert await slices.claim(of=URGENT) is None
    assert await slices.claim() is not None


async def test_a_claim_looks_at_few_of_the_slices_and_questions_that_wait(here: World) -> None:
    sync_id = await here.start("customer")
    await here.pool.execute(PLANNED, sync_id, CONNECTION, 20_000)
    await ask_many(here, CONNECTION, 20_000, timedelta(hours=1))
    await here.pool.execute("ANALYZE")  # all of it: a database that was lent before has the figures of another test
    nothing: list[str] = []
    assert await looked_at(here, CLAIM, BATCH, LEASE, MOST_OF_ONE, nothing, {}) < 1_000
    assert await looked_at(here, CLAIM_SLICE, "worker-1", LEASE, CLUSTER, None, nothing) < 1_000


async def looked_at(here: World, statement: str, *values: object) -> int:
    """Return the most rows that a step of the statement has read."""
    async with transaction(here.pool) as db:
        # With so few rows a walk through all of them may seem cheaper: that an index serves is the point.
        await db.execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
        )
        told = await db.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values)
    [plan] = json.loads(told) if isinstance(told, str) else told
    return max(rows_of(plan["Plan"]))


def rows_of(step: dict[str, Any]) -> Iterator[int]:
    removed = step.get("Rows Removed by Filter", 0)
    yield int((step["Actual Rows"] + removed) * step["Actual Loops"])
    for inner in step.get("Plans", ()):
        yield from rows_of(inner)
