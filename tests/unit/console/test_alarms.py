"""`tillstream alarms`, against an API that is played."""

from __future__ import annotations

import pytest

from tests.unit.console.alarm_answers import ALARM, ALARMS, ARRIVED, FAILED, MAIL, MESSAGES, WAITING
from tests.unit.console.playing import PlayedApi, page
from tests.unit.console.terminal import run

ADDRESS = "https://example.com/alarms?token=s3cret"


def test_secret_of_a_webhook_is_all_that_is_printed_and_the_address_is_never(api: PlayedApi) -> None:
    api.give("create_alarm", {"alarm": ALARM, "signing_secret": "whsec_c2VjcmV0"})
    options = ("--event", "action_required", "--quiet", "22:00-07:00", "--zone", "Europe/Berlin")
    ended = run("alarms", "add", "webhook", *options, input=ADDRESS + "\n")
    assert ended.out == "whsec_c2VjcmV0\n"
    assert "not shown again" in ended.err
    assert "s3cret" not in ended.out + ended.err
    assert api.called("create_alarm").body == {
        "kind": "webhook",
        "events": ["action_required"],
        "quiet_hours": {"begin": "22:00", "end": "07:00", "zone": "Europe/Berlin"},
        "address": ADDRESS,
    }


def test_what_has_no_secret_is_told_by_its_id(api: PlayedApi) -> None:
    api.give("create_alarm", {"alarm": MAIL, "signing_secret": None})
    ended = run("alarms", "add", "email", input="ada@example.com")
    assert f"Added {MAIL['id']}." in ended.out
    assert api.called("create_alarm").body == {"kind": "email", "address": "ada@example.com"}


@pytest.mark.parametrize("wrong", [("fax",), ("slack", "--quiet", "night"), ("slack", "--event", "lunch")])
def test_what_makes_no_alarm_is_wrong_use(api: PlayedApi, wrong: tuple[str, ...]) -> None:
    assert run("alarms", "add", *wrong, input=ADDRESS).code == 2
    assert api.names == []


@pytest.mark.parametrize(
    ("message", "code", "says"),
    [(ARRIVED, 0, "The test has arrived."), (FAILED, 1, "did not arrive. The receiver answered 500.")],
)
def test_a_test_waits_for_what_comes_of_it(api: PlayedApi, message: dict[str, object], code: int, says: str) -> None:
    api.give("test_alarm", WAITING)
    api.give("list_alarm_messages", page(WAITING), page(message))
    ended = run("alarms", "test", ALARM["id"])
    assert (ended.code, api.called("test_alarm").id) == (code, ALARM["id"])
    assert says in ended.out


def test_alarms_and_messages_are_listed(api: PlayedApi) -> None:
    api.give("list_alarms", {"data": ALARMS, "next_cursor": None})
    api.give("list_alarm_messages", page(*MESSAGES))
    assert "a…@example.com" in run("alarms", "list").out
    told = run("alarms", "messages").out
    assert "✗ given up: The receiver answered 500." in told
    assert run("alarms", "messages", "--json").json == MESSAGES


def test_nobody_who_is_told_leads_to_the_command(api: PlayedApi) -> None:
    api.give("list_alarms", {"data": [], "next_cursor": None})
    assert "tillstream alarms add" in run("alarms", "list").out


def test_an_alarm_is_removed_after_a_yes(api: PlayedApi) -> None:
    api.give("delete_alarm", None)
    assert run("alarms", "remove", ALARM["id"]).code == 2
    assert run("alarms", "remove", ALARM["id"], "--yes").code == 0
    assert api.called("delete_alarm").id == ALARM["id"]
