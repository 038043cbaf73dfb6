"""Messages of one look with the same cause are one."""

from __future__ import annotations

from services.connection_api.alarms.channel import Event
from services.connection_api.alarms.folding import Told, fold, say_many
from services.connection_api.alarms.rule import Due, Need
from services.connection_api.status import Owed, Remedy, Severity

AWAY = "destination_unreachable"


def owed(
    code: str = AWAY, about: str | None = "dst_1", sentence: str = "Warehouse can't be written: it is away."
) -> Owed:
    return Owed(code=code, severity=Severity.PERSON, sentence=sentence, remedy=Remedy.CHECK_DESTINATION, about=about)


def told(number: int, cause: Owed | None, channel: str = "alm_1", event: Event = Event.ACTION_REQUIRED) -> Told:
    need = Need(event=event, code=cause.code) if cause else None
    return Told(channel, f"con_{number}", f"Shop {number:02}", Due(event, need), cause)


def test_one_destination_that_fails_for_twelve_accounts_is_one_message() -> None:
    [letter] = fold([told(number, owed()) for number in reversed(range(1, 13))])
    assert letter.connection_ids == tuple(f"con_{number}" for number in range(1, 13))
    assert letter.sentence == "Warehouse can't be written: it is away. Show destination."
    names = [f"Shop {number:02}" for number in range(1, 6)]
    assert say_many(letter.event, names, 12, letter.sentence) == (
        "12 accounts need you: Shop 01, Shop 02, Shop 03, Shop 04, Shop 05 and 7 others. "
        "Warehouse can't be written: it is away. Show destination."
    )


def test_one_account_is_told_as_ever() -> None:
    [letter] = fold([told(1, owed())])
    assert letter.sentence == "Shop 01 needs you: Warehouse can't be written: it is away. Show destination."


def test_other_channels_causes_destinations_and_events_are_told_apart() -> None:
    letters = fold(
        [
            told(1, owed()),
            told(2, owed(), channel="alm_2"),
            told(3, owed(about="dst_2")),
            told(4, owed(code="destination_full")),
            told(5, owed(), event=Event.DELAYED),
            told(6, None, event=Event.RECOVERED),
        ]
    )
    assert [letter.connection_ids for letter in letters] == [(f"con_{number}",) for number in range(1, 7)]


def test_a_sync_that_an_account_has_to_itself_keeps_nothing_apart() -> None:
    found = [
        told(
            number, owed("differences_found", f"syn_{number}", f"{number} rows differ."), event=Event.DIFFERENCES_FOUND
        )
        for number in (1, 2)
    ]
    [letter] = fold(found)
    assert letter.sentence == "One of them: 1 rows differ. Show destination."


def test_many_that_have_recovered_or_have_their_history_are_one_message_each() -> None:
    events = (Event.RECOVERED, Event.BACKFILL_DONE)
    letters = fold([told(number, None, event=event) for number in (1, 2) for event in events])
    assert [say_many(letter.event, ["A", "B"], 2, letter.sentence) for letter in letters] == [
        "2 accounts have recovered: A, B. Nothing needs you any more.",
        "2 accounts have their history: A, B. The backfills are done.",
    ]


def test_what_is_left_of_several_is_told_of_one() -> None:
    assert say_many(Event.DELAYED, ["A"], 1, "It comes.") == "A is delayed. It comes."
