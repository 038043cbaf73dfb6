"""Which messages a channel is due, on many histories."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise

import pytest
from pydantic import ValidationError

from services.connection_api.alarms.channel import Channel, ChannelKind, Event, QuietHours
from services.connection_api.alarms.rule import Look, Memory, Need, decide, held_for

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
KEY = Need(event=Event.ACTION_REQUIRED, code="key_refused")
PLACE = Need(event=Event.ACTION_REQUIRED, code="destination_unreachable")
FAILED = Need(event=Event.RECORDS_FAILED, code="records_failed")
LATE = Need(event=Event.DELAYED, code="late")
NIGHT = QuietHours(begin=time(22), end=time(7), zone="Europe/Berlin")
Told = tuple[int, Event]


def channel(events: Iterable[Event] = Event, quiet: QuietHours | None = None) -> Channel:
    return Channel("alm_1", ChannelKind.WEBHOOK, "x", tuple(events), quiet, START - timedelta(days=1))


def run(looks: Iterable[tuple[int, Look]], to: Channel | None = None, start: datetime = START) -> list[Told]:
    """Return what is told, with the second; `looks` are the seconds at which one is taken."""
    memory, told = Memory(), []
    for second, look in looks:
        memory, due = decide(memory, look, channel=to or channel(), now=start + timedelta(seconds=second))
        memory = Memory.model_validate(memory.model_dump(mode="json"))  # as the database keeps it
        told += [(second, one.event) for one in due]
    return told


def steady(*spans: tuple[int, Sequence[Need]], every: int = 10) -> Iterable[tuple[int, Look]]:
    """Yield looks: for so many seconds the connection has these needs."""
    second = 0
    for seconds, needs in spans:
        for _ in range(seconds // every):
            yield second, Look(tuple(needs))
            second += every


def test_trouble_is_told_when_it_has_held_and_its_end_too() -> None:
    assert run(steady((300, []), (300, [KEY]), (300, []))) == [
        (360, Event.ACTION_REQUIRED),
        (660, Event.RECOVERED),
    ]


def test_what_is_well_says_nothing() -> None:
    assert run(steady((86_400, []), every=60)) == []


def test_what_passes_within_a_minute_is_not_told() -> None:
    assert run(steady((100, []), (50, [KEY]), (1000, []))) == []


@pytest.mark.parametrize("period", [2, 4, 6, 12, 20, 60])
def test_a_hundred_flaps_are_three_messages_at_most(period: int) -> None:
    looks = steady(*([(period // 2, [KEY]), (period // 2, [])] * 100), every=1)
    within = [one for one in run(looks) if one[0] < 600]
    assert len(within) <= 3
    assert within[:1] == [(60, Event.ACTION_REQUIRED)]  # an account that flaps does need somebody


def test_flaps_that_hold_each_time_are_three_messages_in_ten_minutes_and_the_last_state_is_told() -> None:
    told = run(steady(*([(70, [KEY]), (70, [])] * 6), (3000, [KEY])))
    for second, _ in told:
        assert len([one for one in told if second <= one[0] < second + 600]) <= 3
    assert told[-1][1] is Event.ACTION_REQUIRED


def test_any_history_alternates_and_ends_with_the_truth() -> None:
    draw = random.Random(7)
    for _ in range(300):
        spans = [
            (draw.choice((10, 30, 70, 200, 700)), draw.choice(([], [KEY], [LATE], [FAILED, LATE]))) for _ in range(30)
        ]
        last = draw.choice(([], [KEY]))
        told = [event for _, event in run(steady(*spans, (1500, last)))]
        assert not [one for one in pairwise(told) if one == (Event.RECOVERED, Event.RECOVERED)]
        assert told[:1] != [Event.RECOVERED]
        expected = [Event.ACTION_REQUIRED] if last else [Event.RECOVERED]
        assert told[-1:] in ([], expected)
        assert told or not last


def test_another_cause_is_told() -> None:
    assert [event for _, event in run(steady((100, [KEY]), (100, [PLACE]), (100, [FAILED])))] == [
        Event.ACTION_REQUIRED,
        Event.ACTION_REQUIRED,
        Event.RECORDS_FAILED,
    ]


def test_events_that_were_not_chosen_do_not_exist() -> None:
    looks = list(steady((300, [KEY, FAILED]), (300, [FAILED, LATE]), (300, [LATE]), (300, [])))
    assert run(looks, channel([Event.RECORDS_FAILED])) == [(60, Event.RECORDS_FAILED)]
    assert run(looks, channel([Event.ACTION_REQUIRED, Event.RECOVERED])) == [
        (60, Event.ACTION_REQUIRED),
        (360, Event.RECOVERED),
    ]
    assert run(looks, channel([Event.RECOVERED])) == []


def test_recovery_that_is_not_wanted_lets_the_next_trouble_be_told() -> None:
    looks = steady((100, [KEY]), (1000, []), (100, [KEY]))
    assert [event for _, event in run(looks, channel([Event.ACTION_REQUIRED]))] == [Event.ACTION_REQUIRED] * 2


def test_quiet_hours_wait_and_what_comes_and_goes_in_them_is_never_told() -> None:
    evening = datetime(2026, 3, 2, 20, 30, tzinfo=UTC)  # 21:30 in Berlin
    night = channel(quiet=NIGHT)
    assert run(steady((3600, []), (3600, [KEY]), (60_000, []), every=60), night, evening) == []
    [(second, event)] = run(steady((3600, []), (86_400, [KEY]), every=60), night, evening)
    assert event is Event.ACTION_REQUIRED
    assert evening + timedelta(seconds=second) == datetime(2026, 3, 3, 6, 0, tzinfo=UTC)  # 07:00 in Berlin


def test_trouble_told_before_the_night_that_ends_in_it_has_recovered_in_the_morning() -> None:
    evening = datetime(2026, 3, 2, 20, 30, tzinfo=UTC)
    told = run(steady((7200, [KEY]), (60_000, []), every=60), channel(quiet=NIGHT), evening)
    assert told == [(60, Event.ACTION_REQUIRED), (34_200, Event.RECOVERED)]


def test_a_backfill_is_told_once_and_an_old_one_never() -> None:
    done = Look(backfilled_at=START)
    assert run([(0, done), (10, done), (20, done)]) == [(0, Event.BACKFILL_DONE)]
    assert run([(0, done)], channel([Event.RECOVERED])) == []
    assert run([(0, Look(backfilled_at=START - timedelta(days=2)))]) == []
    later = Look(backfilled_at=START + timedelta(seconds=5))
    assert [event for _, event in run([(0, done), (10, later)])] == [Event.BACKFILL_DONE] * 2


def test_quiet_hours_cross_midnight_and_the_change_of_the_clock() -> None:
    assert NIGHT.include(datetime(2026, 3, 2, 21, 0, tzinfo=UTC))
    assert not NIGHT.include(datetime(2026, 3, 2, 20, 59, tzinfo=UTC))
    assert NIGHT.include(datetime(2026, 3, 2, 5, 59, tzinfo=UTC))
    assert not NIGHT.include(datetime(2026, 7, 2, 5, 0, tzinfo=UTC))  # summer: 07:00
    assert QuietHours(begin=time(9), end=time(17)).include(START)


@pytest.mark.parametrize(
    ("at", "hours"),
    [
        (datetime(2026, 3, 2, 22, 0, tzinfo=UTC), 8),  # 23:00 in Berlin, until 07:00
        (datetime(2026, 3, 3, 5, 0, tzinfo=UTC), 1),
        (datetime(2026, 3, 28, 22, 0, tzinfo=UTC), 7),  # the clock is put forward in this night
        (datetime(2026, 10, 24, 21, 0, tzinfo=UTC), 9),  # and back in this one
        (datetime(2026, 3, 3, 6, 0, tzinfo=UTC), 0),
    ],
)
def test_a_message_waits_until_quiet_hours_end_and_a_test_never(at: datetime, hours: int) -> None:
    assert held_for(Event.DELAYED, NIGHT, at=at) == timedelta(hours=hours)
    assert held_for("test", NIGHT, at=at) == timedelta()
    assert held_for(Event.DELAYED, None, at=at) == timedelta()
    assert not NIGHT.include(at + timedelta(hours=hours))


@pytest.mark.parametrize(
    "wrong", [{"end": "22:00"}, {"zone": "Nowhere/Land"}, {"zone": "../etc"}, {"begin": "22:00+02:00"}]
)
def test_quiet_hours_that_cannot_be_kept_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        QuietHours.model_validate({"begin": "22:00", "end": "07:00", "zone": "UTC"} | wrong)
