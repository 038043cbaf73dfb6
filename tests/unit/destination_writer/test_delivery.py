"""The rule: whatever the order, the newest state wins, or Stripe is asked."""

from __future__ import annotations

import itertools
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.destination_writer.delivery import Verdict, Version, fold, is_equal, judge, overlay
from tests.contracts import ACCOUNT
from tests.factories import make_record
from tests.fakes import MemoryDestination
from tests.histories import History, answer_of, histories

EXAMPLES = int(os.environ.get("TILLSTREAM_TEST_HISTORIES", "1500"))
KEY = (ACCOUNT.id, ACCOUNT.livemode, "cus_1")


async def deliver(history: History, cuts: list[int]) -> tuple[MemoryDestination, bool]:
    """Deliver a history in batches; answer the questions for Stripe; say whether there were any."""
    destination, asked = MemoryDestination(), False
    for batch in _batches(history, cuts):
        asked |= any(written.ask_stripe for written in await destination.write(ACCOUNT, fold(batch)))
    if asked:
        await destination.write(ACCOUNT, fold([answer_of(history)]))
    return destination, asked


def _batches(history: History, cuts: list[int]) -> list[list]:  # type: ignore[type-arg]
    edges = [0, *sorted({cut % (len(history.deliveries) + 1) for cut in cuts}), len(history.deliveries)]
    return [list(history.deliveries[a:b]) for a, b in itertools.pairwise(edges) if b > a]


@settings(max_examples=EXAMPLES, deadline=None)
@given(histories(), st.lists(st.integers(0, 20), max_size=4))
async def test_row_equals_stripe_whatever_the_order(history: History, cuts: list[int]) -> None:
    destination, _ = await deliver(history, cuts)
    row = (await destination.rows("customers"))[KEY]
    assert row["deleted"] == (history.truth is None)
    if history.truth is not None:
        assert row["data"] == history.truth


@settings(max_examples=300, deadline=None)
@given(histories(), st.lists(st.integers(0, 20), max_size=4))
async def test_replay_of_everything_changes_nothing(history: History, cuts: list[int]) -> None:
    destination, _ = await deliver(history, cuts)
    before = await destination.rows("customers")
    for record in history.deliveries:
        written = await destination.write(ACCOUNT, fold([record]))
        if written[0].ask_stripe:
            await destination.write(ACCOUNT, fold([answer_of(history)]))
    after = await destination.rows("customers")
    assert (after[KEY]["data"], after[KEY]["deleted"]) == (before[KEY]["data"], before[KEY]["deleted"])


async def test_events_in_order_never_ask_stripe() -> None:
    """A renewal tells several states of one object in one second; what it tells is enough."""
    destination = MemoryDestination()
    steps = [
        make_record(event_type="customer.created", name="a"),
        make_record(event_type="customer.updated", name="b", previous={"name": "a"}),
        make_record(event_type="customer.updated", name="c", previous={"name": "b"}),
    ]
    for step in steps:
        assert not (await destination.write(ACCOUNT, fold([step])))[0].ask_stripe
    assert (await destination.rows("customers"))[KEY]["data"]["name"] == "c"


@pytest.mark.parametrize(
    ("current", "incoming", "verdict"),
    [
        (Version(1, {}), Version(2, {}), Verdict.WRITE),
        (Version(2, {}), Version(1, {"a": 1}), Verdict.OLDER),
        (Version(1, {}), Version(1, {}), Verdict.SAME),
        (Version(1, {}, is_deleted=True), Version(1, {"a": 1}), Verdict.OLDER),
        (Version(1, {}), Version(1, {}, is_deleted=True), Verdict.WRITE),
        (Version(1, {"a": 1}), Version(1, {"a": 2}, is_creation=True), Verdict.OLDER),
        (Version(1, {"a": 1}, is_creation=True), Version(1, {"a": 2}), Verdict.WRITE),
        (Version(1, {"a": 1}), Version(1, {"a": 2}, trail=({"a": 1},)), Verdict.WRITE),
        (Version(1, {"a": 2}, trail=({"a": 1},)), Version(1, {"a": 1}, is_creation=True), Verdict.OLDER),
        (Version(1, {"a": 2}, trail=({"a": 1},)), Version(1, {"a": 1}), Verdict.ASK_STRIPE),
        (Version(1, {"a": 1}), Version(1, {"a": 2}), Verdict.ASK_STRIPE),
        (Version(1, {"a": 1}, trail=({"a": 2},)), Version(1, {"a": 2}, trail=({"a": 1},)), Verdict.ASK_STRIPE),
        (Version(1, {"a": 1}, trail=({"a": 2},)), Version(1, {"a": 1}, trail=({"a": 3},)), Verdict.ASK_STRIPE),
        (Version(1, {"a": 3}, trail=({"a": 2},)), Version(1, {"a": 2}, trail=({"a": 1},)), Verdict.OLDER),
    ],
)
def test_verdict(current: Version, incoming: Version, verdict: Verdict) -> None:
    assert judge(current, incoming).verdict is verdict


def test_overlay_goes_into_hashes_and_takes_arrays_whole() -> None:
    document = {"a": 1, "meta": {"x": "new", "y": 1}, "list": [3]}
    assert overlay(document, {"meta": {"x": "old"}, "list": [1, 2]}) == {
        "a": 1,
        "meta": {"x": "old", "y": 1},
        "list": [1, 2],
    }


def test_null_and_absent_are_the_same_to_previous_attributes() -> None:
    assert is_equal({"a": {"b": None}, "c": 1}, {"a": {}, "c": 1})
