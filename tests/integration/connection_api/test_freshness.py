"""How fresh a connection is, as the REST API tells it: what is polled, what is compared, and what that costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.connection_api.freshness import Freshness, FreshnessReader
from shared.catalogue import WEBHOOK_ENDPOINT
from shared.connections import State
from shared.refusals import Cause, Refused, note_refusals
from shared.settings import PaceSettings
from tests.integration.connection_api.stage import Stage, set_up

PACE = PaceSettings()
RECONCILE = """
INSERT INTO syncs (id, connection_id, kind, trigger, status, resources, stripe_calls, created_at, finished_at)
VALUES ($1, $2, 'reconcile', 'schedule', 'succeeded', '{}', $3, $4, $4)
"""
FAULT = """
INSERT INTO resource_faults (connection_id, resource, code, cause, next_try_at)
VALUES ($1, $2, 'webhook_missing', 'Webhook missing.', now())
"""


async def read(stage: Stage, connection_id: str, *, now: datetime) -> Freshness:
    connection = await stage.connection(connection_id)
    return (await FreshnessReader(stage.pool, PACE).read([connection], now=now))[connection_id]


def ways(freshness: Freshness) -> dict[str, Any]:
    return {way.name: way for way in freshness.ways}


@pytest.fixture
async def now() -> datetime:
    return datetime.now(UTC)


async def test_webhooks_cost_nothing_and_comparisons_what_the_schedule_took(database_url: str, now: datetime) -> None:
    async with set_up(database_url) as stage:
        connection_id = (await stage.connected()).id
        for number in range(100):  # a day and an hour
            at = now - timedelta(minutes=15 * number + 1)
            await stage.pool.execute(RECONCILE, f"syn_{number}", connection_id, 5, at)
        await stage.pool.execute(RECONCILE, "syn_key", connection_id, 900, now - timedelta(minutes=2))
        await stage.pool.execute("UPDATE syncs SET trigger = 'key updated' WHERE id = 'syn_key'")
        freshness = await read(stage, connection_id, now=now)
        assert list(ways(freshness)) == ["webhooks", "comparing"]
        assert ways(freshness)["webhooks"].reads_per_day == 0
        comparing = ways(freshness)["comparing"]
        assert comparing.next_at == now - timedelta(minutes=1) + timedelta(minutes=15)
        assert comparing.last_at == now - timedelta(minutes=1)
        assert comparing.reads_per_day == 480  # 5 calls, 96 times
        assert freshness.reads_per_month == 30 * 480
        assert freshness.cost.startswith("About 14,400 reads a month at this pace. Stripe allows about 500 for each")


async def test_refused_webhooks_are_polled_and_the_page_says_so(database_url: str, now: datetime) -> None:
    async with set_up(database_url) as stage:
        connection_id = (await stage.connected()).id
        endpoint_id = await stage.pool.fetchval("SELECT id FROM webhook_endpoints")
        refused = {endpoint_id: Refused(Cause.CLOCK, 3, 400)}
        await note_refusals(stage.pool, refused, ())
        freshness = await read(stage, connection_id, now=now)
        assert list(ways(freshness)) == ["webhooks", "polling", "comparing"]
        assert ways(freshness)["webhooks"].sentence.startswith("The gateway refuses what Stripe sends")
        await note_refusals(stage.pool, {}, (endpoint_id,))
        assert list(ways(await read(stage, connection_id, now=now))) == ["webhooks", "comparing"]


async def test_a_pace_is_not_known_before_a_day_is_over(database_url: str, now: datetime) -> None:
    async with set_up(database_url) as stage:
        connection_id = (await stage.connected()).id
        await stage.pool.execute(RECONCILE, "syn_1", connection_id, 300, now - timedelta(minutes=5))
        freshness = await read(stage, connection_id, now=now)
        assert (freshness.reads_per_month, ways(freshness)["comparing"].reads_per_day) == (None, None)
        assert freshness.cost.startswith("How many reads a month this takes is not known yet")


async def test_what_stripe_allows_is_told_for_the_accounts_own_charges(database_url: str, now: datetime) -> None:
    async with set_up(database_url) as stage:
        connection_id = (await stage.connected()).id
        await stage.pool.execute("UPDATE connections SET created_at = now() - interval '40 days'")
        await stage.pool.execute(
            "INSERT INTO delivery_hours (connection_id, destination_id, resource, hour, inserted)"
            " VALUES ($1, 'dst', 'charge', $2, 2500), ($1, 'dst', 'charge', $2 - interval '35 days', 9000)",
            connection_id,
            now - timedelta(days=3),
        )
        freshness = await read(stage, connection_id, now=now)
        assert freshness.cost.endswith("Stripe allows about 1,250,000 for the 2,500 charges of the last 30 days.")


async def test_polling_says_its_pace_at_the_moment(database_url: str, now: datetime) -> None:
    async with set_up(database_url) as stage:
        connection_id = (await stage.connected()).id
        await stage.pool.execute("UPDATE connections SET live_by = 'polling'")
        polling = ways(await read(stage, connection_id, now=now))["polling"]
        assert (polling.last_at, polling.next_at, polling.reads_per_day) == (None, None, 0)
        await stage.pool.execute("INSERT INTO polls VALUES ($1, $2, 60)", connection_id, now)
        polling = ways(await read(stage, connection_id, now=now))["polling"]
        assert (polling.last_at, polling.next_at) == (now, now + timedelta(minutes=1))
        assert polling.reads_per_day == 1440
        assert polling.sentence.endswith("every 1 min at the moment.")


async def test_an_endpoint_that_is_missing_has_both_ways(database_url: str, now: datetime) -> None:
    async with set_up(database_url) as stage:
        connection_id = (await stage.connected()).id
        await stage.pool.execute(FAULT, connection_id, WEBHOOK_ENDPOINT)
        freshness = await read(stage, connection_id, now=now)
        assert list(ways(freshness)) == ["webhooks", "polling", "comparing"]
        assert "can't be repaired" in ways(freshness)["webhooks"].sentence


async def test_a_connection_that_is_paused_asks_nothing(database_url: str, now: datetime) -> None:
    async with set_up(database_url) as stage:
        connection_id = (await stage.connected()).id
        await stage.pool.execute(RECONCILE, "syn_1", connection_id, 5, now)
        await stage.store.set_state(connection_id, State.PAUSED)
        freshness = await read(stage, connection_id, now=now)
        assert (freshness.reads_per_month, ways(freshness)["comparing"].next_at) == (0, None)
        assert freshness.cost == "No calls while syncing is stopped."
