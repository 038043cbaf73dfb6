"""`tillstream status`: what needs somebody first, then each account, and an exit code for scripts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.console.state import behind, needs, worst_first
from services.console.times import minute, span
from tests.unit.console.answers import ACTION_REQUIRED, BROKEN, LIVE, OTHER, connection
from tests.unit.console.owed_answers import DELAYED, LATE, MANY, owed
from tests.unit.console.playing import PlayedApi, page
from tests.unit.console.terminal import run

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_what_needs_somebody_comes_first_with_its_fix_and_its_command(api: PlayedApi) -> None:
    api.give("list_connections", page(*MANY))
    ended = run("status")
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert lines[0] == "✗ 1 thing needs you"
    assert lines[2] == "✗ Initech [Europe]"
    order = [ended.out.index(text) for text in ("rak_charge_read", "Give the key", "connections update-key con_9xyz")]
    assert order == sorted(order)
    assert ended.out.index("rak_charge_read") < ended.out.index("5 rows can't be written")
    assert "Since 2026-11-25 11:20:00 UTC." in ended.out
    assert "Next try: 2026-11-25 12:01:00 UTC." in ended.out
    assert "tillstream destinations test dst_warehousewarehousewa1" in ended.out


def test_what_comes_by_itself_is_told_and_is_no_failure(api: PlayedApi) -> None:
    api.give("list_connections", page(connection(), DELAYED))
    ended = run("status")
    assert ended.code == 0
    assert ended.out.startswith("✓ Nothing needs you.\n")
    assert "! Hooli" in ended.out


def test_all_is_well(api: PlayedApi) -> None:
    api.give("list_connections", page(connection()))
    ended = run("status")
    assert ended.code == 0
    [head, gap, columns, account] = ended.out.splitlines()
    assert (head, gap) == ("✓ Nothing needs you.", "")
    assert columns.split() == ["account", "mode", "status", "behind", "rows", "last", "sync"]
    assert account.startswith("Acme Inc  live  ● Live")
    assert "40,321" in account


def test_nobody_is_connected_yet(api: PlayedApi) -> None:
    api.give("list_connections", page())
    ended = run("status")
    assert ended.code == 0
    assert "tillstream connections add" in ended.out


def test_json_has_the_same(api: PlayedApi) -> None:
    api.give("list_connections", page(*MANY))
    ended = run("status", "--json")
    assert ended.code == 1
    first, *others = ended.json["needs"]
    assert first["severity"] == "person"
    assert first["command"] == "tillstream connections update-key con_9xyzinitechinitechin4"
    assert [one["severity"] for one in others] == ["late", "late"]
    assert [one["name"] for one in ended.json["connections"]] == [
        "Initech [Europe]",
        "Hooli",
        "Globex Corporation",
        "Acme Inc",
    ]


def test_a_bad_status_without_a_debt_counts() -> None:
    [one] = needs([BROKEN])
    assert (one["severity"], one["sentence"]) == ("person", ACTION_REQUIRED["sentence"])
    assert needs([OTHER]) == []


def test_accounts_that_are_equally_well_go_by_their_names() -> None:
    named = [connection(account_name=name) for name in ("b", "C", "a")]
    assert [one["name"] for one in worst_first(named)] == ["a", "b", "C"]


@pytest.mark.parametrize(
    ("debts", "expected"),
    [([], "–"), ([owed(since=None)], "–"), ([LATE, owed()], "40 min"), ([owed(since="2026-11-25T12:00:09Z")], "0 s")],
)
def test_an_account_is_as_far_behind_as_its_oldest_debt(debts: list[dict[str, object]], expected: str) -> None:
    assert behind(connection(status=LIVE, owed=debts), NOW) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (3 * 86_400 + 1, "3 days")]
)
def test_a_length_of_time_is_told_in_its_largest_unit(seconds: int, expected: str) -> None:
    assert span(timedelta(seconds=seconds)) == expected


def test_a_time_in_a_table_has_its_zone() -> None:
    assert minute("2026-11-25T12:00:00Z") == "2026-11-25 12:00 UTC"
    assert minute(None) == ""
