"""Commands about connections, against an API that is played."""

from __future__ import annotations

import pytest

from tests.unit.console.answers import BROKEN, ESTIMATE, OTHER, connection, destination, sync
from tests.unit.console.playing import PlayedApi, page
from tests.unit.console.terminal import run

KEY = "rk_live_" + "a" * 30


@pytest.fixture(autouse=True)
def _acme(request: pytest.FixtureRequest) -> None:
    api: PlayedApi = request.getfixturevalue("api")
    api.give("get_connection", connection())
    api.give("list_destinations", page(destination(), destination(id="dst_2", name="Lake")))


def test_list_is_filtered_by_the_api(api: PlayedApi) -> None:
    api.give("list_connections", page(OTHER))
    ended = run("connections", "list", "--status", "action-required", "--search", "glob")
    assert ended.code == 0
    assert api.called("list_connections").query == {"q": "glob", "status": "Action required", "limit": "100"}
    assert "Globex Corporation" in ended.out
    assert "◐ Backfilling 42 %" in ended.out


def test_unknown_status_names_the_seven(api: PlayedApi) -> None:
    ended = run("connections", "list", "--status", "broken")
    assert ended.code == 2
    assert "setting up, backfilling, live, delayed, action required, paused, removing" in ended.err
    assert api.names == []


def test_empty_list_says_what_to_do_next(api: PlayedApi) -> None:
    api.give("list_connections", page())
    assert "tillstream connections add" in run("connections", "list").out
    assert "No connection fits" in run("connections", "list", "--search", "x").out


def test_name_of_an_account_is_neither_markup_nor_steering(api: PlayedApi) -> None:
    api.give("list_connections", page(connection(account_name="[red]Evil[/] \x1b[31m :smile:")))
    assert "[red]Evil[/] �[31m :smile:" in run("connections", "list").out


def test_add_reads_the_key_from_standard_input_alone(api: PlayedApi) -> None:
    api.give("create_connection", connection())
    ended = run("connections", "add", "--destination", "Warehouse", "--start-date", "2025-01-31", input=f"{KEY}\n")
    assert ended.code == 0
    assert api.called("create_connection").body == {
        "api_key": KEY,
        "destination_ids": ["dst_warehousewarehousewa1"],
        "start_date": "2025-01-31T00:00:00Z",
    }
    assert "Connected Acme Inc as con_5f3kacmeacmeacmeacme2" in ended.out
    assert KEY not in ended.out + ended.err


def test_add_without_a_key_asks_nothing(api: PlayedApi) -> None:
    ended = run("connections", "add", "--destination", "Warehouse", input=" \n")
    assert (ended.code, ended.err) == (
        2,
        "✗ There is no key: paste it at the prompt, or write it to standard input.\n",
    )
    assert "create_connection" not in api.names


def test_key_can_not_be_an_argument() -> None:
    assert run("connections", "update-key", "con_5f3kacmeacmeacmeacme2", KEY).code == 2


def test_update_key_tells_the_new_ones_hint(api: PlayedApi) -> None:
    api.give("update_key", connection(key_hint="rk_live_…aaaa", key_version=2))
    ended = run("connections", "update-key", "con_5f3kacmeacmeacmeacme2", input=KEY)
    assert (ended.code, api.called("update_key").body) == (0, {"api_key": KEY})
    assert "rk_live_…aaaa" in ended.out


def test_refused_key_is_told_in_the_words_of_the_api(api: PlayedApi) -> None:
    api.refuse("update_key", 422, "api_key_invalid", "API Key is invalid: Stripe does not know it.", field="api_key")
    ended = run("connections", "update-key", "con_5f3kacmeacmeacmeacme2", input=KEY)
    assert (ended.code, ended.err) == (1, "✗ API Key is invalid: Stripe does not know it.\n")


@pytest.mark.parametrize(
    ("command", "operation", "says"),
    [
        ("pause", "pause_connection", "is paused"),
        ("resume", "resume_connection", "goes on"),
        ("rotate-webhook-secret", "rotate_webhook_secret", "new webhook secret"),
    ],
)
def test_one_step_changes(api: PlayedApi, command: str, operation: str, says: str) -> None:
    api.give(operation, connection())
    ended = run("connections", command, "con_5f3kacmeacmeacmeacme2")
    assert (ended.code, api.called(operation).id) == (0, "con_5f3kacmeacmeacmeacme2")
    assert says in ended.out
    assert run("connections", command, "con_5f3kacmeacmeacmeacme2", "--json").json["id"] == "con_5f3kacmeacmeacmeacme2"


