"""The pure parts of our endpoint at Stripe."""

from __future__ import annotations

import pytest

from shared.webhook_endpoints import LIMIT_REACHED, merge_events


def test_events_are_added_and_never_taken_away() -> None:
    assert merge_events(["charge.failed", "person.created"], ["charge.failed", "charge.updated"]) == {
        "charge.failed",
        "charge.updated",
        "person.created",
    }


def test_endpoint_for_every_event_needs_no_list() -> None:
    assert merge_events(["*"], ["charge.failed"]) == {"*"}


@pytest.mark.parametrize(
    "message",
    [
        "You have reached the maximum of 16 test webhook endpoints",
        "You have reached the maximum of 100 live webhook endpoints.",
    ],
)
def test_full_account_is_recognised_whatever_its_limit(message: str) -> None:
    assert LIMIT_REACHED.search(message)
