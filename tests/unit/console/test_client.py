"""Finding the API, and what is said when it can't be reached or refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.console.client import find_api
from shared.errors import ConfigError
from tests.unit.console.answers import connection
from tests.unit.console.playing import PlayedApi, page
from tests.unit.console.terminal import run


def test_address_without_a_token_is_not_completed_with_another_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="TILLSTREAM_API_TOKEN is not"):
        find_api({"TILLSTREAM_API_URL": "https://api.example.com"}, (tmp_path,))


def test_address_has_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="begins with http"):
        find_api({"TILLSTREAM_API_URL": "api.example.com", "TILLSTREAM_API_TOKEN": "t"}, (tmp_path,))


def test_without_any_tillstream_it_is_said_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make run"):
        find_api({}, (tmp_path,))


def test_nobody_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLSTREAM_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("TILLSTREAM_API_TOKEN", "t")
    ended = run("connections", "list")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "✗ Tillstream does not answer at http://127.0.0.1:1. Is it running? Try `tillstream processes`.\n"
    )
    assert run("connections", "list", "--json").problem["code"] == "api_unavailable"


def test_something_else_than_the_api_is_not_mistaken_for_it(api: PlayedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLSTREAM_API_URL", api.url + "elsewhere")
    ended = run("connections", "list")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert "is not Tillstream's API" in ended.err


def test_refusal_is_the_sentence_of_the_api(api: PlayedApi) -> None:
    api.refuse("list_connections", 403, "forbidden", "This needs the scope read; yours is [none].")
    ended = run("connections", "list")
    assert (ended.code, ended.err) == (1, "✗ This needs the scope read; yours is [none].\n")


def test_refusal_as_json_is_the_problem_document_on_standard_error(api: PlayedApi) -> None:
    api.refuse("list_connections", 422, "payload_invalid", "`q`: too long.", field="q")
    ended = run("connections", "list", "--json")
    assert (ended.code, ended.out) == (1, "")
    assert (ended.problem["code"], ended.problem["field"], ended.problem["request_id"]) == (
        "payload_invalid",
        "q",
        "req_1",
    )


def test_wrong_token_says_where_it_is_set(api: PlayedApi) -> None:
    api.refuse("list_connections", 401, "unauthenticated", "This token is unknown or has expired.")
    assert "TILLSTREAM_API_TOKEN has to hold a valid one." in run("connections", "list").err


def test_temporary_failure_is_told_as_the_api_tells_it(api: PlayedApi) -> None:
    api.refuse("list_connections", 503, "database_unavailable", "Tillstream's own database does not answer.")
    ended = run("connections", "list")
    assert (ended.code, ended.err) == (1, "✗ Tillstream's own database does not answer.\n")


def test_lists_are_read_page_by_page(api: PlayedApi) -> None:
    first, second = connection(), connection(id="con_2")
    api.give("list_connections", page(first, next_cursor="c1"), page(second))
    assert [row["id"] for row in run("connections", "list", "--json").json] == [first["id"], "con_2"]
    assert [call.query.get("cursor") for call in api.calls] == [None, "c1"]


@pytest.mark.parametrize("arguments", [("connections", "show"), ("syncs", "list", "--kind", "full"), ("nothing",)])
def test_what_cannot_be_parsed_is_a_problem_document_with_json(arguments: tuple[str, ...]) -> None:
    ended = run(*arguments, "--json")
    assert (ended.code, ended.out, ended.problem["code"]) == (2, "", "wrong_use")
    assert ended.problem["detail"]
    assert run(*arguments).code == 2


def test_half_an_address_is_wrong_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLSTREAM_API_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("TILLSTREAM_API_TOKEN", raising=False)
    assert run("connections", "list", "--json").code == 2
