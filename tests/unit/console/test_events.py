"""Commands about events, against an API that is played."""

from __future__ import annotations

from tests.unit.console.answers import EVENT, EVENT_LIFE, connection
from tests.unit.console.playing import PlayedApi, page
from tests.unit.console.terminal import Terminal, run


def test_events_are_searched_by_object_and_connection(api: PlayedApi) -> None:
    api.give("get_connection", connection())
    api.give("list_events", page(EVENT))
    ended = run("events", "list", "--object", "ch_1", "--connection", "con_5f3kacmeacmeacmeacme2")
    assert "charge.refunded" in ended.out
    assert api.called("list_events").query == {
        "connection_id": "con_5f3kacmeacmeacmeacme2",
        "object_id": "ch_1",
        "limit": "25",
    }


def test_way_of_an_event_is_shown_to_each_destination(api: PlayedApi) -> None:
    api.give("get_event", EVENT_LIFE)
    ended = run("events", "show", "evt_1")
    assert "tillstream.events.v1, partition 3, offset 77" in ended.out
    assert "✓ Warehouse  updated, 2026-11-25 11:00:01" in ended.out
    assert "had waited since" in ended.out
    assert "refunded: false → true" in ended.out
    assert "and more" in ended.out
    assert "A newer version is there already." in ended.out
    assert "! Pond  parked, waits until the destination can take it" in ended.out
    assert run("events", "show", "evt_1", "--json").json["event_id"] == "evt_1"


def test_way_of_every_event_of_an_object_is_shown_oldest_first(api: PlayedApi) -> None:
    api.give("list_events", page(EVENT | {"event_id": "evt_2"}, EVENT))
    api.give("get_event", EVENT_LIFE, EVENT_LIFE | {"event_id": "evt_2"})
    ended = run("events", "show", "ch_1")
    assert ended.out.index("evt_1") < ended.out.index("evt_2")
    assert api.called("list_events").query["object_id"] == "ch_1"
    api.give("list_events", page())
    assert "No event fits." in run("events", "show", "ch_2").out


def test_id_can_not_lead_elsewhere(api: PlayedApi) -> None:
    api.give("get_event", EVENT_LIFE)
    run("events", "show", "evt_/../tokens?x=1#y")
    assert [(call.operation, call.id) for call in api.calls] == [("get_event", "evt_/../tokens?x=1#y")]


def test_listening_shows_each_event_once_until_ctrl_c(api: PlayedApi) -> None:
    api.give("list_events", page(EVENT), page(EVENT | {"event_id": "evt_2", "type": "charge.updated"}, EVENT))
    with Terminal(("listen",), {}) as terminal:
        terminal.wait_for("charge.updated")
        assert terminal.interrupt() == 130
    assert terminal.text.count("charge.refunded") == 1


def test_listening_to_all_names_the_account_and_to_one_does_not(api: PlayedApi) -> None:
    api.give("get_connection", connection())
    api.give("list_events", page(EVENT))
    for arguments, names in ((("listen",), True), (("listen", "--connection", "con_5f3kacmeacmeacmeacme2"), False)):
        with Terminal(arguments, {}) as terminal:
            terminal.wait_for("charge.refunded")
            terminal.interrupt()
        assert (f"{EVENT['connection_name']}: charge.refunded" in terminal.text) is names
