"""Which hints are answered by a page of a list."""

from __future__ import annotations

import json

from services.sync_worker.hint_spans import LEAST, REACH, Span, find_spans
from shared.messages import Event, parse_event

NOW = 1_790_000_000


def hint(resource: str, number: int, created: int, *, at: int = NOW) -> Event:
    body = {"id": f"{resource}_{number}", "object": resource, "created": created}
    event = {"id": f"evt_{number}", "object": "event", "type": f"{resource}.updated", "created": at}
    return parse_event(json.dumps(event | {"data": {"object": body}}).encode())


def wanted(hints: list[Event]) -> set[tuple[str, str]]:
    return {(hint.subject.object, hint.subject.id or "") for hint in hints}


def test_objects_that_were_made_together_are_one_span() -> None:
    hints = [hint("charge", number, NOW - number) for number in range(5)]
    ids = frozenset(f"charge_{number}" for number in range(5))
    assert find_spans(hints, wanted(hints)) == [Span("charge", NOW - 4, NOW, ids)]


def test_few_objects_are_not_worth_a_page() -> None:
    hints = [hint("charge", number, NOW) for number in range(LEAST - 1)]
    assert find_spans(hints, wanted(hints)) == []


def test_old_objects_are_asked_for_alone() -> None:
    hints = [hint("charge", number, NOW - REACH - 1) for number in range(9)]
    assert find_spans(hints, wanted(hints)) == []


def test_what_is_not_wanted_any_more_is_not_looked_for() -> None:
    hints = [hint("charge", number, NOW) for number in range(9)]
    assert find_spans(hints, wanted(hints[: LEAST - 1])) == []


def test_a_list_that_cannot_be_cut_by_date_or_hides_objects_is_no_span() -> None:
    hints = [hint(name, number, NOW) for name in ("payment_method", "price") for number in range(9)]
    assert find_spans(hints, wanted(hints)) == []


def test_each_resource_has_a_span_of_its_own() -> None:
    hints = [hint(name, number, NOW) for name in ("charge", "customer") for number in range(LEAST)]
    assert [span.resource for span in find_spans(hints, wanted(hints))] == ["charge", "customer"]


def test_nothing_is_no_span() -> None:
    assert find_spans([], set()) == []
