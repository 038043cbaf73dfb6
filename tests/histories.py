"""Histories of one object as Stripe could deliver them: out of order, twice, late, with listings in between."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from services.destination_writer.records import Record
from shared.messages import Origin
from shared.stripe_api import STAMP_MARGIN
from tests.factories import make_record

BEGIN = 1_000_000


@dataclass(frozen=True)
class History:
    """What Stripe holds in the end, and the records in the order in which they arrive."""

    truth: dict[str, Any] | None  # None: deleted
    deliveries: tuple[Record, ...]
    end: int


@st.composite
def histories(draw: st.DrawFn, object_id: str = "cus_1") -> History:
    """Draw one to six versions with bursts in one second, a deletion, listings, duplicates, and any order."""
    records: list[Record] = []
    document: dict[str, Any] = {"name": "v0", "balance": 0, "metadata": {}}
    second = BEGIN
    records.append(make_record(object_id, second, event_type="customer.created", **document))
    timeline = [(second, document)]
    for version in range(1, draw(st.integers(1, 6))):
        second += draw(st.sampled_from([0, 0, 0, 1, 2, 10]))
        document, previous = _change(draw, document, version)
        timeline.append((second, document))
        # Stripe's `.updated` events always tell it, others don't; only an update brings an earlier body back.
        tells_previous = document["name"] == "v0" or draw(st.booleans())
        records.append(
            make_record(
                object_id,
                second,
                event_type="customer.updated",
                previous=previous if tells_previous else None,
                **document,
            )
        )
    is_deleted = draw(st.booleans())
    if is_deleted:
        second += draw(st.integers(0, 2))
        records.append(make_record(object_id, second, event_type="customer.deleted", is_deleted=True, **document))
    records += _listings(draw, object_id, timeline, second if is_deleted else None)
    again = draw(st.lists(st.sampled_from(records), max_size=3))
    order = draw(st.permutations([*records, *again]))
    return History(None if is_deleted else json.loads(_last_body(object_id, document)), tuple(order), second)


def _change(draw: st.DrawFn, document: dict[str, Any], version: int) -> tuple[dict[str, Any], dict[str, Any]]:
    field = draw(st.sampled_from(["name", "balance", "metadata", "back"]))
    if field == "back":  # a value that returns: the body before the last one again
        return document | {"name": "v0"}, {"name": document["name"]}
    value: Any = {"name": f"v{version}", "balance": version, "metadata": {"n": str(version)}}[field]
    previous: Any = {"n": document["metadata"].get("n")} if field == "metadata" else document[field]
    return document | {field: value}, {field: previous}


def _listings(
    draw: st.DrawFn, object_id: str, timeline: list[tuple[int, dict[str, Any]]], deleted_at: int | None
) -> list[Record]:
    """Draw reads that started at some moment and show what was true then; their stamp lies the margin before."""
    listings = []
    for _ in range(draw(st.integers(0, 2))):
        asked = draw(st.integers(BEGIN, timeline[-1][0] + 3))
        if deleted_at is not None and asked >= deleted_at:
            continue
        # Of the changes in the second of the read, it may have seen any.
        before = [document for second, document in timeline if second < asked]
        within = [document for second, document in timeline if second == asked]
        shown = draw(st.sampled_from([*before[-1:], *within])) if before or within else None
        if shown is not None:
            listings.append(make_record(object_id, asked - STAMP_MARGIN, origin=Origin.LISTED, **shown))
    return listings


def _last_body(object_id: str, document: dict[str, Any]) -> str:
    return json.dumps({"id": object_id, "object": "customer", **document})


def answer_of(history: History, object_id: str = "cus_1") -> Record:
    """Return what Stripe answers when it is asked after the margin: the truth, with a stamp that is surely newer."""
    document = history.truth or {"id": object_id}
    fields = {key: value for key, value in document.items() if key not in ("id", "object")}
    return make_record(object_id, history.end + 1, origin=Origin.REFETCHED, is_deleted=history.truth is None, **fields)
