"""Commands about syncs, against an API that is played."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from services.console import syncs
from tests.unit.console.answers import RUNNING, connection, sync
from tests.unit.console.playing import PlayedApi, page
from tests.unit.console.terminal import Terminal, run

ENDED = RUNNING | {"status": "succeeded", "outcome": "succeeded", "share": 1.0, "finished_at": "2026-11-25T11:05:00Z"}


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncs, "POLL_INTERVAL", 0.01)


def test_all_connections_syncs_are_listed(api: PlayedApi) -> None:
    api.give("list_all_syncs", page(sync()))
    ended = run("syncs", "list")
    assert "syn_backfillbackfillback1" in ended.out
    assert "3 min 20 s" in ended.out
    assert api.called("list_all_syncs").query == {"limit": "25"}


def test_filters_are_those_of_the_api(api: PlayedApi) -> None:
    api.give("list_connections", page(connection()))
    api.give("list_all_syncs", page())
    options = ("--kind", "gap_fill", "--status", "failed", "--since", "2026-11-01", "--until", "2026-11-02")
    ended = run("syncs", "list", "--connection", "Acme Inc", *options, "--limit", "5")
    assert ended.out == "No sync fits.\n"
    assert api.called("list_all_syncs").query == {
        "connection_id": "con_5f3kacmeacmeacmeacme2",
        "kind": "gap_fill",
        "status": "failed",
        "since": "2026-11-01T00:00:00Z",
        "until": "2026-11-02T00:00:00Z",
        "limit": "5",
    }


def test_connection_may_be_the_argument(api: PlayedApi) -> None:
    api.give("get_connection", connection())
    api.give("list_all_syncs", page(sync()))
    assert run("syncs", "list", "con_5f3kacmeacmeacmeacme2", "--json").json[0]["id"] == "syn_backfillbackfillback1"
    assert run("syncs", "list", "con_5f3kacmeacmeacmeacme2", "--connection", "con_2").code == 2


def test_limit_is_kept_and_more_is_told_of(api: PlayedApi) -> None:
    rows = [sync(id=f"syn_{number}") for number in range(150)]
    api.give("list_all_syncs", page(*rows[:100], next_cursor="c1"), page(*rows[100:], next_cursor="c2"))
    ended = run("syncs", "list", "--limit", "150")
    assert [call.query["limit"] for call in api.calls] == ["100", "50"]
    assert ended.err == "These are the newest 150; --limit shows more, `tillstream syncs export` all.\n"


def test_unknown_kind_is_wrong_use() -> None:
    assert run("syncs", "list", "--kind", "full").code == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "to 2026-11-25 11:00"),
        ({"range_end": "2026-11-25T11:01:00Z"}, "to its begin"),
        ({"range_end": "2026-11-25T11:01:00Z", "status": "running", "finished_at": None}, "to now"),
    ],
)
def test_range_that_goes_on_to_the_begin_has_no_end_in_the_future(
    api: PlayedApi, changes: dict[str, Any], said: str
) -> None:
    api.give("get_sync", sync(**changes, progress=[]))
    assert f"the beginning {said}" in run("syncs", "show", "syn_backfillbackfillback1").out


def test_follow_ends_with_the_sync(api: PlayedApi) -> None:
    api.give("get_sync", RUNNING, RUNNING, ENDED)
    ended = run("syncs", "show", "syn_backfillbackfillback1", "--follow")
    assert ended.code == 0
    assert "✓ succeeded" in ended.out


def test_follow_as_json_prints_what_has_changed(api: PlayedApi) -> None:
    api.give("get_sync", RUNNING, RUNNING, ENDED)
    ended = run("syncs", "show", "syn_backfillbackfillback1", "--follow", "--json")
    assert [json.loads(line)["status"] for line in ended.out.splitlines()] == ["running", "succeeded"]


def test_follow_of_a_sync_that_fails_fails(api: PlayedApi) -> None:
    api.give("get_sync", ENDED | {"status": "failed", "cause": "API Key is invalid."})
    ended = run("syncs", "show", "syn_backfillbackfillback1", "--follow")
    assert ended.code == 1
    assert "API Key is invalid." in ended.out
    assert run("syncs", "show", "syn_backfillbackfillback1").code == 0


def test_ctrl_c_ends_following(api: PlayedApi) -> None:
    api.give("get_sync", RUNNING)
    with Terminal(("syncs", "show", "syn_backfillbackfillback1", "--follow"), {}) as terminal:
        terminal.wait_for("charge")
        assert terminal.interrupt() == 130
        assert "Traceback" not in terminal.text


@pytest.mark.parametrize(("command", "says"), [("pause", "It waits"), ("resume", "It goes on")])
def test_sync_waits_and_goes_on(api: PlayedApi, command: str, says: str) -> None:
    api.give(f"{command}_sync", sync(status="paused"))
    ended = run("syncs", command, "syn_backfillbackfillback1")
    assert (ended.code, api.called(f"{command}_sync").id) == (0, "syn_backfillbackfillback1")
    assert says in ended.out


def test_cancel_needs_consent(api: PlayedApi) -> None:
    api.give("get_sync", RUNNING)
    api.give("cancel_sync", sync(status="cancelled"))
    assert run("syncs", "cancel", "syn_backfillbackfillback1").code == 2
    assert "cancel_sync" not in api.names
    assert run("syncs", "cancel", "syn_backfillbackfillback1", "--yes").code == 0
    assert api.called("cancel_sync").id == "syn_backfillbackfillback1"


def test_export_is_written_as_it_comes(api: PlayedApi, tmp_path: Path) -> None:
    api.give("export_syncs", b"id,kind\nsyn_1,backfill\n")
    assert run("syncs", "export", "--status", "failed").out == "id,kind\nsyn_1,backfill\n"
    assert api.called("export_syncs").query == {"format": "csv", "status": "failed"}
    file = tmp_path / "syncs.json"
    api.give("export_syncs", b"[]")
    assert run("syncs", "export", "--json", "--output", str(file)).out == ""
    assert (file.read_bytes(), api.calls[-1].query) == (b"[]", {"format": "json"})


def test_export_that_is_refused_leaves_no_file(api: PlayedApi, tmp_path: Path) -> None:
    api.refuse("export_syncs", 403, "forbidden", "No.")
    file = tmp_path / "syncs.csv"
    assert run("syncs", "export", "--output", str(file)).code == 1
    assert not file.exists()
    assert run("syncs", "export", "--output", str(tmp_path / "nowhere" / "syncs.csv")).code == 2


def test_hour_of_live_changes_has_no_share(api: PlayedApi) -> None:
    live = sync(kind="live", status="running", share=0.0, finished_at=None)
    api.give("list_all_syncs", page(live))
    api.give("get_sync", live | {"progress": []})
    assert "%" not in run("syncs", "list").out + run("syncs", "show", live["id"]).out


def test_sync_whose_key_is_refused_has_stopped(api: PlayedApi) -> None:
    api.give("list_all_syncs", page(RUNNING | {"is_stopped": True, "outcome": "stopped"}))
    shown = run("syncs", "list").out
    assert "stopped" in shown
    assert "running" not in shown


@pytest.mark.parametrize(
    ("outcome", "said"), [("partial", "! succeeded with failures"), ("differences", "! differences found")]
)
def test_sync_that_succeeded_in_part_says_so(api: PlayedApi, outcome: str, said: str) -> None:
    api.give("list_all_syncs", page(sync(outcome=outcome)))

    assert said in run("syncs", "list").out
