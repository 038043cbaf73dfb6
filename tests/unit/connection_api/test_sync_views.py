from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.connection_api.dashboard.event_pages import OUTCOMES, EventListFilter
from services.connection_api.dashboard.filters import SyncListFilter
from services.connection_api.dashboard.removal_pages import RemovalView
from services.connection_api.dashboard.sync_views import KINDS, MEANINGS, OPEN, STATUSES, Account, SyncView, lines_of
from services.connection_api.rest.event_search import EventSearch
from services.connection_api.status import Tone
from services.destination_writer.delivery import Outcome
from shared.connections import Fault
from shared.removals import DoneStep, Removal, Step
from shared.sync_progress import Counts, ResourceProgress
from shared.syncs import EVENT_FEED, Kind, Status, Sync

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
ACCOUNT = Account("con_1", "acct_1", "Halcyon Coffee", None, True)
FAULT = Fault("charge", "missing_permissions", "Missing permissions.", "rak_charge_read", NOW)


def make_view(**changes: Any) -> SyncView:
    values: dict[str, Any] = {
        "id": "syn_1",
        "connection_id": "con_1",
        "kind": Kind.BACKFILL,
        "trigger": "connect",
        "status": Status.RUNNING,
        "resources": (),
        "object_id": None,
        "range_start": None,
        "range_end": None,
        "cause_code": None,
        "cause": None,
        "stripe_calls": 0,
        "rate_limited": 0,
        "created_at": NOW - timedelta(minutes=11),
        "started_at": NOW - timedelta(minutes=10),
        "finished_at": None,
        "read": 6000,
        "share": 0.25,
        "counts": Counts(),
    }
    return SyncView(Sync(**values | changes), ACCOUNT, NOW)


def make_progress(resource: str = "charge", **changes: Any) -> ResourceProgress:
    values: dict[str, Any] = {
        "resource": resource,
        "share": 0.5,
        "read": 600,
        "confirmed": False,
        "cause_code": None,
        "cause": None,
        "counts": Counts(),
    }
    return ResourceProgress(**values | changes)


def make_removal(*steps: DoneStep, **changes: Any) -> RemovalView:
    values: dict[str, Any] = {
        "id": "rmv_1",
        "connection_id": "con_1",
        "account_id": "acct_1",
        "livemode": True,
        "deletes_rows": True,
        "is_done": False,
        "steps": steps,
        "cause": None,
        "requested_at": NOW,
        "finished_at": None,
    }
    return RemovalView(Removal(**values | changes))


def words_of(view: RemovalView) -> list[str]:
    return [step.word.text for step in view.steps]


def test_every_kind_and_status_has_its_words() -> None:
    assert set(KINDS) == set(MEANINGS) == set(Kind)
    assert set(STATUSES) == set(Status)
    assert {word.icon for word in STATUSES.values()} > {"live", "missing"}


def test_every_outcome_of_an_event_has_its_words() -> None:
    assert {str(outcome) for outcome in Outcome} | {"asked_stripe", "not_synced"} == set(OUTCOMES)


def test_a_running_sync_tells_its_rate_and_what_is_left() -> None:
    view = make_view()

    assert (view.duration, view.percent, view.rate, view.remaining) == ("10 min", 25, "10 rows/s", "about 30 min")


def test_a_sync_that_waits_or_has_ended_tells_no_time_left() -> None:
    for status in set(Status) - {Status.RUNNING}:
        assert make_view(status=status).remaining is None


def test_a_sync_whose_key_is_refused_has_stopped_and_tells_no_time_left() -> None:
    view = make_view(is_stopped=True)
    assert (view.word.text, view.word.tone) == ("Stopped", Tone.BAD)
    assert view.remaining is None


def test_a_sync_that_has_not_started_has_no_duration() -> None:
    view = make_view(status=Status.QUEUED, started_at=None)

    assert view.duration is None
    assert view.begun_at == NOW - timedelta(minutes=11)


