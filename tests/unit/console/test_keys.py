"""`keys check`, against an API that is played."""

from __future__ import annotations

from tests.unit.console.answers import KEY_CHECK, connection
from tests.unit.console.playing import PlayedApi, page
from tests.unit.console.terminal import Terminal, run

KEY = "rk_live_" + "a" * 30


def test_missing_permission_fails_and_is_named(api: PlayedApi) -> None:
    api.give("check_key", KEY_CHECK)
    ended = run("keys", "check", input=KEY)
    assert ended.code == 1
    assert "✗ Webhook Endpoints (rak_webhook_write): missing, required" in ended.out
    assert "! Files (rak_file_read): missing, optional" in ended.out
    assert "○ Climate (rak_climate_read): not available on this account" in ended.out
    assert KEY not in ended.out + ended.err


def test_good_key_passes(api: PlayedApi) -> None:
    api.give("check_key", KEY_CHECK | {"passed": True, "sentence": "This key may do all that is needed."})
    assert run("keys", "check", input=KEY).code == 0


def test_key_is_checked_for_a_connection_and_resources(api: PlayedApi) -> None:
    api.give("check_key", KEY_CHECK)
    api.give("list_connections", page(connection()))
    ended = run("keys", "check", "--connection", "acme", "--resource", "charge", "--json", input=KEY)
    assert (ended.code, ended.json["passed"]) == (1, False)
    assert api.called("check_key").body == {
        "api_key": KEY,
        "connection_id": "con_5f3kacmeacmeacmeacme2",
        "resources": ["charge"],
    }


def test_typed_key_is_not_shown(api: PlayedApi) -> None:
    api.give("check_key", KEY_CHECK | {"passed": True})
    with Terminal(("keys", "check"), {}) as terminal:
        terminal.wait_for("Restricted key (rk_live_…)")
        terminal.type(KEY + "\n")
        assert terminal.end() == 0
        assert KEY not in terminal.text
        assert api.called("check_key").body == {"api_key": KEY}


def test_ctrl_c_at_the_prompt_ends_it(api: PlayedApi) -> None:
    with Terminal(("keys", "check"), {}) as terminal:
        terminal.wait_for("Restricted key (rk_live_…)")
        assert terminal.interrupt() == 130
        assert api.names == []
