"""A destination's name, address and password can change; the place stays the only one of its kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientResponse

from shared.crypto import parse_key_ring
from shared.db import make_pool
from shared.destinations import DestinationStore
from tests.integration.connection_api.serving import execute, ready
from tests.integration.connection_api.test_destinations import STEPS, replaced, role
from tests.unit.connection_api.serving import BEARER, Client, make_settings

SETTINGS = make_settings()


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Client]:
    async with ready(database_url, encryption_keys=SETTINGS.encryption_keys) as client:
        yield client


async def make(api: Client, url: str, name: str = "Rows", **body: Any) -> str:
    answer = await api.post("/v1/destinations", json={"name": name, "url": url} | body, headers=BEARER)
    assert answer.status == 201, await answer.text()
    return f"/v1/destinations/{(await answer.json())['id']}"


async def change(api: Client, path: str, **body: Any) -> ClientResponse:
    return await api.patch(path, json=body, headers=BEARER)


async def refusal(answer: ClientResponse) -> tuple[int, str, str | None]:
    problem = await answer.json()
    return answer.status, problem["code"], problem.get("field")


async def versions(database_url: str) -> list[int]:
    return [row["version"] for row in await execute(database_url, "SELECT version FROM destinations ORDER BY name")]


async def password(database_url: str, path: str) -> str:
    pool = await make_pool(database_url)
    try:
        keys = parse_key_ring(SETTINGS.encryption_keys.get_secret_value())
        return (await DestinationStore(pool, keys).password(path.rpartition("/")[2])).get_secret_value()
    finally:
        await pool.close()


async def test_new_name_changes_nothing_else(api: Client, database_url: str) -> None:
    path = await make(api, database_url)
    known = await (await api.get(path, headers=BEARER)).json()
    answer = await change(api, path, name="Warehouse")
    assert (answer.status, await answer.json()) == (200, known | {"name": "Warehouse"})
    assert await versions(database_url) == [1]


async def test_new_password_is_tried_and_kept(api: Client, database_url: str) -> None:
    path = await make(api, database_url)
    async with role(database_url) as weak:
        user = weak.partition("//")[2].partition(":")[0]
        await execute(database_url, f"GRANT ALL ON SCHEMA stripe TO {user}")
        await execute(database_url, f"GRANT ALL ON ALL TABLES IN SCHEMA stripe TO {user}")
        answer = await change(api, path, url=weak)
        assert answer.status == 200, await answer.text()
    assert await password(database_url, path) == "weak"
    assert ((await answer.json())["schema"], await versions(database_url)) == ("stripe", [2])


async def test_address_that_fails_leaves_the_old_one(api: Client, database_url: str) -> None:
    path = await make(api, database_url)
    before = await password(database_url, path)
    answer = await change(api, path, name="Other", url=replaced(database_url, password="wrong"))
    assert await refusal(answer) == (422, "destination_login_failed", "url")
    assert await password(database_url, path) == before
    assert (await (await api.get(path, headers=BEARER)).json())["name"] == "Rows"
    assert await versions(database_url) == [1]


async def test_name_and_place_of_another_are_refused(api: Client, database_url: str) -> None:
    async with role(database_url) as weak:
        user = weak.partition("//")[2].partition(":")[0]
        await execute(database_url, f"CREATE DATABASE {user} OWNER {user}")
        first = await make(api, database_url)
        second = await make(api, replaced(weak, database=user), "Other")
        assert await refusal(await change(api, second, name="Rows")) == (409, "conflict", "name")
        assert await refusal(await change(api, second, url=database_url)) == (409, "destination_taken", "url")
        assert (await change(api, first, name="Rows", url=database_url)).status == 200  # its own
        await execute(database_url, f"DROP DATABASE {user} WITH (FORCE)")
    assert await versions(database_url) == [1, 2]


@pytest.mark.parametrize("body", [{}, {"name": None}, {"schema": "other"}, {"name": ""}, {"url": "mysql://x"}])
async def test_change_that_is_none_is_refused(api: Client, database_url: str, body: dict[str, Any]) -> None:
    path = await make(api, database_url)
    assert (await change(api, path, **body)).status == 422
    assert await versions(database_url) == [1]


async def test_destination_is_tried_with_the_password_that_is_kept(api: Client, database_url: str) -> None:
    path = await make(api, database_url)
    answer = await (await api.post(f"{path}/test", headers=BEARER)).json()
    assert (answer["passed"], [step["name"] for step in answer["steps"]]) == (True, STEPS)
    await execute(database_url, 'UPDATE destinations SET settings = settings || \'{"database": "gone"}\'')
    answer = await (await api.post(f"{path}/test", headers=BEARER)).json()
    assert (answer["passed"], answer["steps"][-1]["code"]) == (False, "destination_database_missing")


async def test_password_that_cannot_be_read_is_said_with_what_to_do(api: Client, database_url: str) -> None:
    path = await make(api, database_url)
    await execute(database_url, "UPDATE destinations SET secret = '\\x026b30'")
    answer = await api.post(f"{path}/test", headers=BEARER)
    problem = await answer.json()
    assert (answer.status, problem["code"]) == (422, "secret_unreadable")
    assert "enter the secret anew" in problem["detail"]
    assert (await change(api, path, url=database_url)).status == 200
    assert (await (await api.post(f"{path}/test", headers=BEARER)).json())["passed"]


async def test_what_is_not_there_is_not_found(api: Client) -> None:
    assert (await change(api, "/v1/destinations/dst_9", name="x")).status == 404
    assert (await api.post("/v1/destinations/dst_9/test", headers=BEARER)).status == 404