@pytest.mark.parametrize("kind", [Kind.BACKFILL, Kind.MANUAL])
def test_what_can_be_paused_resumed_and_cancelled(kind: Kind) -> None:
    can = {
        s: [getattr(make_view(kind=kind, status=s), f"can_{a}") for a in ("pause", "resume", "cancel")] for s in Status
    }

    assert can == {
        Status.QUEUED: [True, False, True],
        Status.RUNNING: [True, False, True],
        Status.PAUSED: [False, True, True],
        Status.SUCCEEDED: [False, False, False],
        Status.FAILED: [False, False, False],
        Status.CANCELLED: [False, False, False],
    }


def test_nobody_steers_what_runs_by_itself() -> None:
    for kind in set(Kind) - {Kind.BACKFILL, Kind.MANUAL, Kind.VERIFY}:
        view = make_view(kind=kind)
        assert [view.can_pause, view.can_resume, view.can_cancel] == [False, False, False]


def test_resources_are_listed_in_the_order_of_the_catalogue_with_those_that_wait() -> None:
    view = make_view(resources=("invoice", EVENT_FEED, "charge"))
    lines = lines_of(view, [make_progress("charge")], ())

    assert [(line.label, line.word.text) for line in lines] == [
        ("Charges", "Running"),
        ("Invoices", "Waiting"),
        ("Event feed", "Waiting"),
    ]
    assert (lines[0].percent, lines[0].rate, lines[0].remaining) == (50, "1.0 rows/s", "about 10 min")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"confirmed": True}, "Done"),
        ({"cause": "Not yours.", "cause_code": "resource_unavailable", "confirmed": True}, "Not available"),
        ({"cause": "It broke.", "cause_code": "stripe_refused", "confirmed": True}, "Failed"),
        ({"share": 0.0, "read": 0}, "Waiting"),
    ],
)
def test_a_resource_says_how_it_is(changes: dict[str, Any], word: str) -> None:
    [line] = lines_of(make_view(), [make_progress(**changes)], ())

    assert (line.word.text, line.cause) == (word, changes.get("cause"))


def test_a_missing_permission_is_named_while_the_sync_is_open_alone() -> None:
    [line] = lines_of(make_view(), [make_progress()], [FAULT])
    assert line.word.text == "Needs a permission"
    assert "rak_charge_read" in (line.cause or "")

    [line] = lines_of(make_view(status=Status.SUCCEEDED), [make_progress(confirmed=True)], [FAULT])
    assert line.word.text == "Done"


def test_open_syncs_are_those_that_can_still_change() -> None:
    assert {Status.QUEUED, Status.RUNNING, Status.PAUSED} == OPEN


