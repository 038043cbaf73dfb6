"""Tokens, sign-in links and sessions, through the state database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from aiohttp import CookieJar

from services.connection_api.access.sessions import COOKIE
from shared.crypto import hash_token, make_token
from tests.integration.connection_api.serving import execute, ready
from tests.unit.connection_api.serving import BEARER, Client

OURS = {"Sec-Fetch-Site": "same-origin"}
SECRET = make_token("tls")
ADD_TOKEN = "INSERT INTO api_tokens (id, name, hash, scope, expires_at) VALUES ($1, $1, $2, $3, now() + $4::interval)"


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Client]:
    async with ready(database_url) as client:
        client.session._cookie_jar = CookieJar(unsafe=True)  # a jar that takes cookies of an IP address
        yield client


async def link_path(api: Client) -> str:
    answer = await api.post("/v1/sign-in-links", headers=BEARER)
    assert answer.status == 201
    return urlsplit((await answer.json())["url"]).path


async def sign_in(api: Client) -> None:
    assert (await api.get(await link_path(api), allow_redirects=False)).status == 303


async def test_link_opens_one_session(api: Client) -> None:
    path = await link_path(api)
    first = await api.get(path, allow_redirects=False)
    assert (first.status, first.headers["Location"]) == (303, "/")
    assert (await api.get("/v1/connections")).status == 200
    again = await api.get(path, allow_redirects=False)
    assert (again.status, (await again.json())["code"]) == (401, "unauthenticated")


async def test_cookie_cannot_be_read_by_scripts_or_sent_by_other_sites(api: Client) -> None:
    plain = await api.get(await link_path(api), allow_redirects=False)
    cookie = plain.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert (cookie["max-age"], cookie["secure"]) == ("43200", "")
    tls = await api.get(await link_path(api), allow_redirects=False, headers={"X-Forwarded-Proto": "https"})
    assert tls.cookies[COOKIE]["secure"] is True


async def test_link_that_expired_opens_nothing(api: Client, database_url: str) -> None:
    path = await link_path(api)
    await execute(database_url, "UPDATE sign_in_links SET expires_at = now() - interval '1 second'")
    assert (await api.get(path, allow_redirects=False)).status == 401
    assert (await api.get("/v1/connections")).status == 401


async def test_session_ends_when_it_expires(api: Client, database_url: str) -> None:
    await sign_in(api)
    await execute(database_url, "UPDATE sessions SET expires_at = now() - interval '1 second'")
    assert (await api.get("/v1/connections")).status == 401


async def test_signing_out_ends_the_session_for_good(api: Client, database_url: str) -> None:
    await sign_in(api)
    assert (await api.post("/sign-out", headers={"Sec-Fetch-Site": "cross-site"})).status == 403
    assert (await api.get("/v1/connections")).status == 200
    assert (await api.post("/sign-out", headers=OURS, allow_redirects=False)).status == 303
    assert (await api.get("/v1/connections")).status == 401
    assert await execute(database_url, "SELECT FROM sessions") == []


async def test_session_changes_things_only_from_our_own_pages(api: Client) -> None:
    await sign_in(api)
    body = {"url": "mysql://wrong"}
    assert (await api.post("/v1/destinations/test", json=body)).status == 403
    assert (await api.post("/v1/destinations/test", json=body, headers={"Sec-Fetch-Site": "cross-site"})).status == 403
    assert (await api.post("/v1/destinations/test", json=body, headers=OURS)).status == 422


async def test_session_does_not_make_sign_in_links(api: Client) -> None:
    await sign_in(api)
    assert (await api.post("/v1/sign-in-links", headers=OURS)).status == 403


async def test_database_keeps_no_secret_of_a_session(api: Client, database_url: str) -> None:
    link = (await link_path(api)).rpartition("/")[2]
    [row] = await execute(database_url, "SELECT hash FROM sign_in_links")
    assert row["hash"] == hash_token(link)
    assert link.encode() not in row["hash"]


@pytest.mark.parametrize(("scope", "reads", "changes", "links"), [("read", 200, 403, 403), ("manage", 200, 422, 403)])
async def test_token_does_what_its_scope_says(
    api: Client, database_url: str, scope: str, reads: int, changes: int, links: int
) -> None:
    await execute(database_url, ADD_TOKEN, "tok_1", hash_token(SECRET), scope, timedelta(hours=1))
    headers = {"Authorization": f"bearer {SECRET}"}
    assert (await api.get("/v1/connections", headers=headers)).status == reads
    assert (await api.post("/v1/destinations/test", headers=headers)).status == changes
    assert (await api.post("/v1/sign-in-links", headers=headers)).status == links
    [row] = await execute(database_url, "SELECT last_used_at FROM api_tokens")
    assert row["last_used_at"] is not None


async def test_token_that_expired_is_refused(api: Client, database_url: str) -> None:
    await execute(database_url, ADD_TOKEN, "tok_1", hash_token(SECRET), "admin", timedelta(seconds=-1))
    assert (await api.get("/v1/connections", headers={"Authorization": f"Bearer {SECRET}"})).status == 401


@pytest.mark.parametrize("header", [b"Authorization: Bearer \xe9\xff", b"Cookie: tillstream_session=\xe9\xff"])
async def test_bytes_that_are_no_text_are_no_token(api: Client, header: bytes) -> None:
    reader, writer = await asyncio.open_connection(api.host, api.port)
    writer.write(b"GET /v1/connections HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + header + b"\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()
    await writer.wait_closed()


async def test_token_that_was_revoked_is_refused(api: Client, database_url: str) -> None:
    await execute(database_url, ADD_TOKEN, "tok_1", hash_token(SECRET), "admin", timedelta(hours=1))
    await execute(database_url, "UPDATE api_tokens SET revoked_at = now()")
    assert (await api.get("/v1/connections", headers={"Authorization": f"Bearer {SECRET}"})).status == 401
