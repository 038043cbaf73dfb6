"""What travels over Kafka: commands and facts as models, events and records as Stripe's own bytes with headers.

A record's body is never re-serialised on its way: what Stripe sent is what the destination parses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.bounds import (
    require_connection_id,
    require_event_id,
    require_json,
    require_moment,
    require_number,
    require_object_id,
    require_type,
)
from shared.errors import MessageError

Headers = list[tuple[str, bytes]]


class RequestSync(BaseModel):
    """Asks the sync worker to look at a sync; the row in `syncs` is the truth, this only wakes."""

    model_config = ConfigDict(frozen=True)
    type: Literal["request_sync"] = "request_sync"
    schema_version: Literal[1] = 1
    connection_id: str
    sync_id: str


def parse_command(value: bytes) -> RequestSync:
    """Return the command in `value`; raise `MessageError`."""
    try:
        return RequestSync.model_validate_json(value)
    except ValidationError as error:
        raise MessageError(f"The command does not parse: {error.errors()[0]['msg']}.") from error


class Origin(StrEnum):
    """Where Tillstream learned a record's state."""

    EVENT = "event"
    LISTED = "listed"
    REFETCHED = "refetched"


class EventObject(msgspec.Struct):
    """The identity of `data.object`."""

    object: str = ""
    id: str | None = None


class EventData(msgspec.Struct):
    """An event's `data`: the object's bytes as Stripe sent them."""

    object: msgspec.Raw
    previous_attributes: msgspec.Raw = msgspec.Raw()  # empty where the event tells none


class Event(msgspec.Struct):
    """The envelope of a Stripe event. https://docs.stripe.com/api/events/object"""

    id: str
    type: str
    created: int
    data: EventData
    livemode: bool = False
    api_version: str | None = None
    account: str | None = None
    object: str = "event"

    @property
    def subject(self) -> EventObject:
        """Type and id of the object that the event is about."""
        return _SUBJECT.decode(self.data.object)


_EVENT = msgspec.json.Decoder(Event)
_SUBJECT = msgspec.json.Decoder(EventObject)


def parse_event(body: bytes) -> Event:
    """Return the envelope of a Stripe event; raise `MessageError` saying what is missing or out of bounds."""
    try:
        event = _EVENT.decode(body)
        subject = event.subject
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"The body is no Stripe event: {error}.") from error
    if event.object != "event" or not event.id:
        raise MessageError(f"The body is no Stripe event but `{event.object[:50]}`.")
    if not subject.object:
        raise MessageError("The event's object has no type.")
    require_event_id(event.id)
    require_type(event.type)
    if subject.id:
        require_object_id(subject.id)
    require_json(body)
    return event


@dataclass(frozen=True, slots=True)
class RecordHeaders:
    """The headers of a record on `snapshots`."""

    connection_id: str
    resource: str
    stamp: int  # Stripe's clock, in seconds
    origin: Origin
    slice_id: int | None = None
    is_deleted: bool = False
    parent_id: str | None = None  # set on a part of a child set that did not fit in its parent
    is_complete: bool = False  # with `parent_id`: the last part of a complete child set
    is_compared: bool = False  # to be compared with its row, and not to be written
    account_id: str | None = None  # for consumers of one's own; ours know the connection
    livemode: bool | None = None  # likewise

    def encode(self) -> Headers:
        """Return the headers as Kafka takes them; those with the default value are left out."""
        headers = [
            ("connection", self.connection_id.encode()),
            ("resource", self.resource.encode()),
            ("stamp", str(self.stamp).encode()),
            ("origin", self.origin.encode()),
        ]
        optional = (("slice", self.slice_id), ("parent", self.parent_id), *_whose(self.account_id, self.livemode))
        headers += [(name, str(value).encode()) for name, value in optional if value is not None]
        flags = (("deleted", self.is_deleted), ("complete", self.is_complete), ("compare", self.is_compared))
        return headers + [(name, b"1") for name, is_set in flags if is_set]

    @classmethod
    def decode(cls, headers: Iterable[tuple[str, bytes]]) -> RecordHeaders:
        """Return the parsed headers; raise `MessageError` naming one that is missing or wrong."""
        found = {name: value.decode("utf-8", "replace") for name, value in headers}
        try:
            return cls(
                connection_id=require_connection_id(found["connection"]),
                resource=found["resource"],
                stamp=int(found["stamp"]),
                origin=Origin(found["origin"]),
                slice_id=require_number(int(found["slice"])) if "slice" in found else None,
                is_deleted="deleted" in found,
                parent_id=require_object_id(found["parent"]) if "parent" in found else None,
                is_complete="complete" in found,
                is_compared="compare" in found,
                account_id=found.get("account"),
                livemode=_livemode(found.get("mode")),
            )
        except (KeyError, ValueError) as error:
            raise MessageError(f"A header of the record is missing or wrong: {error}.") from error


@dataclass(frozen=True, slots=True)
class EventHeaders:
    """The headers of an event on `events`."""

    connection_id: str
    received_at_ms: int  # our clock, for latency only
    account_id: str | None = None  # for consumers of one's own; ours know the connection
    livemode: bool | None = None  # likewise

    def encode(self) -> Headers:
        """Return the headers as Kafka takes them."""
        return [
            ("connection", self.connection_id.encode()),
            ("received_at_ms", str(self.received_at_ms).encode()),
            *((name, value.encode()) for name, value in _whose(self.account_id, self.livemode) if value is not None),
        ]

    @classmethod
    def decode(cls, headers: Iterable[tuple[str, bytes]]) -> EventHeaders:
        """Return the parsed headers; raise `MessageError` naming one that is missing or wrong."""
        found = {name: value.decode("utf-8", "replace") for name, value in headers}
        try:
            received_at_ms = int(found.get("received_at_ms", "0"))
            require_moment(received_at_ms // 1000)
            return cls(
                connection_id=require_connection_id(found["connection"]),
                received_at_ms=received_at_ms,
                account_id=found.get("account"),
                livemode=_livemode(found.get("mode")),
            )
        except (KeyError, ValueError) as error:
            raise MessageError(f"A header of the event is missing or wrong: {error}.") from error


def _whose(account_id: str | None, livemode: bool | None) -> tuple[tuple[str, str | None], ...]:
    mode = None if livemode is None else "live" if livemode else "test"
    return ("account", account_id), ("mode", mode)


def _livemode(mode: str | None) -> bool | None:
    return None if mode is None else mode == "live"
