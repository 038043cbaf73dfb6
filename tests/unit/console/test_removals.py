"""Removing a connection, against an API that is played."""

from __future__ import annotations

import pytest

from tests.unit.console.answers import PREVIEW, REMOVAL, connection
from tests.unit.console.playing import PlayedApi, page
from tests.unit.console.terminal import Terminal, run

ID = connection()["id"]


@pytest.fixture(autouse=True)
def _acme(request: pytest.FixtureRequest) -> None:
    api: PlayedApi = request.getfixturevalue("api")
    api.give("get_connection", connection())
    api.give("preview_removal", PREVIEW)
    api.give("remove_connection", REMOVAL | {"is_done": False, "steps": [], "finished_at": None})


@pytest.mark.parametrize("options", [(), ("--yes",)])
def test_fate_of_the_rows_is_never_guessed(api: PlayedApi, options: tuple[str, ...]) -> None:
    ended = run("connections", "remove", "con_5f3kacmeacmeacmeacme2", *options)
    assert (ended.code, api.names) == (2, [])
    assert "give --delete-rows or --keep-rows" in ended.err


def test_without_a_terminal_yes_is_needed(api: PlayedApi) -> None:
    ended = run("connections", "remove", "con_5f3kacmeacmeacmeacme2", "--keep-rows")
    assert (ended.code, "remove_connection" in api.names) == (2, False)
    assert "give --yes" in ended.err


@pytest.mark.parametrize(("option", "deletes"), [("--delete-rows", True), ("--keep-rows", False)])
def test_yes_names_the_connection_by_itself(api: PlayedApi, option: str, deletes: bool) -> None:
    ended = run("connections", "remove", "con_5f3kacmeacmeacmeacme2", option, "--yes")
    assert ended.code == 0
    assert api.called("remove_connection").body == {"account_name": ID, "delete_rows": deletes}
    assert "tillstream connections removals rmv_aaaaabbbbbcccccddddd1" in ended.out


def test_person_sees_what_goes_and_types_the_name(api: PlayedApi) -> None:
    with Terminal(("connections", "remove", "con_5f3kacmeacmeacmeacme2"), {}) as terminal:
        terminal.wait_for("Delete its rows from the destinations too?")
        assert "we_1Acme, deleted at Stripe" in terminal.text
        assert "10,401 rows" in terminal.text
        assert "Old database does not answer" in terminal.text
        terminal.type("y\n")
        terminal.wait_for("Type its name (Acme Inc) to remove it")
        terminal.type(" Acme  Inc \n")
        assert terminal.end() == 0
        assert api.called("remove_connection").body == {"account_name": ID, "delete_rows": True}


def test_another_name_changes_nothing(api: PlayedApi) -> None:
    with Terminal(("connections", "remove", "con_5f3kacmeacmeacmeacme2", "--keep-rows"), {}) as terminal:
        terminal.wait_for("Type its name")
        terminal.type("Acme\n")
        assert terminal.end() == 1
        assert "Nothing was changed." in terminal.text
        assert "remove_connection" not in api.names


def test_ctrl_c_at_a_question_changes_nothing(api: PlayedApi) -> None:
    with Terminal(("connections", "remove", "con_5f3kacmeacmeacmeacme2"), {}) as terminal:
        terminal.wait_for("Delete its rows from the destinations too?")
        assert terminal.interrupt() == 130
        assert "Nothing was changed." in terminal.text
        assert "remove_connection" not in api.names


def test_receipt_says_what_was_undone(api: PlayedApi) -> None:
    api.give("get_removal", REMOVAL)
    ended = run("connections", "removals", "rmv_aaaaabbbbbcccccddddd1")
    assert "charges 10,400, customers 1" in ended.out
    assert run("connections", "removals", "rmv_aaaaabbbbbcccccddddd1", "--json").json["is_done"]


def test_removals_are_listed(api: PlayedApi) -> None:
    api.give("list_removals", page(REMOVAL, REMOVAL | {"id": "rmv_2", "is_done": False, "cause": "Stripe is away."}))
    ended = run("connections", "removals")
    assert "✓ done" in ended.out
    assert "! waiting" in ended.out
    api.give("list_removals", page())
    assert "No connection has been removed." in run("connections", "removals").out


WAIT = {
    "code": "destination_unavailable",
    "cause": "The destination does not answer.",
    "destination_id": "dst_1",
    "since": "2026-11-25T12:00:01Z",
    "attempts": 7,
    "next_try_at": "2026-11-25T12:10:00Z",
}
WAITING = {
    "is_done": False,
    "finished_at": None,
    "cause": "Rows are being taken out.",
    "leftovers": [],
    "waits": [WAIT],
}


def test_a_removal_that_waits_says_since_when_and_how_often(api: PlayedApi) -> None:
    api.give("get_removal", REMOVAL | WAITING)
    ended = run("connections", "removals", REMOVAL["id"])
    assert ended.code == 0
    assert "tried 7 times" in ended.out
    assert "The destination does not answer." in ended.out


def test_rows_are_left_after_consent(api: PlayedApi) -> None:
    api.give("get_removal", REMOVAL | WAITING)
    api.give("give_up_removal_rows", REMOVAL | WAITING | {"waits": []})
    refused = run("connections", "give-up-rows", REMOVAL["id"])
    assert (refused.code, "give_up_removal_rows" in api.names) == (2, False)
    ended = run("connections", "give-up-rows", REMOVAL["id"], "--yes")
    assert (ended.code, "give_up_removal_rows" in api.names) == (0, True)
    assert "The rows stay where they are" in ended.out