def test_days_of_a_filter_are_whole_days_of_the_viewer() -> None:
    wanted, berlin = (
        SyncListFilter.model_validate({"from": "2026-03-29", "to": "2026-03-29"}),
        ZoneInfo("Europe/Berlin"),
    )

    assert (wanted.since(UTC), wanted.until(UTC)) == (
        datetime(2026, 3, 29, tzinfo=UTC),
        datetime(2026, 3, 30, tzinfo=UTC),
    )
    # On this day the clocks go forward: it has 23 hours.
    assert wanted.since(berlin) == datetime(2026, 3, 28, 23, tzinfo=UTC)
    assert wanted.until(berlin) == datetime(2026, 3, 29, 22, tzinfo=UTC)
    assert "since=2026-03-28T23%3A00%3A00Z" in wanted.export_address("csv", berlin)
    for zone in (UTC, berlin, ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Pacific/Pago_Pago")):
        assert SyncListFilter.model_validate({"to": date(9999, 12, 30)}).until(zone) is not None
        assert SyncListFilter.model_validate({"from": date(1, 1, 1)}).since(zone) is not None


@pytest.mark.parametrize(
    ("text", "search"),
    [
        ("evt_1Qh9x", EventSearch(event_prefix="evt_1Qh9x")),
        ("invoice.paid", EventSearch(type_prefix="invoice.paid")),
        ("customer.subscription.up", EventSearch(type_prefix="customer.subscription.up")),
        ("invoice.*", EventSearch(type_prefix="invoice.")),
        ("in_1Qh9x", EventSearch(object_prefix="in_1Qh9x")),
        ("SUMMER.25", EventSearch(object_prefix="SUMMER.25")),
    ],
)
def test_a_search_knows_what_it_was_given(text: str, search: EventSearch) -> None:
    assert EventListFilter(q=text).search(UTC) == search


def test_steps_of_a_removal_follow_each_other() -> None:
    endpoint = DoneStep(Step.ENDPOINT, NOW, {"webhook_endpoints": 1}, None)

    assert words_of(make_removal()) == ["Running", "To come", "To come", "To come"]
    assert words_of(make_removal(endpoint)) == ["Done", "Running", "To come", "To come"]
    assert words_of(make_removal(endpoint, cause="Away.")) == ["Done", "Waiting", "To come", "To come"]


def test_rows_that_were_to_stay_are_never_waited_for() -> None:
    key = [DoneStep(step, NOW, {}, None) for step in (Step.ENDPOINT, Step.KEY)]

    assert words_of(make_removal(*key, deletes_rows=False)) == ["Done", "Done", "Kept", "Running"]


def test_a_receipt_points_to_what_is_left_to_do() -> None:
    steps = [DoneStep(step, NOW, {"charges": 2, "payouts": 9}, None) for step in Step]
    done = make_removal(*steps, is_done=True, finished_at=NOW + timedelta(seconds=90))
    noted = make_removal(DoneStep(Step.ENDPOINT, NOW, {}, "Delete it."), *steps[1:], is_done=True)

    assert (done.word.text, done.duration, done.rows_deleted) == ("Done", "1 min 30 s", 11)
    assert done.steps[2].counts == [("payouts", 9), ("charges", 2)]
    assert noted.word.text == words_of(noted)[0] == "Finish by hand"


@pytest.mark.parametrize(
    ("changes", "outcome", "words"),
    [
        ({}, "succeeded", "Succeeded"),
        ({"counts": Counts(failed=100)}, "partial", "Succeeded with failures"),
        ({"kind": Kind.VERIFY, "differences": 4}, "differences", "Differences found"),
        ({"kind": Kind.VERIFY, "skipped": 1}, "partial", "Compared in part"),
        ({"status": Status.RUNNING, "is_stopped": True}, "stopped", "Stopped"),
        ({"status": Status.FAILED, "counts": Counts(failed=100)}, "failed", "Failed"),
    ],
)
def test_what_succeeded_in_part_has_a_word_of_its_own(changes: dict[str, Any], outcome: str, words: str) -> None:
    view = make_view(**{"status": Status.SUCCEEDED, **changes})

    assert (view.sync.outcome, view.word.text) == (outcome, words)
    assert (view.word.tone is Tone.GOOD) == (outcome == "succeeded")


BEGUN = NOW - timedelta(minutes=10)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"range_end": None}, None),
        ({"range_end": BEGUN - timedelta(days=1)}, None),
        ({"range_end": BEGUN + timedelta(minutes=1)}, "until now"),
        ({"range_end": BEGUN + timedelta(minutes=1), "status": Status.SUCCEEDED}, "until it began"),
        ({"range_end": NOW + timedelta(minutes=1), "status": Status.SUCCEEDED}, "until it began"),
        ({"range_end": NOW - timedelta(minutes=1), "kind": Kind.LIVE, "status": Status.SUCCEEDED}, None),
        ({"range_end": NOW + timedelta(minutes=1), "kind": Kind.LIVE}, "until now"),
    ],
)
def test_end_of_a_range_is_never_in_the_future(changes: dict[str, Any], said: str | None) -> None:
    assert make_view(**changes).open_end == said
