"""`tillstream ask`, against an API that is played."""

from __future__ import annotations

import pytest

from tests.unit.console.answers import connection
from tests.unit.console.playing import PlayedApi, page
from tests.unit.console.terminal import run

MRR = {"name": "mrr", "title": "MRR", "sentence": "What subscriptions bring in a month.", "missing": []}
ANSWER = {
    "name": "mrr",
    "destination_id": "dst_1",
    "columns": [
        {"name": "at", "kind": "time"},
        {"name": "currency", "kind": "text"},
        {"name": "mrr", "kind": "amount"},
        {"name": "subscriptions", "kind": "number"},
    ],
    "rows": [["2026-11-26T01:00:00+00:00", "USD", "1234.50", 3], [None, None, "7", 1]],
    "has_more": True,
}
SQL = MRR | {"destination_id": "dst_1", "sql": "SELECT 1\nFROM [stripe]"}


@pytest.fixture(autouse=True)
def _acme(request: pytest.FixtureRequest) -> None:
    api: PlayedApi = request.getfixturevalue("api")
    api.give("list_connections", page(connection()))
    api.give("list_questions", page(MRR | {"missing": ["subscription"]}))
    api.give("get_question", SQL)
    api.give("answer_question", ANSWER)


def test_without_a_name_all_questions_are_listed() -> None:
    ended = run("ask")
    assert ended.code == 0
    assert all(word in ended.out for word in ("mrr", "What subscriptions bring in a month.", "subscription"))


def test_answer_is_a_table_and_says_that_there_is_more(api: PlayedApi) -> None:
    ended = run("ask", "mrr", "--zone", "Europe/Berlin", "--destination", "dst_1")
    assert ended.code == 0
    assert "2026-11-26 01:00:00 UTC" in ended.out
    assert "1234.50" in ended.out
    assert "first 2 rows" in ended.err
    assert api.called("answer_question").query == {"zone": "Europe/Berlin", "destination_id": "dst_1"}


def test_sql_is_printed_as_it_is() -> None:
    assert run("ask", "mrr", "--sql").out == SQL["sql"] + "\n"


def test_json_is_what_the_api_says() -> None:
    assert run("ask", "mrr", "--json").json == ANSWER


def test_one_of_several_accounts_has_to_be_named(api: PlayedApi) -> None:
    api.give("list_connections", page(connection(), connection()))
    ended = run("ask", "mrr")
    assert (ended.code, "answer_question" in api.names) == (2, False)


def test_refusal_is_told(api: PlayedApi) -> None:
    api.refuse("answer_question", 409, "not_synced", "Sync Subscriptions to answer this.")
    ended = run("ask", "mrr")
    assert (ended.code, "Sync Subscriptions to answer this." in ended.err) == (1, True)
