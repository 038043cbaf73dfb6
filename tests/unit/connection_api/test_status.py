from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from services.connection_api.status import Remedy, Word, percent_of, status_of
from shared.connections import Fault, LiveBy, State


@dataclass(frozen=True)
class Situation:
    state: State = State.ACTIVE
    cause: str | None = None
    live_by: LiveBy = LiveBy.WEBHOOKS
    faults: Sequence[Fault] = ()


@pytest.mark.parametrize(
    ("state", "share", "lag_seconds", "waiting", "text"),
    [
        (State.SETTING_UP, None, 0, 0, "Setting up"),
        (State.SETTING_UP, 0.0, 0, 0, "Setting up"),
        (State.ACTIVE, 0.0, 0, 0, "Backfilling 0 %"),
        (State.ACTIVE, 0.429, 0, 0, "Backfilling 42 %"),
        (State.ACTIVE, 1.0, 0, 0, "Backfilling 99 %"),
        (State.ACTIVE, 0.5, 3600, 0, "Backfilling 50 %"),
        (State.ACTIVE, 0.5, 3600, 7, "Delayed"),
        (State.ACTIVE, None, 0, 0, "Live"),
        (State.ACTIVE, None, 299, 0, "Live"),
        (State.ACTIVE, None, 301, 0, "Delayed"),
        (State.ACTION_REQUIRED, 0.5, 3600, 7, "Action required"),
        (State.PAUSED, 0.5, 3600, 7, "Paused"),
        (State.REMOVING, 0.5, 3600, 7, "Removing"),
    ],
)
def test_each_situation_has_one_word(
    state: State, share: float | None, lag_seconds: float, waiting: int, text: str
) -> None:
    status = status_of(Situation(state), backfill_share=share, lag_seconds=lag_seconds, waiting=waiting)

    assert status.text == text
    assert status.sentence.endswith(".")


def test_the_words_are_the_seven() -> None:
    words = ["Setting up", "Backfilling", "Live", "Delayed", "Action required", "Paused", "Removing"]

    assert list(Word) == words


def test_action_required_says_its_cause() -> None:
    status = status_of(Situation(State.ACTION_REQUIRED, "API Key is invalid."), backfill_share=None)

    assert status.sentence == "API Key is invalid."


def test_resource_that_stopped_needs_a_person_who_is_told_its_permission_once() -> None:
    faults = [
        Fault(name, "missing_permissions", "Missing permissions", permission, datetime(2026, 1, 1, tzinfo=UTC))
        for name, permission in (("charge", "rak_charge_read"), ("price", None), ("refund", "rak_charge_read"))
    ]

    status = status_of(Situation(faults=faults), backfill_share=0.5)

    assert status.word is Word.ACTION_REQUIRED
    assert status.remedy is Remedy.UPDATE_KEY
    assert status.sentence == (
        "Missing permissions: Charges and Refunds (rak_charge_read), Prices (rak_plan_read). "
        "Everything else is still synced."
    )


def test_a_delay_says_what_waits_and_how_long() -> None:
    behind = status_of(Situation(), backfill_share=None, lag_seconds=720)
    waiting = status_of(Situation(), backfill_share=None, lag_seconds=720, waiting=1204)

    assert "12 minutes late" in behind.sentence
    assert "1,204 records wait" in waiting.sentence


def test_a_hundred_per_cent_is_only_said_at_the_end() -> None:
    assert percent_of(0.9999) == 99


def test_endpoint_that_cannot_be_repaired_says_so_beside_what_else_is_missing() -> None:
    since = datetime(2026, 11, 1, tzinfo=UTC)
    lost = Fault("webhook_endpoint", "webhook_missing", "Webhook missing: Stripe has no room.", None, since)
    unread = Fault("charge", "missing_permissions", "…", "rak_charge_read", since)

    alone = status_of(Situation(faults=[lost]), backfill_share=None)
    both = status_of(Situation(faults=[lost, unread]), backfill_share=None)

    assert (alone.sentence, alone.remedy) == ("Webhook missing: Stripe has no room.", None)
    assert both.sentence.startswith("Missing permissions: ")
    assert both.sentence.endswith(" Webhook missing: Stripe has no room.")
    assert both.remedy is Remedy.UPDATE_KEY


def test_delivery_that_has_stopped_needs_a_person_whatever_else_is_late() -> None:
    status = status_of(Situation(), backfill_share=0.5, lag_seconds=3600, waiting=7, stopped="Warehouse refused 21.")

    assert (status.word, status.sentence) == (Word.ACTION_REQUIRED, "Warehouse refused 21.")
    assert status.remedy is Remedy.DELIVER_AGAIN


def test_a_destination_that_is_far_behind_is_told_with_what_found_no_room() -> None:
    status = status_of(Situation(), backfill_share=0.5, lag_seconds=7200, waiting=1000, left_out=12_345)
    assert status.word is Word.DELAYED
    assert status.sentence.startswith("A destination is 120 minutes behind, and 12,345 changes found no room to wait")


def test_refusal_in_stripes_own_words_is_told_as_it_is_and_names_no_permission() -> None:
    fault = Fault("charge", "stripe_refused", "Stripe refuses to give charges, and says: No.", None, datetime.now(UTC))

    status = status_of(Situation(faults=[fault]), backfill_share=None)

    assert (status.word, status.remedy) == (Word.ACTION_REQUIRED, None)
    assert status.sentence == "Stripe refuses to give charges, and says: No."
