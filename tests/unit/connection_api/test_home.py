"""The order of accounts, and what is said of all of them together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.connection_api.account_filter import HomeFilter
from services.connection_api.dashboard.home.pictures import said
from services.connection_api.standing import Standing
from services.connection_api.status import Owed, Severity, Word, dead_key, status_of
from services.connection_api.views.figures import CallFigures
from services.connection_api.views.home import NEEDS_SHOWN, Figures, behind_of, in_order, matches, summed
from services.connection_api.views.standings import AccountStanding
from shared.connections import LiveBy, State

NOW = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)
NO_FIGURES = Figures((), 7, 1.1, CallFigures((), 0, 0.31))


class Situation:
    cause = None
    live_by = LiveBy.WEBHOOKS

    def __init__(self, state: State) -> None:
        self.state = state


def account(name: str, *owed: Owed, state: State = State.ACTIVE, share: float | None = None) -> AccountStanding:
    status = status_of(Situation(state), owed, backfill_share=share)
    return AccountStanding(
        f"con_{name}", name, f"acct_{name}", f"Account {name}", True, Standing(status, owed, state, LiveBy.WEBHOOKS)
    )


def owes(code: str, severity: Severity = Severity.PERSON, minutes: int = 5) -> Owed:
    return Owed(code=code, severity=severity, sentence=f"{code}.", since=NOW - timedelta(minutes=minutes))


EVERY = [
    account("live"),
    account("paused", state=State.PAUSED),
    account("late", owes("parked", Severity.LATE)),
    account("failed", owes("failed", minutes=9)),
    account("failed long ago", owes("failed", minutes=90)),
    account("stopped", owes("delivery_stopped", minutes=1)),
    account("copying", share=0.4),
    account("dead", state=State.ACTION_REQUIRED),
]


def names(some: list[AccountStanding]) -> list[str]:
    return [one.name for one in some]


def test_what_needs_attention_comes_first_and_what_stops_all_before_what_is_old() -> None:
    expected = ["dead", "stopped", "failed long ago", "failed", "late", "copying", "paused", "live"]
    assert names(in_order(EVERY, "status", {}, is_descending=False)) == expected
    assert names(in_order(EVERY, "status", {}, is_descending=True)) == expected[::-1]


@pytest.mark.parametrize(("is_descending", "expected"), [(False, ["b", "c", "a"]), (True, ["c", "b", "a"])])
def test_what_has_no_value_comes_last_either_way(is_descending: bool, expected: list[str]) -> None:
    some = [account(name) for name in "abc"]
    assert names(in_order(some, "rows", {"con_b": 1, "con_c": 2}, is_descending=is_descending)) == expected


def test_equal_values_are_sorted_by_name() -> None:
    some = [account(name) for name in "cab"]
    assert names(in_order(some, "rows", dict.fromkeys(("con_a", "con_b", "con_c"), 1), is_descending=True)) == [
        "a", "b", "c",
    ]  # fmt: skip


def test_the_summary_counts_each_word_and_says_what_needs_somebody() -> None:
    state = summed(EVERY, NO_FIGURES)
    assert [text for _, text, _ in said(state)] == [
        "1 live", "4 need you", "1 delayed", "1 backfilling", "1 paused",
    ]  # fmt: skip
    assert names(list(state.needing)) == ["dead", "stopped", "failed long ago", "failed", "late"]
    assert (state.total, state.events, state.p95, state.calls_share) == (8, 7, 1.1, 0.31)
    assert state.left_out == ()


def test_what_needs_somebody_is_cut_and_the_rest_counted() -> None:
    many = [account(f"{n:02}", owes("failed")) for n in range(NEEDS_SHOWN + 3)]
    state = summed([*many, account("late", owes("parked", Severity.LATE))], NO_FIGURES)
    assert len(state.needing) == NEEDS_SHOWN
    assert state.left_out == ((Word.ACTION_REQUIRED, NEEDS_SHOWN + 3), (Word.DELAYED, 1))


def test_how_far_behind_is_told_since_something_is_owed_and_not_of_what_stands_still() -> None:
    assert behind_of(account("a", owes("parked", Severity.LATE, minutes=18)), 0.4, now=NOW) == 18 * 60
    assert behind_of(account("a"), 0.4, now=NOW) == 0.4
    assert behind_of(account("a", state=State.PAUSED), 0.4, now=NOW) is None
    assert behind_of(account("a", dead_key(None), state=State.ACTION_REQUIRED), 0.4, now=NOW) is None


def test_a_search_finds_names_and_ids_of_the_status_that_was_chosen() -> None:
    one = account("Halcyon")
    assert matches(one, HomeFilter(q="HALC"))
    assert matches(one, HomeFilter(q="con_Halcyon"))
    assert matches(one, HomeFilter(q="acct_h"))
    assert not matches(one, HomeFilter(q="con_Hal"))
    assert not matches(one, HomeFilter(q="halc", status=Word.PAUSED))


def test_an_address_has_what_differs_from_the_plain_page() -> None:
    wanted = HomeFilter(q="a", sort="-rows", page=3)
    assert wanted.address() == "/?q=a&sort=-rows&page=3"
    assert wanted.address(page=1, sort=None) == "/?q=a"
    assert (wanted.column, wanted.is_descending, HomeFilter().column) == ("rows", True, "status")