def test_sync_compares_or_reads_anew(api: PlayedApi) -> None:
    api.give("create_sync", sync(id="syn_2", kind="reconcile", status="queued"))
    assert "tillstream syncs show syn_2 --follow" in run("connections", "sync", "con_5f3kacmeacmeacmeacme2").out
    run("connections", "sync", "con_5f3kacmeacmeacmeacme2", "--resource", "charge", "--resource", "refund")
    run("connections", "sync", "con_5f3kacmeacmeacmeacme2", "--object", "charge:ch_1")
    assert [call.body for call in api.calls if call.operation == "create_sync"] == [
        {},
        {"resources": ["charge", "refund"]},
        {"object": {"resource": "charge", "id": "ch_1"}},
    ]


def test_object_needs_its_resource(api: PlayedApi) -> None:
    ended = run("connections", "sync", "con_5f3kacmeacmeacmeacme2", "--object", "ch_1")
    assert (ended.code, api.names) == (2, [])
    assert "charge:ch_3Nf…" in ended.err


def test_start_date_without_a_terminal_needs_yes(api: PlayedApi) -> None:
    api.give("estimate_start_date", ESTIMATE)
    ended = run("connections", "set-start-date", "con_5f3kacmeacmeacmeacme2", "1y")
    assert ended.code == 2
    assert "About 12,400 objects, which takes about 4 min." in ended.err
    assert "give --yes" in ended.err
    assert "set_start_date" not in api.names


@pytest.mark.parametrize(("flags", "deletes"), [((), False), (("--keep-older",), False), (("--delete-older",), True)])
def test_start_date_keeps_older_rows_unless_told(api: PlayedApi, flags: tuple[str, ...], deletes: bool) -> None:
    api.give("set_start_date", connection(start_date="2025-01-31T00:00:00Z"))
    ended = run("connections", "set-start-date", "con_5f3kacmeacmeacmeacme2", "2025-01-31", "--yes", *flags)
    assert ended.code == 0
    assert api.called("set_start_date").body == {"start_date": "2025-01-31T00:00:00Z", "delete_older": deletes}
    assert "keeps what was made since 2025-01-31" in ended.out


def test_start_date_all_keeps_everything(api: PlayedApi) -> None:
    api.give("set_start_date", connection())
    ended = run("connections", "set-start-date", "con_5f3kacmeacmeacmeacme2", "all", "--yes")
    assert api.called("set_start_date").body["start_date"] is None
    assert "keeps everything" in ended.out


def test_choose_changes_what_is_named_alone(api: PlayedApi) -> None:
    api.give("get_connection", BROKEN)
    api.give("choose", connection())
    options = (
        "--add",
        "refund",
        "--drop",
        "invoice",
        "--omit",
        "customer:email",
        "--write",
        "charge:billing_details.address",
    )
    ended = run("connections", "choose", "con_9xyzinitechinitechin4", *options, "--add-destination", "Lake", "--yes")
    assert ended.code == 0, ended.err
    assert api.called("choose").body == {
        "resources": ["charge", "customer", "refund"],
        "omitted_fields": {"customer": ["email"]},
        "destination_ids": ["dst_warehousewarehousewa1", "dst_2"],
    }


def test_choose_that_only_adds_asks_nothing(api: PlayedApi) -> None:
    api.give("choose", connection())
    assert run("connections", "choose", "con_5f3kacmeacmeacmeacme2", "--add", "refund").code == 0
    assert api.called("choose").body == {"resources": ["charge", "customer", "invoice", "refund"]}


def test_choose_that_takes_fields_out_asks_first(api: PlayedApi) -> None:
    ended = run("connections", "choose", "con_5f3kacmeacmeacmeacme2", "--omit", "customer:email")
    assert (ended.code, "choose" in api.names) == (2, False)
    assert "taken out of the rows that were: customer:email" in ended.err


@pytest.mark.parametrize("options", [(), ("--add", "charge"), ("--omit", "email", "--yes")])
def test_choose_without_a_change_is_wrong_use(api: PlayedApi, options: tuple[str, ...]) -> None:
    assert run("connections", "choose", "con_5f3kacmeacmeacmeacme2", *options).code == 2
    assert "choose" not in api.names
