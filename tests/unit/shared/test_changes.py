"""What an event changed, from its two halves: short, sealed, and bound to its event."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.changes import LONGEST, LONGEST_VALUE, MOST, Change, Changes, changes_between, seal, unseal
from shared.crypto import SecretUnreadableError, make_encryption_key, parse_key_ring

KEYS = parse_key_ring(make_encryption_key("k1"))
EVENT = {"connection_id": "con_1", "event_id": "evt_1"}


def between(previous: Any, body: Any) -> Changes:
    return changes_between(json.dumps(previous).encode(), json.dumps(body).encode())


def test_fields_are_told_with_both_values_and_those_of_a_hash_one_by_one() -> None:
    body = {"refunded": True, "amount": 5, "billing_details": {"name": "Ada", "phone": "1"}, "tags": [1, 2]}
    told = between({"refunded": False, "billing_details": {"name": None}, "tags": [1], "gone": "x"}, body)
    assert told == Changes(
        (
            Change("refunded", "false", "true"),
            Change("billing_details.name", "null", '"Ada"'),
            Change("tags", "[1]", "[1, 2]"),
            Change("gone", '"x"', None),
        )
    )


def test_a_hash_that_was_no_hash_before_is_one_value() -> None:
    assert between({"address": None}, {"address": {"city": "Bern"}}).changes == (
        Change("address", "null", '{"city": "Bern"}'),
    )


def test_what_did_not_change_is_not_told() -> None:
    assert between({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 2, "d": 3}}) == Changes(())


def test_values_and_events_are_bounded() -> None:
    [change] = between({"a": "x" * 1000}, {"a": 1}).changes
    assert change.old is not None
    assert len(change.old) == LONGEST_VALUE + 1
    many = between({str(number): number for number in range(500)}, {})
    assert (len(many.changes), many.is_cut) == (MOST, True)
    long = between({str(number): "é" * 190 for number in range(40)}, {})
    assert long.is_cut
    assert len(seal(KEYS, long, **EVENT)) < LONGEST + 200


def test_what_is_sealed_is_opened_for_its_event_alone() -> None:
    told = between({"a": 1}, {"a": 2})
    sealed = seal(KEYS, told, **EVENT)
    assert unseal(KEYS, sealed, **EVENT) == told
    assert b'"a"' not in sealed
    for other in ({**EVENT, "event_id": "evt_2"}, {**EVENT, "connection_id": "con_2"}):
        with pytest.raises(SecretUnreadableError):
            unseal(KEYS, sealed, **other)
