"""Naming a connection or a destination."""

from __future__ import annotations

import pytest

from tests.unit.console.answers import OTHER, connection, destination
from tests.unit.console.playing import PlayedApi, page
from tests.unit.console.terminal import run

ACME = connection()
ACME_TEST = connection(id="con_2test", account_name="Acme Inc Test", account_id="acct_1NvTest", livemode=False)


@pytest.mark.parametrize("named", ["acct_1NvAcmeAcmeAcme1", "Acme Inc", "acme inc", "ACME INC "])
def test_exact_name_wins_over_a_part_of_another(api: PlayedApi, named: str) -> None:
    api.give("list_connections", page(ACME, ACME_TEST))
    assert run("connections", "show", named, "--json").json["id"] == ACME["id"]


def test_id_is_asked_for_alone(api: PlayedApi) -> None:
    api.give("get_connection", ACME)
    assert run("connections", "show", "con_5f3kacmeacmeacmeacme2", "--json").json["id"] == ACME["id"]
    assert api.names == ["get_connection"]


def test_unique_part_of_a_name_is_enough(api: PlayedApi) -> None:
    api.give("list_connections", page(OTHER))
    assert run("connections", "show", "globex", "--json").json["id"] == OTHER["id"]
    assert api.called("list_connections").query["q"] == "globex"


def test_what_fits_several_lists_them(api: PlayedApi) -> None:
    api.give("list_connections", page(ACME, ACME_TEST))
    ended = run("connections", "show", "acme")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines() == [
        "✗ “acme” fits 2 connections. Name one by its id:",
        "  con_5f3kacmeacmeacmeacme2  Acme Inc  acct_1NvAcmeAcmeAcme1  live",
        "  con_2test  Acme Inc Test  acct_1NvTest  test",
    ]


def test_what_fits_many_lists_ten(api: PlayedApi) -> None:
    api.give("list_connections", page(*(connection(id=f"con_{n}", account_name=f"Acme {n}") for n in range(12))))
    assert run("connections", "show", "acme").err.splitlines()[-1] == "  … and 2 more"


@pytest.mark.parametrize("named", ["nobody", "", " ", "a\tb"])
def test_what_fits_none_says_where_to_look(api: PlayedApi, named: str) -> None:
    api.give("list_connections", page())
    ended = run("connections", "show", named)
    assert ended.code == 1
    assert "`tillstream connections list` shows all." in ended.err


def test_destination_is_named_likewise(api: PlayedApi) -> None:
    api.give("list_destinations", page(destination(), destination(id="dst_2", name="Warehouse 2")))
    api.give("delete_destination", None)
    assert run("destinations", "remove", "warehouse", "--yes").code == 0
    assert api.called("delete_destination").id == "dst_warehousewarehousewa1"


def test_choice_among_same_names_is_a_problem_document_too(api: PlayedApi) -> None:
    api.give("list_connections", page(ACME, connection(id="con_2test", livemode=False)))
    ended = run("connections", "show", "acct_1NvAcmeAcmeAcme1", "--json")
    assert (ended.code, ended.problem["code"]) == (2, "ambiguous")
