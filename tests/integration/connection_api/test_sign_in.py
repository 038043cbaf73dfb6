"""Tokens, sign-in links and sessions, through the state database."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientResponse, CookieJar

from services.connection_api.access.attempts import BAD_TOKENS
from services.connection_api.access.sessions import COOKIE, HOST_COOKIE
from services.connection_api.access.sign_in import NEXT_COOKIE
from shared.crypto import hash_token, make_token
from tests.integration.connection_api.serving import execute, ready
from tests.unit.connection_api.serving import BEARER, Client

OURS = {"Sec-Fetch-Site": "same-origin"}
AS_PERSON = {"Accept": "text/html"}
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


async def press(api: Client, path: str, person: str = "", **headers: str) -> ClientResponse:
    """Press the button of the page to which a link leads."""
    return await api.post(path, data={"person": person}, headers=OURS | headers, allow_redirects=False)


async def sign_in(api: Client, person: str = "") -> None:
    assert (await press(api, await link_path(api), person)).status == 303


async def entries(database_url: str, action: str) -> list[Any]:
    return await execute(database_url, "SELECT * FROM audit_log WHERE action = $1 ORDER BY id", action)


async def test_link_opens_one_session(api: Client) -> None:
    path = await link_path(api)
    first = await press(api, path)
    assert (first.status, first.headers["Location"]) == (303, "/")
    assert (await api.get("/v1/connections")).status == 200
    again = await press(api, path)
    assert (again.status, (await again.json())["code"]) == (401, "unauthenticated")
    assert re.search(r"was used at \d\d:\d\d UTC", (await again.json())["detail"])


async def test_looking_at_a_link_does_not_use_it(api: Client) -> None:
    """As mail scanners and chats do."""
    path = await link_path(api)
    for _ in range(3):
        page = await api.get(path, headers=AS_PERSON)
        assert page.status == 200
        assert "Your name" in await page.text()
    assert (await api.get("/v1/connections")).status == 401
    assert (await press(api, path)).status == 303
    used = await api.get(path, headers=AS_PERSON)
    assert used.status == 401
    assert "was used at" in await used.text()


async def test_another_site_cannot_press_the_button(api: Client) -> None:
    path = await link_path(api)
    assert (await api.post(path, headers={"Sec-Fetch-Site": "cross-site"}, allow_redirects=False)).status == 403
    assert (await press(api, path)).status == 303


async def test_one_lands_where_one_was_going(api: Client) -> None:
    refused = await api.get("/syncs?kind=verify", headers=AS_PERSON)
    assert refused.status == 401
    landed = await press(api, await link_path(api))
    assert landed.headers["Location"] == "/syncs?kind=verify"


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example", "/\\\\evil.example", ""])
async def test_no_other_site_is_landed_on(api: Client, wanted: str) -> None:
    cookie = {"Cookie": f'{NEXT_COOKIE}="{wanted}"'}
    assert (await press(api, await link_path(api), **cookie)).headers["Location"] == "/"


async def test_who_did_something_is_a_person_in_a_session_at_an_address(api: Client, database_url: str) -> None:
    await sign_in(api, "Ada Lovelace")
    await api.post("/sign-out", headers=OURS, allow_redirects=False)
    [opened], [ended] = [await entries(database_url, f"session.{what}") for what in ("opened", "ended")]
    assert opened["actor"] == ended["actor"] == f"session {opened['subject']}"
    assert {entry["person"] for entry in (opened, ended)} == {"Ada Lovelace"}
    assert {entry["address"] for entry in (opened, ended)} == {"127.0.0.1"}


@pytest.mark.parametrize("person", ["x" * 81, "two\nlines"])
async def test_name_that_cannot_be_shown_is_refused(api: Client, person: str) -> None:
    path = await link_path(api)
    answer = await press(api, path, person)
    assert (answer.status, (await answer.json())["field"]) == (422, "person")
    assert (await press(api, path)).status == 303


async def test_sessions_are_listed_and_ended(api: Client) -> None:
    await sign_in(api, "Ada")
    [session] = (await (await api.get("/v1/sessions", headers=BEARER)).json())["data"]
    assert (session["person"], session["address"]) == ("Ada", "127.0.0.1")
    assert (await api.delete(f"/v1/sessions/{session['id']}", headers=BEARER)).status == 204
    assert (await api.get("/v1/connections")).status == 401
    assert (await api.delete(f"/v1/sessions/{session['id']}", headers=BEARER)).status == 404
    assert (await (await api.get("/v1/sessions", headers=BEARER)).json())["data"] == []


@pytest.mark.parametrize(
    "end", ["revoked_at = now()", "expires_at = now() - interval '1 second'"], ids=["revoked", "expired"]
)
async def test_session_ends_with_the_token_that_made_its_link(api: Client, database_url: str, end: str) -> None:
    await execute(database_url, ADD_TOKEN, "tok_1", hash_token(SECRET), "admin", timedelta(hours=1))
    made = await api.post("/v1/sign-in-links", headers={"Authorization": f"Bearer {SECRET}"})
    await press(api, urlsplit((await made.json())["url"]).path)
    assert (await api.get("/v1/connections")).status == 200
    await execute(database_url, f"UPDATE api_tokens SET {end}")
    assert (await api.get("/v1/connections")).status == 401
    assert (await (await api.get("/v1/sessions", headers=BEARER)).json())["data"] == []


async def test_session_of_a_first_token_that_was_replaced_has_ended(api: Client, database_url: str) -> None:
    await sign_in(api)
    await execute(database_url, "UPDATE sessions SET credential = $1", hash_token("the first token of yesterday"))
    assert (await api.get("/v1/connections")).status == 401


async def test_page_whose_session_ends_is_told_so(api: Client) -> None:
    await sign_in(api)
    async with api.get("/events/accounts") as stream:
        [session] = (await (await api.get("/v1/sessions", headers=BEARER)).json())["data"]
        await api.delete(f"/v1/sessions/{session['id']}", headers=BEARER)
        async with asyncio.timeout(60):
            told = (await stream.content.read()).decode()  # to its end
    assert told.rstrip().endswith("event: ended\ndata: You are signed out.")


async def test_link_that_strangers_have_tried_too_often_is_one_entry(api: Client, database_url: str) -> None:
    statuses = [(await press(api, "/sign-in/link_wrong")).status for _ in range(BAD_TOKENS + 3)]
    assert statuses == [401] * BAD_TOKENS + [429] * 3
    [entry] = await entries(database_url, "access.refused")
    assert (entry["actor"], entry["address"]) == ("stranger", "127.0.0.1")
    await sign_in(api)  # a good link works all the same


async def test_cookie_cannot_be_read_by_scripts_or_sent_by_other_sites(api: Client) -> None:
    plain = await press(api, await link_path(api))
    cookie = plain.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert (cookie["max-age"], cookie["secure"]) == ("43200", "")
    tls = await press(api, await link_path(api), **{"X-Forwarded-Proto": "https"})
    assert tls.cookies[HOST_COOKIE]["secure"] is True
    assert tls.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "Strict-Transport-Security" not in plain.headers


async def test_link_that_expired_opens_nothing(api: Client, database_url: str) -> None:
    path = await link_path(api)
    await execute(database_url, "UPDATE sign_in_links SET expires_at = now() - interval '1 second'")
    assert (await press(api, path)).status == 401
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
