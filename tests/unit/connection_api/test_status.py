from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from services.connection_api.debt_sentences import owed_by_events, owed_by_faults, say_refusal
from services.connection_api.status import Owed, Remedy, Severity, Word, percent_of, status_of
from shared.connections import Fault, LiveBy, State
from shared.refusals import Cause

SINCE = datetime(2026, 11, 1, tzinfo=UTC)
LATE = Owed(code="records_wait", severity=Severity.LATE, sentence="5 records wait.")
BAD = Owed(code="delivery_stopped", severity=Severity.PERSON, sentence="Refused.", remedy=Remedy.DELIVER_AGAIN)


@dataclass(frozen=True)
class Situation:
    state: State = State.ACTIVE
    cause: str | None = None
    live_by: LiveBy = LiveBy.WEBHOOKS


@pytest.mark.parametrize(
    ("state", "share", "owed", "text"),
    [
        (State.SETTING_UP, None, (), "Setting up"),
        (State.SETTING_UP, 0.0, (), "Setting up"),
        (State.ACTIVE, 0.0, (), "Backfilling 0 %"),
        (State.ACTIVE, 0.429, (), "Backfilling 42 %"),
        (State.ACTIVE, 1.0, (), "Backfilling 99 %"),
        (State.ACTIVE, 0.5, (LATE,), "Delayed"),
        (State.ACTIVE, 0.5, (BAD, LATE), "Action required"),
        (State.ACTIVE, None, (), "Live"),
        (State.ACTIVE, None, (LATE,), "Delayed"),
        (State.ACTIVE, None, (BAD,), "Action required"),
        (State.ACTION_REQUIRED, 0.5, (LATE,), "Action required"),
        (State.PAUSED, 0.5, (BAD,), "Paused"),
        (State.REMOVING, 0.5, (BAD,), "Removing"),
    ],
)
def test_each_situation_has_one_word(state: State, share: float | None, owed: tuple[Owed, ...], text: str) -> None:
    status = status_of(Situation(state), owed, backfill_share=share)

    assert status.text == text
    assert status.sentence.endswith(".")


def test_the_words_are_the_seven() -> None:
    words = ["Setting up", "Backfilling", "Live", "Delayed", "Action required", "Paused", "Removing"]

    assert list(Word) == words


def test_action_required_says_its_cause() -> None:
    status = status_of(Situation(State.ACTION_REQUIRED, "API Key is invalid."), backfill_share=None)

    assert (status.sentence, status.remedy) == ("API Key is invalid.", Remedy.UPDATE_KEY)


def test_the_worst_is_said_and_the_others_are_counted() -> None:
    one = status_of(Situation(), (BAD, LATE), backfill_share=None)
    two = status_of(Situation(State.ACTION_REQUIRED, "API Key is invalid."), (BAD, LATE), backfill_share=None)

    assert (one.sentence, one.remedy) == ("Refused. One more thing is owed.", Remedy.DELIVER_AGAIN)
    assert two.sentence == "API Key is invalid. 2 more things are owed."


def test_resource_that_stopped_needs_a_person_who_is_told_its_permission_once() -> None:
    faults = [
        Fault(name, "missing_permissions", "Missing permissions", permission, SINCE)
        for name, permission in (("charge", "rak_charge_read"), ("price", None), ("refund", "rak_charge_read"))
    ]

    status = status_of(Situation(), owed_by_faults(faults), backfill_share=0.5)

    assert status.word is Word.ACTION_REQUIRED
    assert status.remedy is Remedy.UPDATE_KEY
    assert status.sentence == (
        "Missing permissions: Charges and Refunds (rak_charge_read), Prices (rak_plan_read). "
        "Everything else is still synced."
    )


def test_events_that_are_late_say_how_late() -> None:
    now = datetime(2026, 11, 1, 12, tzinfo=UTC)

    assert owed_by_events(int(now.timestamp()) - 299, now=now) is None
    late = owed_by_events(int(now.timestamp()) - 720, now=now)
    assert late is not None
    assert late.sentence == "Changes arrive 12 minutes late. Tillstream is catching up."


@pytest.mark.parametrize(
    ("code", "skew", "cause", "remedy"),
    [
        (Cause.CLOCK, 400, "the clock differs by +400 s", None),
        (Cause.CLOCK, -3600, "the clock differs by -3,600 s", None),
        (Cause.SECRET, 2, "the signing secret does not fit", Remedy.ROTATE_SECRET),
        (Cause.SECRET, 4000, "the signing secret does not fit", Remedy.ROTATE_SECRET),
        (Cause.UNSIGNED, None, "the signing secret does not fit", Remedy.ROTATE_SECRET),
    ],
)
def test_refused_webhooks_name_clock_or_secret(
    code: Cause, skew: int | None, cause: str, remedy: Remedy | None
) -> None:
    owed = say_refusal({"code": code, "whole": skew, "number": 12, "since": SINCE})

    assert owed.sentence == f"Webhooks are refused: {cause}. Changes come by asking Stripe meanwhile."
    assert owed.remedy is remedy


def test_a_hundred_per_cent_is_only_said_at_the_end() -> None:
    assert percent_of(0.9999) == 99


def test_endpoint_that_cannot_be_repaired_says_so_beside_what_else_is_missing() -> None:
    lost = Fault("webhook_endpoint", "webhook_missing", "Webhook missing: Stripe has no room.", None, SINCE)
    unread = Fault("charge", "missing_permissions", "…", "rak_charge_read", SINCE)

    alone = status_of(Situation(), owed_by_faults([lost]), backfill_share=None)
    both = owed_by_faults([lost, unread])

    assert (alone.sentence, alone.remedy) == ("Webhook missing: Stripe has no room.", None)
    assert [one.sentence[:15] for one in both] == ["Missing permiss", "Webhook missing"]
    assert both[0].remedy is Remedy.UPDATE_KEY


def test_refusal_in_stripes_own_words_is_told_as_it_is_and_names_no_permission() -> None:
    fault = Fault("charge", "stripe_refused", "Stripe refuses to give charges, and says: No.", None, SINCE)

    status = status_of(Situation(), owed_by_faults([fault]), backfill_share=None)

    assert (status.word, status.remedy) == (Word.ACTION_REQUIRED, None)
    assert status.sentence == "Stripe refuses to give charges, and says: No."
