"""What travels over Kafka keeps its form: every message has a golden file, so that a change of it shows in review.

A service of the release before reads what this one writes, and the other way round.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from shared import messages
from shared.errors import MessageError
from shared.messages import EventHeaders, Headers, Origin, RecordHeaders, RequestSync, parse_command, parse_event

GOLDEN = Path(__file__).parent / "data" / "messages"
SYNC = RequestSync(connection_id="con_1", sync_id="syn_1")
RECORDS = {
    "record_headers": RecordHeaders("con_1", "charge", 1_700_000_000, Origin.LISTED),
    "record_headers_of_a_slice": RecordHeaders(
        "con_1", "charge", 1_700_000_000, Origin.REFETCHED, slice_id=42, is_deleted=True
    ),
    "record_headers_of_an_account": RecordHeaders(
        "con_1", "charge", 1_700_000_000, Origin.LISTED, account_id="acct_1", livemode=False
    ),
    "record_headers_of_a_comparison": RecordHeaders(
        "con_1", "charge", 1_700_000_000, Origin.LISTED, slice_id=42, is_compared=True
    ),
    "record_headers_of_a_child_set": RecordHeaders(
        "con_1", "invoice_line_item", 1_700_000_000, Origin.REFETCHED, parent_id="in_1", is_complete=True
    ),
}
EVENT = EventHeaders("con_1", 1_700_000_000_123)


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))


def as_json(headers: Headers) -> dict[str, str]:
    return {name: value.decode() for name, value in headers}


def as_headers(values: dict[str, str]) -> Headers:
    return [(name, value.encode()) for name, value in values.items()]


def test_every_message_is_covered_here() -> None:
    """A message is a model, or what writes itself into headers."""
    found = {
        name
        for name, kind in inspect.getmembers(messages, inspect.isclass)
        if kind.__module__ == messages.__name__ and (issubclass(kind, BaseModel) or hasattr(kind, "encode"))
    } - {Origin.__name__}
    assert found == {type(message).__name__ for message in (SYNC, EVENT, *RECORDS.values())}


def test_command_is_written_as_its_golden_file_says() -> None:
    assert json.loads(SYNC.model_dump_json()) == golden("request_sync")


def test_command_is_read_again() -> None:
    assert parse_command(json.dumps(golden("request_sync")).encode()) == SYNC


def test_command_with_a_field_of_a_later_release_is_read() -> None:
    later = golden("request_sync") | {"reason": "something new"}
    assert parse_command(json.dumps(later).encode()) == SYNC


def test_command_of_another_version_is_refused() -> None:
    with pytest.raises(MessageError):
        parse_command(json.dumps(golden("request_sync") | {"schema_version": 2}).encode())


@pytest.mark.parametrize("name", RECORDS)
def test_record_headers_are_written_as_their_golden_file_says(name: str) -> None:
    assert as_json(RECORDS[name].encode()) == golden(name)


@pytest.mark.parametrize("name", RECORDS)
def test_record_headers_are_read_again(name: str) -> None:
    assert RecordHeaders.decode(as_headers(golden(name) | {"later": "1"})) == RECORDS[name]


@pytest.mark.parametrize("missing", ["connection", "resource", "stamp", "origin"])
def test_missing_record_header_is_named(missing: str) -> None:
    headers = as_headers({name: value for name, value in golden("record_headers").items() if name != missing})
    with pytest.raises(MessageError, match=missing):
        RecordHeaders.decode(headers)


def test_event_headers_are_written_as_their_golden_file_says() -> None:
    assert as_json(EVENT.encode()) == golden("event_headers")


def test_event_headers_are_read_again() -> None:
    assert EventHeaders.decode(as_headers(golden("event_headers") | {"later": "1"})) == EVENT


def test_event_keeps_the_bytes_of_its_object() -> None:
    body = (GOLDEN / "event.json").read_bytes()
    event = parse_event(body)
    assert bytes(event.data.object) in body
    assert (event.id, event.type, event.created) == ("evt_1", "charge.updated", 1_700_000_000)
    assert (event.subject.object, event.subject.id) == ("charge", "ch_1")
    assert json.loads(bytes(event.data.previous_attributes)) == {"description": None}
