"""What the gateway knows of endpoints, and when it asks."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from services.webhook_gateway.endpoints import FRESH_FOR, EndpointCache
from shared.endpoint_secrets import Endpoint
from shared.errors import DatabaseUnavailableError
from tests.unit.webhook_gateway.webhooks import ENDPOINT


class FakeTable:
    """Endpoints by id, a clock, and what was asked."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self.rows = {endpoint.id: endpoint for endpoint in endpoints}
        self.asked: list[str] = []
        self.is_away = False
        self.hangs = False
        self.time = 0.0

    async def look_up(self, endpoint_id: str) -> Endpoint | None:
        self.asked.append(endpoint_id)
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if self.is_away:
            raise DatabaseUnavailableError
        return self.rows.get(endpoint_id)

    def cache(self, capacity: int = 10) -> EndpointCache:
        return EndpointCache(
            self.look_up,
            capacity=capacity,
            timeout_seconds=0.01,
            refresh_timeout_seconds=0.01,
            clock=lambda: self.time,
        )


async def test_endpoint_is_asked_for_once_while_it_is_fresh() -> None:
    table = FakeTable(ENDPOINT)
    cache = table.cache()
    assert [await cache.find("we_1") for _ in range(3)] == [ENDPOINT] * 3
    assert table.asked == ["we_1"]


async def test_unknown_id_is_asked_for_once_while_it_is_fresh() -> None:
    table = FakeTable()
    cache = table.cache()
    assert [await cache.find("we_2") for _ in range(3)] == [None] * 3
    assert table.asked == ["we_2"]


async def test_change_is_seen_when_the_time_is_up() -> None:
    table = FakeTable(ENDPOINT)
    cache = table.cache()
    await cache.find("we_1")
    await cache.find("we_2")
    table.rows = {"we_2": ENDPOINT}
    table.time += FRESH_FOR
    assert (await cache.find("we_1"), await cache.find("we_2")) == (None, ENDPOINT)


@pytest.mark.parametrize("trouble", ["is_away", "hangs"])
async def test_known_endpoint_is_served_while_the_database_is_away(trouble: str) -> None:
    table = FakeTable(ENDPOINT)
    cache = table.cache()
    await cache.find("we_1")
    setattr(table, trouble, True)
    table.time += 3600
    assert [await cache.find("we_1") for _ in range(3)] == [ENDPOINT] * 3
    assert len(table.asked) == 2, "only one request waits for the database"


@pytest.mark.parametrize("trouble", ["is_away", "hangs"])
async def test_id_that_was_unknown_is_unavailable_while_the_database_is_away(trouble: str) -> None:
    table = FakeTable()
    cache = table.cache()
    await cache.find("we_3")
    setattr(table, trouble, True)
    table.time += FRESH_FOR
    for endpoint_id in ("we_2", "we_3"):
        with pytest.raises(DatabaseUnavailableError):
            await cache.find(endpoint_id)


async def test_made_up_ids_push_no_endpoint_out() -> None:
    table = FakeTable(ENDPOINT)
    cache = table.cache()
    await cache.find("we_1")
    for number in range(100):
        await cache.find(f"made_up_{number}")
    await cache.find("we_1")
    assert table.asked.count("we_1") == 1
    assert len(cache._strangers) == 10


@pytest.mark.parametrize("endpoint_id", ["", "WE_1", "we-1", "we_1\x00", "we_1\n", "é", "a" * 65])
async def test_id_that_cannot_be_ours_is_never_asked_for(endpoint_id: str) -> None:
    table = FakeTable()
    assert await table.cache().find(endpoint_id) is None
    assert table.asked == []


async def test_webhook_waits_for_an_endpoint_that_is_not_known_yet_and_not_for_news_of_one_that_is() -> None:
    """A 503 costs an hour until Stripe comes again; a database that takes a second costs a second."""
    table = FakeTable(ENDPOINT)

    async def take_a_second(endpoint_id: str) -> Endpoint | None:
        if "we_1" in table.asked:
            table.hangs = True
        else:
            await asyncio.sleep(1)
        return await table.look_up(endpoint_id)

    cache = EndpointCache(take_a_second, clock=lambda: table.time)
    assert await cache.find("we_1") == ENDPOINT
    table.time += FRESH_FOR
    assert await cache.find("we_1") == ENDPOINT


async def test_endpoint_whose_secrets_can_not_be_read_is_remembered_until_they_can() -> None:
    table = FakeTable(replace(ENDPOINT, secrets=(), is_unreadable=True))
    cache = table.cache()
    assert not cache.has_unreadable
    await cache.find("we_1")
    assert cache.has_unreadable
    table.rows = {"we_1": ENDPOINT}
    table.time += FRESH_FOR
    await cache.find("we_1")
    assert not cache.has_unreadable
