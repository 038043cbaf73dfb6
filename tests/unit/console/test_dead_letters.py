"""Commands about dead letters, against an API that is played."""

from __future__ import annotations

from tests.unit.console.answers import connection
from tests.unit.console.letter_answers import LETTER, LETTER_DETAIL, LETTER_GROUP, REPLAY
from tests.unit.console.playing import PlayedApi, page
from tests.unit.console.terminal import run


def test_letters_are_listed_by_filter(api: PlayedApi) -> None:
    api.give("get_connection", connection())
    api.give("list_dead_letters", page(LETTER))
    ended = run("dead-letters", "list", "--connection", "con_5f3kacmeacmeacmeacme2", "--code", "destination_rejected")
    assert "dlt_17" in ended.out
    assert api.called("list_dead_letters").query == {
        "connection_id": "con_5f3kacmeacmeacmeacme2",
        "code": "destination_rejected",
        "limit": "25",
    }
    assert run("dead-letters", "list", "--json").json == [LETTER]


def test_groups_say_how_many_failed_and_why(api: PlayedApi) -> None:
    api.give("list_dead_letter_groups", page(LETTER_GROUP))
    ended = run("dead-letters", "groups")
    assert "417 records failed: column amount is of type integer" in ended.out
    assert "dlt_17" in ended.out
    api.give("list_dead_letter_groups", page())
    assert run("dead-letters", "groups").out == "There is no dead letter.\n"


def test_letter_is_shown_with_its_body(api: PlayedApi) -> None:
    api.give("get_dead_letter", LETTER_DETAIL)
    ended = run("dead-letters", "show", "dlt_17")
    assert "tillstream.snapshots.v1, partition 3, offset 77" in ended.out
    assert '{"id":"ch_1"}' in ended.out


def test_replay_waits_for_the_end_and_tells_what_is_left(api: PlayedApi) -> None:
    api.give("replay_dead_letters", REPLAY)
    done = REPLAY | {"status": "done", "written": 2, "failed": 1, "waiting": 0}
    api.give("get_dead_letter_replay", REPLAY, done)
    ended = run("dead-letters", "replay", "--group", "grp_1", "--yes")
    assert ended.code == 1
    assert "Written: 2 of 3 dead letters" in ended.out
    assert "1 failed again" in ended.err
    assert api.called("replay_dead_letters").body == {"group_id": "grp_1"}


def test_letters_that_are_named_are_replayed_without_a_question(api: PlayedApi) -> None:
    api.give("replay_dead_letters", REPLAY | {"status": "done", "letters": 1, "written": 1, "waiting": 0})
    assert run("dead-letters", "replay", "dlt_17").code == 0
    assert api.called("replay_dead_letters").body == {"ids": ["dlt_17"]}


def test_discarding_needs_consent(api: PlayedApi) -> None:
    api.give("list_dead_letter_groups", page(LETTER_GROUP))
    api.give("discard_dead_letters", {"discarded": 417})
    refused = run("dead-letters", "discard", "--all")
    assert refused.code == 2
    assert "give --yes" in refused.err
    assert "Discarded 417 dead letters" in run("dead-letters", "discard", "--all", "--yes").out
    assert api.called("discard_dead_letters").body == {"all": True}


def test_what_is_meant_has_to_be_said_in_one_way(api: PlayedApi) -> None:
    for arguments in ((), ("dlt_1", "--all"), ("--all", "--code", "bug")):
        assert run("dead-letters", "discard", *arguments, "--yes").code == 2
    assert api.calls == []
