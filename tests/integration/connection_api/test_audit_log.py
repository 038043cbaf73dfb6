"""Who did what, over REST."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.audit import Actor, append
from shared.db import Pool, make_pool, transaction
from tests.integration.connection_api.serving import execute, ready
from tests.unit.connection_api.serving import BEARER, Client


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await make_pool(database_url, max_size=2)
    async with transaction(pool) as db:
        for number in range(7):
            await append(db, Actor("session", "req_1"), "thing.changed", f"thing_{number % 2}", number=number)
    yield pool
    pool.terminate()


@pytest.fixture
async def api(database_url: str, pool: Pool) -> AsyncIterator[Client]:
    async with ready(database_url) as client:
        yield client


async def get(api: Client, path: str, **query: str | int) -> Any:
    answer = await api.get(path, params=query, headers=BEARER)
    assert answer.status == 200, await answer.text()
    return await answer.json()


async def test_entries_are_walked_newest_first(api: Client) -> None:
    first = await get(api, "/v1/audit-log", limit=4)
    rest = await get(api, "/v1/audit-log", limit=4, cursor=first["next_cursor"])
    assert [entry["id"] for entry in (*first["data"], *rest["data"])] == [7, 6, 5, 4, 3, 2, 1]
    assert rest["next_cursor"] is None
    newest = first["data"][0]
    assert (newest["actor"], newest["action"], newest["details"]) == ("session", "thing.changed", {"number": 6})
    assert newest["previous_hash"] == first["data"][1]["hash"]


async def test_entries_about_one_thing_are_found(api: Client) -> None:
    found = await get(api, "/v1/audit-log", subject="thing_1", limit=2)
    assert [entry["id"] for entry in found["data"]] == [6, 4]
    rest = await get(api, "/v1/audit-log", subject="thing_1", limit=2, cursor=found["next_cursor"])
    assert [entry["id"] for entry in rest["data"]] == [2]


async def test_cursor_of_another_list_is_refused(api: Client) -> None:
    cursor = (await get(api, "/v1/audit-log", limit=1))["next_cursor"]
    for bad in (cursor[:-4] + "AAAA", "WyJ4Il0", "WyI5OTk5OTk5OTk5OTk5OTk5OTk5OSJd"):
        answer = await api.get("/v1/audit-log", params={"cursor": bad}, headers=BEARER)
        assert (answer.status, (await answer.json())["field"]) == (422, "cursor")


@pytest.mark.parametrize(
    ("sql", "broken_at"),
    [
        ("UPDATE audit_log SET subject = 'thing_9' WHERE id = 3", 3),
        ("UPDATE audit_log SET details = '{}' WHERE id = 7", 7),
        ("DELETE FROM audit_log WHERE id = 5", 5),
        ("SELECT", None),
    ],
)
async def test_change_of_an_entry_is_found(api: Client, database_url: str, sql: str, broken_at: int | None) -> None:
    await execute(database_url, sql)
    entries = broken_at - 1 if broken_at else 7
    assert await get(api, "/v1/audit-log/verification") == {"entries": entries, "broken_at": broken_at}
