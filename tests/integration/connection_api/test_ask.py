"""Asking by REST and on the page: what is missing is said, nothing is written, and a tool gets a user of its own."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from services.connection_api.questions.asking import QUESTIONS
from services.connection_api.views.bi_tool import describe_tool
from services.destination_writer.destinations import Account
from shared.destinations import DEFAULT_SCHEMA, parse_postgres_url
from shared.postgres_views import VIEWS
from tests.factories import make_winner
from tests.integration.connection_api.changes import Stage, another_destination, staged
from tests.integration.connection_api.serving import execute
from tests.integration.destination_writer.postgres_rows import InspectedPostgres
from tests.unit.connection_api.serving import BEARER

FAILED = {"status": "failed", "currency": "jpy", "amount": 1234, "created": 1_700_000_000, "failure_code": "expired"}
HTMX = {"HX-Request": "true"}
NO_RIGHT = asyncpg.InsufficientPrivilegeError


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with staged(database_url) as stage:
        yield stage


async def write_charges(stage: Stage, number: int, schema: str = DEFAULT_SCHEMA) -> InspectedPostgres:
    account = Account((await stage.call("get_connection", stage.connection_id))["account_id"], livemode=True)
    destination = InspectedPostgres(stage.database_url, schema)
    await destination.write(account, [make_winner(f"ch_{n}", resource="charge", **FAILED) for n in range(number)])
    await destination.close()
    return destination


async def ask(stage: Stage, rest: str, *, base: str = "/v1/connections") -> tuple[int, Any]:
    answer = await stage.api.get(f"{base}/{stage.connection_id}/{rest}", headers=BEARER)
    return answer.status, await answer.json()


async def page(stage: Stage, rest: str = "", **headers: str) -> tuple[int, str]:
    answer = await stage.api.get(f"/connections/{stage.connection_id}/ask{rest}", headers=BEARER | headers)
    return answer.status, html.unescape(await answer.text())


async def test_questions_are_listed_with_what_they_need(stage: Stage) -> None:
    status, listed = await ask(stage, "questions")
    assert status == 200
    assert [one["name"] for one in listed["data"]] == list(QUESTIONS)
    assert {one["name"]: one["missing"] for one in listed["data"] if one["missing"]} == {}
    await stage.call("choose", stage.connection_id, resources=["customer", "charge"])
    _, listed = await ask(stage, "questions")
    lacking = {one["name"]: one["missing"] for one in listed["data"]}
    assert (lacking["failed_payments"], lacking["revenue_by_day"]) == ([], ["refund"])


async def test_answer_has_amounts_as_text_and_says_that_there_are_more(stage: Stage) -> None:
    await write_charges(stage, 101)
    status, answer = await ask(stage, "questions/failed_payments/answer")
    assert status == 200, answer
    assert (len(answer["rows"]), answer["has_more"]) == (100, True)
    row = dict(zip((one["name"] for one in answer["columns"]), answer["rows"][0], strict=True))
    assert (row["amount"], row["currency"], row["code"]) == ("1234", "JPY", "expired")
    assert row["failed_at"] == "2023-11-14T22:13:20+00:00"


async def test_sql_that_is_shown_runs_as_it_is(stage: Stage) -> None:
    destination = await write_charges(stage, 3)
    for name in QUESTIONS:
        status, shown = await ask(stage, f"questions/{name}?zone=Europe/Berlin")
        assert status == 200
        rows = await destination.query(shown["sql"])
        assert len(rows) == (3 if name == "failed_payments" else 0), name


async def test_resource_that_is_not_synced_is_named(stage: Stage) -> None:
    await write_charges(stage, 1)
    await stage.call("choose", stage.connection_id, resources=["charge"])
    status, refusal = await ask(stage, "questions/open_invoices/answer")
    assert (status, refusal["code"], refusal["detail"]) == (409, "not_synced", "Sync Invoices to answer this.")
    _, text = await page(stage)
    assert "Sync Invoices to answer this." in text
    assert "/ask/failed_payments" in text
    assert "/ask/open_invoices" not in text


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        ("questions/nothing", 404),
        ("questions/..%2Fquestion/answer", 404),
        ("questions/mrr?destination_id=dst_none", 404),
        ("questions/mrr?destination_id=1", 422),
        ("questions/mrr/answer?zone=Europe/Bielefeld", 400),
        ("questions/mrr/answer?zone=UTC%27", 400),
        ("questions/mrr/answer", 404),  # the tables are not made yet
    ],
)
async def test_what_can_not_be_asked_is_refused(stage: Stage, rest: str, status: int) -> None:
    found, refusal = await ask(stage, rest)
    assert (found, "detail" in refusal) == (status, True), refusal


async def test_table_that_may_not_be_read_is_said_with_its_cure(stage: Stage) -> None:
    await write_charges(stage, 1)
    await execute(stage.database_url, f'ALTER TABLE "{DEFAULT_SCHEMA}".charges RENAME COLUMN failure_code TO other')
    status, refusal = await ask(stage, "questions/failed_payments/answer")
    assert (status, refusal["code"]) == (422, "question_failed")
    assert "failure_code" in refusal["detail"]


async def test_page_answers_in_place_and_without_scripts(stage: Stage) -> None:
    await write_charges(stage, 2)
    for headers, has_page in (({}, True), (HTMX, False)):
        status, text = await page(stage, "/failed_payments", **headers)
        assert (status, "<html" in text) == (200, has_page)
        assert "1,234" in text
        assert "2 rows" in text


async def test_problem_is_shown_where_the_answer_would_be(stage: Stage) -> None:
    status, text = await page(stage, "/mrr", **HTMX)
    assert (status, "<html" in text) == (422, False)
    assert "no such table yet" in text


async def test_connection_with_several_destinations_is_asked_at_the_chosen_one(stage: Stage) -> None:
    other = await another_destination(stage)
    await stage.call("choose", stage.connection_id, destination_ids=[stage.destination_id, other])
    schema = (await stage.call("get_destination", other))["schema"]
    await write_charges(stage, 5, schema)
    await write_charges(stage, 1)
    for destination, rows in ((other, 5), (stage.destination_id, 1)):
        _, answer = await ask(stage, f"questions/failed_payments/answer?destination_id={destination}")
        assert (len(answer["rows"]), answer["destination_id"]) == (rows, destination)
        _, text = await page(stage, f"?destination_id={destination}")
        assert re.search(rf'<option value="{destination}" selected', text)


async def test_tool_gets_a_user_that_reads_all_tables_and_writes_none(stage: Stage, database_url: str) -> None:
    destination = await write_charges(stage, 1)
    tool = describe_tool(parse_postgres_url(database_url, schema=DEFAULT_SCHEMA)[0], "abc123")
    await destination.query(f'DROP ROLE IF EXISTS "{tool.user}"')
    for statement in tool.sql.rstrip(";").split(";\n"):
        await destination.query(statement)
    await destination.query(f'CREATE TABLE "{DEFAULT_SCHEMA}".made_later (id int)')
    parts = urlsplit(database_url)
    url = urlunsplit(parts._replace(netloc=f"{tool.user}:abc123@{tool.host}:{tool.port}"))
    db = await asyncpg.connect(url)
    try:
        assert await db.fetchval(f'SELECT count(*) FROM "{tool.schema}".charges') == 1
        assert await db.fetchval(f'SELECT count(*) FROM "{tool.schema}".made_later') == 0
        with pytest.raises(NO_RIGHT):
            await db.execute(f'DELETE FROM "{tool.schema}".charges')
    finally:
        await db.close()
        await destination.query(f'DROP OWNED BY "{tool.user}"')
        await destination.query(f'DROP ROLE "{tool.user}"')
    _, text = await page(stage)
    assert tool.sql.splitlines()[2] in text
    assert len(set(re.findall(r"PASSWORD '(\w{32})'", text + (await page(stage))[1]))) == 2


async def test_page_says_which_views_there_are_and_what_to_do_about_the_others(stage: Stage) -> None:
    async def views() -> str:
        path = f"/connections/{stage.connection_id}/money-views"
        answer = await stage.api.get(path, headers=BEARER | HTMX)
        assert answer.status == 200
        return html.unescape(await answer.text())

    assert "come with the tables" in await views()
    await write_charges(stage, 1)
    assert f'GRANT CREATE, USAGE ON SCHEMA "{DEFAULT_SCHEMA}"' in await views()
    destination = InspectedPostgres(stage.database_url, DEFAULT_SCHEMA)
    await destination.query(f'CREATE TABLE "{DEFAULT_SCHEMA}".v_refunds (mine text)')
    await destination.extend()
    await destination.query(f"COMMENT ON VIEW \"{DEFAULT_SCHEMA}\".v_payouts IS 'Made by Tillstream (older)'")
    await destination.close()
    text = await views()
    assert f"{len(VIEWS) - 2} views in this schema" in text
    assert f'FROM "{DEFAULT_SCHEMA}"."v_charges"' in text
    assert re.search(r"v_refunds</code> </p>\s*<p class=\"field-hint\">Something else has this name", text)
    assert re.search(r"v_payouts</code> </p>\s*<p class=\"field-hint\">Of an older release", text)
    answer = await stage.api.get(f"/connections/{stage.connection_id}/money-views", headers=BEARER)
    assert "<html" in await answer.text()
