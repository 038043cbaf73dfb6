"""`tillstream verify`, against an API that is played."""

from __future__ import annotations

from typing import Any

import pytest

from services.console import comparing
from tests.unit.console.answers import RUNNING, connection
from tests.unit.console.playing import PlayedApi, page
from tests.unit.console.terminal import run

COUNTS = {"compared": 400, "equal": 400, "newer": 0, "different": 0, "missing": 0, "extra": 0, "skipped": 0}
LINE = {"resource": "customer", "destination_id": "dst_1"} | COUNTS
ENDED = RUNNING | {
    "kind": "verify", "status": "succeeded", "outcome": "succeeded",
    "share": 1.0, "finished_at": "2026-11-25T11:05:00Z", "comparison": [LINE],
}  # fmt: skip
WRONG = ENDED | {"comparison": [LINE | {"equal": 398, "different": 1, "extra": 1}]}
DIFFERENCE = {
    "resource": "customer",
    "object_id": "cus_1",
    "destination_id": "dst_1",
    "kind": "different",
    "fields": ["address.city", "name"],
    "repaired_at": None,
    "is_waiting": False,
}
EXTRA = DIFFERENCE | {"object_id": "cus_2", "kind": "extra", "fields": []}


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "POLL_INTERVAL", 0.01)


def give(api: PlayedApi, sync: dict[str, Any], *differences: dict[str, Any]) -> None:
    without = {name: value for name, value in RUNNING.items() if name != "progress"} | {"kind": "verify"}
    api.give("list_connections", page(connection()))
    api.give("verify_connection", without)
    api.give("get_sync", RUNNING | {"kind": "verify", "comparison": []}, sync)
    api.give("list_differences", page(*differences))
    api.give("repair_sync", {"objects": len(differences)})


def test_equal_rows_end_well(api: PlayedApi) -> None:
    give(api, ENDED)
    ended = run("verify")
    assert ended.code == 0
    assert "0 differences" in ended.out
    assert api.called("verify_connection").body == {"full": False}


def test_differences_are_named_and_fail(api: PlayedApi) -> None:
    give(api, WRONG, DIFFERENCE, EXTRA)
    ended = run("verify", "Acme Inc", "--full", "--resource", "customer")
    assert ended.code == 1
    for text in ("2 differences", "cus_1", "address.city, name", "cus_2", "extra"):
        assert text in ended.out
    assert api.called("verify_connection").body == {"full": True, "resources": ["customer"]}
    assert "repair_sync" not in api.names


def test_repair_is_asked_for_only_where_something_differs(api: PlayedApi) -> None:
    give(api, ENDED)
    assert run("verify", "--repair").code == 0
    assert "repair_sync" not in api.names
    give(api, WRONG, DIFFERENCE, EXTRA)
    ended = run("verify", "--repair")
    assert ended.code == 1
    assert "Stripe is asked for 2 objects" in ended.out


def test_json_holds_all(api: PlayedApi) -> None:
    give(api, WRONG, DIFFERENCE, EXTRA)
    ended = run("verify", "--repair", "--json")
    assert ended.code == 1
    assert ended.json["repaired"] == 2
    assert [one["object_id"] for one in ended.json["differences"]] == ["cus_1", "cus_2"]


def test_one_of_many_connections_has_to_be_named(api: PlayedApi) -> None:
    api.give("list_connections", page(connection(), connection(id="con_2")))
    assert run("verify").code == 2


def test_comparison_that_failed_is_no_success(api: PlayedApi) -> None:
    give(api, ENDED | {"status": "failed", "cause": "charge: Stripe refused the call."})
    ended = run("verify")
    assert ended.code == 1
    assert "Stripe refused the call." in ended.out
