"""`connections verify-schedule`, against an API that is played."""

from __future__ import annotations

import pytest

from tests.unit.console.answers import connection
from tests.unit.console.playing import PlayedApi
from tests.unit.console.schedule_answers import NEVER, SCHEDULE
from tests.unit.console.terminal import run

COMMAND = ("connections", "verify-schedule", "con_5f3kacmeacmeacmeacme2")


@pytest.fixture(autouse=True)
def _acme(request: pytest.FixtureRequest) -> None:
    api: PlayedApi = request.getfixturevalue("api")
    api.give("get_connection", connection())
    api.give("get_verify_schedule", NEVER)
    api.give("set_verify_schedule", SCHEDULE)


def test_without_an_option_nothing_is_changed(api: PlayedApi) -> None:
    ended = run(*COMMAND)
    assert ended.code == 0
    assert "never" in ended.out
    assert "at most 72 calls to Stripe" in ended.out
    assert "set_verify_schedule" not in api.names


def test_what_is_not_given_stays_as_it_is(api: PlayedApi) -> None:
    ended = run(*COMMAND, "--every", "daily", "--hour", "4")
    assert ended.code == 0
    sent = api.called("set_verify_schedule").body
    assert sent == {"how_often": "daily", "hour": 4, "zone": "Europe/Berlin", "pages": 2}
    assert "every day at 02:00, Europe/Berlin" in ended.out
    assert "2026-11-26 01:00:00 UTC" in ended.out


@pytest.mark.parametrize("option", [("--hour", "24"), ("--pages", "0"), ("--every", "hourly")])
def test_what_makes_no_schedule_is_wrong_use(api: PlayedApi, option: tuple[str, str]) -> None:
    assert run(*COMMAND, *option).code == 2
    assert "set_verify_schedule" not in api.names


def test_json_is_what_the_api_says(api: PlayedApi) -> None:
    assert run(*COMMAND, "--json").json == NEVER
    assert api.names[-1] == "get_verify_schedule"
