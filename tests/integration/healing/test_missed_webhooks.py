"""Webhooks that never came: within one interval every row is as it is at Stripe, without a person."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from shared.catalogue import DEFAULT_RESOURCES, webhook_events
from shared.syncs import Kind
from shared.webhook_endpoints import Repair
from tests.integration.healing.company import Company, company

INTERVAL = 4.0  # seconds
EVENTS = set(webhook_events(DEFAULT_RESOURCES))


@pytest.fixture
async def here(database_url: str, kafka_bootstrap_servers: str, topic_prefix: str) -> AsyncIterator[Company]:
    async with company(database_url, kafka_bootstrap_servers, topic_prefix, interval=INTERVAL) as made:
        yield made


async def test_five_per_cent_of_webhooks_that_are_lost_are_found_within_an_interval(here: Company) -> None:
    await here.stripe.control("POST", "faults", {"webhook_loss": 0.05, "webhook_duplicate": 0.05})
    await here.change(10)
    lost = [one for one in here.stripe.simulation.deliveries.log.values() if one.lost]
    assert lost
    await here.wait_one_interval()
    assert await here.differences() == []


async def test_an_endpoint_that_was_disabled_while_nobody_looked_is_enabled_and_the_gap_filled(here: Company) -> None:
    await here.stop_worker()
    here.stripe.simulation.endpoints.update(here.endpoint().id, [("disabled", "true")])
    await here.change(8)
    # As it would be after an hour.
    await here.pool.execute("UPDATE connections SET events_complete_to = events_complete_to - 3600")
    await here.pool.execute("UPDATE syncs SET created_at = created_at - interval '1 hour'")
    await here.stripe.control("POST", "faults", {"webhook_loss": 0.05})
    await here.start_worker()
    await here.wait_one_interval()
    assert here.endpoint().status == "enabled"
    assert await here.differences() == []
    await here.change(5)
    await here.wait_one_interval()
    assert await here.differences() == []


def delete(here: Company) -> None:
    here.stripe.simulation.endpoints.delete(here.endpoint().id)


def move(here: Company) -> None:
    here.stripe.simulation.endpoints.update(here.endpoint().id, [("url", "http://127.0.0.1:9/hooks")])


def unsubscribe(here: Company) -> None:
    here.stripe.simulation.endpoints.update(here.endpoint().id, [("enabled_events[]", "charge.failed")])


def is_right(here: Company) -> bool:
    endpoints = list(here.stripe.simulation.endpoints.by_id.values())
    return [
        (one.status, one.url.startswith(here.values["public_url"]), set(one.enabled_events) >= EVENTS)
        for one in endpoints
    ] == [("enabled", True, True)]


async def test_whatever_is_done_to_the_endpoint_is_mended_within_an_interval_and_nothing_is_missing(
    here: Company,
) -> None:
    damages: list[tuple[Callable[[Company], None], Repair]] = [
        (delete, Repair.MADE),
        (move, Repair.MOVED),
        (unsubscribe, Repair.SUBSCRIBED),
    ]
    await here.stripe.control("POST", "faults", {"webhook_retries": 0})
    for damage, repair in damages:
        damage(here)
        await here.change(2)
        await here.wait_one_interval()
        assert is_right(here), repair
        assert repair in [sync.trigger for sync in await here.syncs(Kind.GAP_FILL)]
        assert await here.differences() == [], repair
