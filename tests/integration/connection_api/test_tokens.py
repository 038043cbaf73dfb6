"""Tokens for programs over REST: made, listed, revoked; the secret is seen once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.crypto import hash_token, is_token
from tests.integration.connection_api.serving import execute, ready
from tests.unit.connection_api.serving import BEARER, Client


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Client]:
    async with ready(database_url) as client:
        yield client


async def make(api: Client, **body: Any) -> dict[str, Any]:
    answer = await api.post("/v1/tokens", json={"name": "Nightly", "scope": "read"} | body, headers=BEARER)
    assert answer.status == 201, await answer.text()
    made: dict[str, Any] = await answer.json()
    return made


def bearer(token: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {token['token']}"}


async def listed(api: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await (await api.get("/v1/tokens", headers=BEARER)).json())["data"]
    return found


async def test_secret_is_shown_once_and_kept_as_its_hash(api: Client, database_url: str) -> None:
    made = await make(api)
    secret = made["token"]
    assert is_token(secret, "tls")
    [row] = await execute(database_url, "SELECT * FROM api_tokens")
    assert row["hash"] == hash_token(secret)
    assert secret not in str(dict(row))
    [known] = await listed(api)
    assert known == {name: value for name, value in made.items() if name != "token"}


async def test_token_works_until_it_is_revoked(api: Client) -> None:
    made = await make(api)
    assert (await api.get("/v1/connections", headers=bearer(made))).status == 200
    assert (await listed(api))[0]["last_used_at"] is not None
    for _ in range(2):
        assert (await api.delete(f"/v1/tokens/{made['id']}", headers=BEARER)).status == 204
    assert (await api.get("/v1/connections", headers=bearer(made))).status == 401
    assert (await listed(api))[0]["revoked_at"] is not None


async def test_token_works_until_it_expires(api: Client, database_url: str) -> None:
    made = await make(api, expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    assert (await api.get("/v1/connections", headers=bearer(made))).status == 200
    await execute(database_url, "UPDATE api_tokens SET expires_at = now()")
    assert (await api.get("/v1/connections", headers=bearer(made))).status == 401


async def test_token_that_would_have_expired_is_not_made(api: Client) -> None:
    body = {"name": "Late", "scope": "read", "expires_at": "2020-01-01"}
    answer = await api.post("/v1/tokens", json=body, headers=BEARER)
    assert (answer.status, (await answer.json())["field"]) == (422, "expires_at")


@pytest.mark.parametrize(("scope", "status"), [("read", 403), ("manage", 403), ("admin", 201)])
async def test_only_an_admin_makes_tokens(api: Client, scope: str, status: int) -> None:
    made = await make(api, scope=scope)
    answer = await api.post("/v1/tokens", json={"name": "More", "scope": "admin"}, headers=bearer(made))
    assert answer.status == status
    assert (await api.get("/v1/tokens", headers=bearer(made))).status == (200 if scope == "admin" else 403)


async def test_token_that_is_not_there_is_not_found(api: Client) -> None:
    assert (await api.delete("/v1/tokens/tok_9", headers=BEARER)).status == 404


async def test_entry_names_the_token_that_acted(api: Client) -> None:
    admin = await make(api, scope="admin")
    made = await api.post("/v1/tokens", json={"name": "More", "scope": "read"}, headers=bearer(admin))
    token_id = (await made.json())["id"]
    [entry] = (await (await api.get("/v1/audit-log", params={"subject": token_id}, headers=BEARER)).json())["data"]
    assert (entry["actor"], entry["action"]) == (f"token {admin['id']}", "token.created")
    assert entry["request_id"] == made.headers["X-Request-Id"]
    assert entry["details"] == {"scope": "read", "expires_at": None}
