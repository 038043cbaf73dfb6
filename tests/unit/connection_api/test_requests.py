"""What a caller sends: refused by name, never repeated."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.connection_api.rest.models import Answer, NewConnectionBody, Page
from services.connection_api.rest.requests import make_cursor, read_cursor, write_page
from shared.errors import PayloadError
from tests.unit.connection_api.serving import BEARER, Client, make_settings, running

KEY = "rk_live_" + "a" * 40
CONNECTION = {"api_key": KEY, "destination_ids": ["dst_1"]}
DESTINATION = {"name": "Rows", "url": "postgresql://ada:secret-word@db.example/rows"}


@dataclass(frozen=True)
class Row:
    name: str
    secret: str = "secret-word"


class NameAnswer(Answer):
    name: str


@pytest.fixture
async def api() -> AsyncIterator[Client]:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    async with running(make_settings(), now=lambda: now) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/connections", {}, "api_key"),
        ("/v1/connections", CONNECTION | {"destination_ids": []}, "destination_ids"),
        ("/v1/connections", CONNECTION | {"destination_ids": ["x'; DROP"]}, "destination_ids.0"),
        ("/v1/connections", CONNECTION | {"destination_ids": ["dst_\x00"]}, "destination_ids.0"),
        ("/v1/connections", CONNECTION | {"surprise": 1}, "surprise"),
        ("/v1/connections", CONNECTION | {"api_key": 7}, "api_key"),
        ("/v1/connections", CONNECTION | {"api_key": "r" * 1001}, "api_key"),
        ("/v1/connections", CONNECTION | {"start_date": "yesterday"}, "start_date"),
        ("/v1/connections", CONNECTION | {"start_date": 1_700_000_000}, "start_date"),
        ("/v1/connections", CONNECTION | {"start_date": "2026-11-02"}, "start_date"),
        ("/v1/connections", CONNECTION | {"start_date": "0001-01-01T00:00:00+14:00"}, "start_date"),
        ("/v1/connections", CONNECTION | {"resources": []}, "resources"),
        ("/v1/connections", CONNECTION | {"account_id": "Ada"}, "account_id"),
        ("/v1/destinations", DESTINATION | {"name": ""}, "name"),
        ("/v1/destinations", DESTINATION | {"name": "a\x00b"}, "name"),
        ("/v1/destinations", DESTINATION | {"name": "n" * 101}, "name"),
        ("/v1/destinations", {"name": "Rows"}, "url"),
        ("/v1/destinations/test", {"url": "mysql://ada:secret-word@db.example/rows"}, "url"),
        ("/v1/destinations/test", {"url": "postgresql://ada:secret-word@db.example:port/rows"}, "url"),
        ("/v1/destinations/test", {"url": "postgresql://ada:secret-word@db.example"}, "url"),
        ("/v1/destinations/test", {"url": DESTINATION["url"], "schema": "pg_mine"}, "schema"),
        ("/v1/destinations/test", {"url": DESTINATION["url"], "schema": 'a"; DROP'}, "schema"),
    ],
)
async def test_field_that_cannot_be_used_is_named(api: Client, path: str, body: dict[str, Any], field: str) -> None:
    answer = await api.post(path, json=body, headers=BEARER)
    text = await answer.text()
    problem = json.loads(text)
    assert (answer.status, problem["code"], problem.get("field")) == (422, "payload_invalid", field)
    assert answer.content_type == "application/problem+json"
    assert KEY not in text
    assert "secret-word" not in text


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff", b'{"api_key": "\\ud800"}', b"[" * 5000]
)
async def test_body_that_is_no_object_is_refused(api: Client, body: bytes) -> None:
    answer = await api.post("/v1/connections", data=body, headers=BEARER)
    assert (answer.status, (await answer.json())["code"]) == (422, "payload_invalid")


async def test_body_that_is_too_large_is_refused(api: Client) -> None:
    answer = await api.post("/v1/connections", data=b"x" * 100_000, headers=BEARER)
    assert (answer.status, (await answer.json())["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=many", "limit"),
        ("cursor=%00", "cursor"),
        ("cursor=abc", "cursor"),
        ("page=2", "page"),
    ],
)
async def test_query_that_cannot_be_used_is_named(api: Client, query: str, field: str) -> None:
    answer = await api.get(f"/v1/connections?{query}", headers=BEARER)
    assert (answer.status, (await answer.json()).get("field")) == (422, field)


@pytest.mark.parametrize("text", ["%00", "..%2f", "con_1%27", "CON_1", "x" * 200])
async def test_what_cannot_be_an_id_is_not_found(api: Client, text: str) -> None:
    answer = await api.get(f"/v1/connections/{text}", headers=BEARER)
    assert answer.status == 404


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-01-31", datetime(2025, 1, 31, tzinfo=UTC)),
        ("2025-01-31T12:00:00", datetime(2025, 1, 31, 12, tzinfo=UTC)),
        ("2025-01-31T12:00:00+02:00", datetime(2025, 1, 31, 10, tzinfo=UTC)),
        ("2025-01-31T12:00:00Z", datetime(2025, 1, 31, 12, tzinfo=UTC)),
    ],
)
def test_start_date_is_a_moment_in_utc(text: str, expected: datetime) -> None:
    assert NewConnectionBody.model_validate(CONNECTION | {"start_date": text}).start_date == expected


def test_refused_body_keeps_its_key_to_itself() -> None:
    body = NewConnectionBody.model_validate(CONNECTION)
    assert KEY not in repr(body)
    assert KEY not in body.model_dump_json()
    with pytest.raises(ValidationError):
        NewConnectionBody.model_validate(CONNECTION | {"account_id": "x"})


@given(st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60), min_size=1, max_size=3))
def test_cursor_leads_back_to_its_position(position: list[str]) -> None:
    assert read_cursor(make_cursor(*position), parts=len(position)) == position


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80))
def test_foreign_cursor_is_refused(text: str) -> None:
    with pytest.raises(PayloadError) as refused:
        read_cursor(text, parts=2)
    assert refused.value.field == "cursor"


@pytest.mark.parametrize(("there_are", "position"), [(0, None), (2, None), (3, ["mine", "two"])])
def test_page_has_a_cursor_while_more_is_found_than_it_shows(there_are: int, position: list[str] | None) -> None:
    found = [Row(name) for name in ("one", "two", "three")][:there_are]
    response = write_page(Page[NameAnswer], found, limit=2, place=lambda last: ["mine", last.name])
    page = json.loads(response.text or "")
    assert page["data"] == [{"name": row.name} for row in found[:2]]
    assert read_cursor(page["next_cursor"], parts=2) == position
    assert (response.status, response.headers["Cache-Control"]) == (200, "no-store")
