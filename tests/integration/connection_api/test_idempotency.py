"""A POST with an `Idempotency-Key` has its effect once, however often it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientResponse

from services.connection_api.access.answers import REPLAYED
from services.connection_api.access.idempotency import HEADER
from services.connection_api.rest.operations import OPERATIONS
from tests.eventually import eventually
from tests.integration.connection_api.serving import execute, ready
from tests.unit.connection_api.serving import BEARER, Client

POSTS = [operation for operation in OPERATIONS if operation.method == "POST"]


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Client]:
    async with ready(database_url) as client:
        yield client


async def post(api: Client, path: str, key: str = "k1", *, bearer: dict[str, str] = BEARER, **body: Any) -> Any:
    return await api.post(path, json=body, headers=bearer | {HEADER: key})


async def code_of(answer: ClientResponse) -> tuple[int, str]:
    return answer.status, (await answer.json())["code"]


async def destination(api: Client, url: str) -> str:
    made = await api.post("/v1/destinations", json={"name": "Rows", "url": url}, headers=BEARER)
    return str((await made.json())["id"])


async def names(api: Client) -> list[str]:
    return [row["name"] for row in (await (await api.get("/v1/destinations", headers=BEARER)).json())["data"]]


async def test_repeated_request_gets_the_first_answer(api: Client, database_url: str) -> None:
    body = {"name": "Rows", "url": database_url}
    first, again = [await post(api, "/v1/destinations", **body) for _ in range(2)]
    assert (first.status, again.status) == (201, 201)
    assert await first.text() == await again.text()
    assert first.headers["Content-Type"] == again.headers["Content-Type"]
    assert (REPLAYED in first.headers, again.headers[REPLAYED]) == (False, "true")
    assert await names(api) == ["Rows"]


async def test_refusal_is_repeated_too(api: Client, database_url: str) -> None:
    body = {"name": "Rows", "url": "mysql://wrong"}
    first, again = [await post(api, "/v1/destinations", **body) for _ in range(2)]
    assert (first.status, again.status, again.headers[REPLAYED]) == (422, 422, "true")
    assert await first.json() == await again.json()


async def test_key_stands_for_one_request(api: Client, database_url: str) -> None:
    assert (await post(api, "/v1/destinations", name="Rows", url=database_url)).status == 201
    for path, body in (
        ("/v1/destinations", {"name": "Other", "url": database_url}),
        ("/v1/destinations/test", {"name": "Rows", "url": database_url}),
        ("/v1/destinations?again", {"name": "Rows", "url": database_url}),
    ):
        assert await code_of(await post(api, path, **body)) == (422, "idempotency_key_reused")


async def test_callers_do_not_share_their_keys(api: Client, database_url: str) -> None:
    made = await api.post("/v1/tokens", json={"name": "Other", "scope": "manage"}, headers=BEARER)
    other = {"Authorization": f"Bearer {(await made.json())['token']}"}
    body = {"name": "Rows", "url": database_url}
    assert (await post(api, "/v1/destinations", **body)).status == 201
    assert (await post(api, "/v1/destinations", bearer=other, **body)).status == 409  # it was tried anew


async def test_request_that_is_under_way_is_not_begun_again(api: Client, database_url: str) -> None:
    """The first is held up by a lock on what it writes to."""
    body = {"name": "Rows", "url": database_url}
    other = await asyncpg.connect(database_url)
    async with other.transaction():
        await other.execute("LOCK tillstream.destinations")
        first = asyncio.create_task(post(api, "/v1/destinations", **body))

        async def is_waiting() -> bool:
            return bool(await execute(database_url, "SELECT FROM idempotency_keys"))

        await eventually(is_waiting, what="the first request has begun")
        second = await post(api, "/v1/destinations", **body)
        assert await code_of(second) == (409, "idempotency_under_way")
        assert second.headers["Retry-After"] == "1"
    await other.close()
    assert (await first).status == 201
    assert (await post(api, "/v1/destinations", **body)).headers[REPLAYED] == "true"


async def test_answer_that_says_try_again_is_not_kept(database_url: str) -> None:
    async with ready(database_url, stripe_api_base="http://127.0.0.1:1") as api:
        body = {"api_key": "rk_live_" + "a" * 30, "destination_ids": [await destination(api, database_url)]}
        for _ in range(2):
            answer = await post(api, "/v1/connections", **body)
            assert (answer.status, REPLAYED in answer.headers) == (503, False)
    assert await execute(database_url, "SELECT FROM idempotency_keys") == []


async def test_request_whose_process_died_can_be_sent_again(api: Client, database_url: str) -> None:
    body = {"name": "Rows", "url": database_url}
    assert (await post(api, "/v1/destinations/test", url=database_url)).status == 200
    await execute(database_url, "UPDATE idempotency_keys SET status = NULL, created_at = now() - interval '4 minutes'")
    assert (await post(api, "/v1/destinations/test", url=database_url)).status == 409
    await execute(database_url, "UPDATE idempotency_keys SET created_at = now() - interval '6 minutes'")
    assert await code_of(await post(api, "/v1/destinations", **body)) == (422, "idempotency_key_reused")
    assert (await post(api, "/v1/destinations/test", url=database_url)).status == 200


async def test_key_is_free_after_a_day(api: Client, database_url: str) -> None:
    assert (await post(api, "/v1/destinations/test", url=database_url)).status == 200
    await execute(database_url, "UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    answer = await post(api, "/v1/destinations", name="Rows", url=database_url)
    assert (answer.status, REPLAYED in answer.headers) == (201, False)


@pytest.mark.parametrize("key", ["x" * 256, "clé", ""])
async def test_key_that_is_none_is_refused(api: Client, database_url: str, key: str) -> None:
    answer = await post(api, "/v1/destinations/test", key, url=database_url)
    assert (answer.status, (await answer.json())["field"]) == (422, HEADER)
    assert await execute(database_url, "SELECT FROM idempotency_keys") == []


async def test_answer_that_shows_a_secret_is_never_stored(api: Client, database_url: str) -> None:
    secret = {operation.name for operation in POSTS if operation.shows_secret}
    assert secret == {"create_token", "create_sign_in_link", "create_alarm"}
    alarm = {"kind": "webhook", "address": "https://example.com/alarms"}
    token = {"name": "Rows", "scope": "read"}
    for path, body in (("/v1/tokens", token), ("/v1/sign-in-links", {}), ("/v1/alarms", alarm)):
        assert await code_of(await post(api, path, **body)) == (422, "idempotency_unsupported")
    for table in ("idempotency_keys", "api_tokens", "sign_in_links", "alarm_channels"):
        assert await execute(database_url, f"SELECT FROM {table}") == []


async def test_table_holds_no_password(api: Client, database_url: str) -> None:
    await post(api, "/v1/destinations/test", url="postgresql://ada:hunter2@127.0.0.1:1/rows")
    [row] = await execute(database_url, "SELECT * FROM idempotency_keys")
    assert "hunter2" not in str(dict(row))


async def test_answer_lies_sealed_and_names_whom_it_goes_with(api: Client, database_url: str) -> None:
    answer = await post(api, "/v1/connections/con_9/pause")
    assert answer.status == 404
    [row] = await execute(database_url, "SELECT * FROM idempotency_keys")
    assert row["names"] == ["con_9"]
    assert b"There is no connection" not in row["answer"]
    again = await post(api, "/v1/connections/con_9/pause")
    assert (again.status, again.headers[REPLAYED]) == (404, "true")
    assert await again.json() == await answer.json()


async def test_answer_does_not_open_for_another_key_or_caller(api: Client, database_url: str) -> None:
    assert (await post(api, "/v1/destinations/test", "k1", url=database_url)).status == 200
    assert (await post(api, "/v1/destinations/test", "k2", url=database_url)).status == 200
    moved = "UPDATE idempotency_keys SET answer = (SELECT answer FROM idempotency_keys WHERE key = 'k1')"
    await execute(database_url, moved)
    assert (await post(api, "/v1/destinations/test", "k1", url=database_url)).status == 200
    refused = await post(api, "/v1/destinations/test", "k2", url=database_url)
    assert await code_of(refused) == (409, "idempotency_answer_lost")
