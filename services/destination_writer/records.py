"""From a Kafka record to what is to be done with it: a version of an object, a part of a child set, or only hints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec
from aiokafka import ConsumerRecord

from shared.bounds import is_ahead, is_object_id, require_json, require_moment, require_object_id, require_past
from shared.catalogue import BY_NAME, CHILDREN, Child, Resource, dependents, is_deletion, resource_for_event
from shared.dead_letters import Replay, find_replay
from shared.errors import MessageError
from shared.hints import named_ids
from shared.messages import Event, EventHeaders, Origin, RecordHeaders, parse_event
from shared.stripe_api import API_VERSION
from shared.stripe_pages import parse_item

CHILD_BY_NAME: dict[str, tuple[Resource, Child]] = {child.name: (parent, child) for parent, child in CHILDREN}
T = TypeVar("T")
NEWEST_OF_LIST = "*"  # instead of an object's id: the newest part of the resource's list


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record lies on the broker."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Record:
    """One version of one object, on its way to a destination."""

    connection_id: str
    resource: Resource
    object_id: str
    stamp: int  # Stripe's clock, in seconds
    body: bytes  # the object, as Stripe sent it
    origin: Origin
    position: Position
    is_deleted: bool = False
    slice_id: int | None = None
    event_type: str | None = None
    previous: bytes | None = None  # the event's previous_attributes
    replay: Replay | None = None  # the dead letter that it comes from
    is_compared: bool = False  # with its row, instead of being written


@dataclass(frozen=True, slots=True)
class ChildPart:
    """A part of a child set that did not fit in its parent; the last part makes the set complete."""

    connection_id: str
    child: Child
    parent_resource: str
    parent_id: str
    stamp: int
    bodies: tuple[bytes, ...]
    is_complete: bool
    position: Position
    parent_from: int | None = None  # Unix seconds: nothing is written of a parent that was made before


@dataclass(frozen=True, slots=True)
class Refetch:
    """An object that Stripe has to be asked about."""

    connection_id: str
    resource: str
    object_id: str
    reason: str
    stamp: int  # the answer must be newer than this second of Stripe's clock; 0 when any answer does
    is_held: bool = False  # until a destination that is behind has caught up
    told_by: str | None = None  # type of an event of the object that, of this second or later, makes it needless


@dataclass(frozen=True, slots=True)
class EventEntry:
    """What the event log keeps of an event."""

    connection_id: str
    event_id: str
    type: str
    created: int
    resource: str | None
    object_id: str | None
    received_at_ms: int
    position: Position
    livemode: bool = True


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a Kafka record asks for."""

    connection_id: str
    position: Position
    record: Record | None = None
    part: ChildPart | None = None
    event: EventEntry | None = None
    refetches: tuple[Refetch, ...] = ()
    replay: Replay | None = None


class _Children(msgspec.Struct):
    data: list[msgspec.Raw]


_CHILDREN = msgspec.json.Decoder(_Children)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parse_snapshot(message: ConsumerRecord) -> Parsed:
    """Return what a record of `snapshots` asks for; raise `MessageError`."""
    headers = RecordHeaders.decode(message.headers)
    position = Position(message.topic, message.partition, message.offset)
    if headers.parent_id is not None:
        parent, child = _known(CHILD_BY_NAME, headers.resource)
        part = ChildPart(
            headers.connection_id,
            child,
            parent.name,
            headers.parent_id,
            require_moment(headers.stamp),
            _split_children(_text(message.value or b"")),
            headers.is_complete,
            position,
        )
        return Parsed(headers.connection_id, position, part=part, replay=find_replay(message.headers))
    record = Record(
        headers.connection_id,
        _known(BY_NAME, headers.resource),
        require_object_id((message.key or b"").decode("utf-8", "replace").partition(":")[2]),
        require_moment(headers.stamp),
        _object(message.value or b"", is_deleted=headers.is_deleted),
        headers.origin,
        position,
        is_deleted=headers.is_deleted,
        slice_id=headers.slice_id,
        replay=find_replay(message.headers),
        is_compared=headers.is_compared,
    )
    return Parsed(headers.connection_id, position, record=record, replay=record.replay)


def parse_live(message: ConsumerRecord) -> Parsed:
    """Return what a record of `events` asks for; raise `MessageError`.

    An event in another API version than ours only hints that its object changed: the object is asked for. So does one
    of an object with fields that Stripe gives only when they are asked for.
    """
    headers = EventHeaders.decode(message.headers)
    event = parse_event(_text(message.value or b""))
    position = Position(message.topic, message.partition, message.offset)
    subject = event.subject
    resource = resource_for_event(event.type, subject.object)
    hints = _hinted(headers.connection_id, event)
    object_id = subject.id
    if resource and not resource.has_id:
        object_id, hints = None, (*hints, Refetch(headers.connection_id, resource.name, "", event.type, 0))
    entry = EventEntry(
        headers.connection_id,
        event.id,
        event.type,
        require_moment(event.created),
        resource.name if resource else None,
        subject.id,
        headers.received_at_ms,
        position,
        event.livemode,
    )
    replay = find_replay(message.headers)
    if resource is None or object_id is None:
        return Parsed(headers.connection_id, position, event=entry, refetches=hints, replay=replay)
    if reason := _why_to_ask(event, resource):
        asked = Refetch(headers.connection_id, resource.name, object_id, reason, event.created)
        return Parsed(headers.connection_id, position, event=entry, refetches=(*hints, asked), replay=replay)
    record = Record(
        headers.connection_id,
        resource,
        object_id,
        event.created,
        bytes(event.data.object),
        Origin.EVENT,
        position,
        is_deleted=is_deletion(event.type),
        event_type=event.type,
        previous=_previous(event),
        replay=replay,
    )
    return Parsed(headers.connection_id, position, record=record, event=entry, refetches=hints, replay=replay)


def _why_to_ask(event: Event, resource: Resource) -> str | None:
    if event.api_version != API_VERSION:
        return "another API version"
    return "fields that no event has" if resource.expand and not is_deletion(event.type) else None


def require_timely(parsed: Parsed, now: float) -> Parsed:
    """Return what a record asks for, if it does not claim to come from the future; raise `MessageError`.

    `now` is in Unix seconds. In test mode an event may, since test clocks are set ahead: it counts as of now, and only
    hints that its object changed. https://docs.stripe.com/billing/testing/test-clocks
    """
    if parsed.event and not parsed.event.livemode and is_ahead(parsed.event.created, now):
        return _as_hint(parsed, parsed.event, int(now))
    for moment in (
        parsed.record.stamp if parsed.record else 0,
        parsed.part.stamp if parsed.part else 0,
        parsed.event.created if parsed.event else 0,
    ):
        require_past(moment, now)
    return parsed


def _as_hint(parsed: Parsed, event: EventEntry, second: int) -> Parsed:
    record, hints = parsed.record, [replace(hint, stamp=min(hint.stamp, second)) for hint in parsed.refetches]
    if record:
        reason = "ahead of the clock"
        hints.append(Refetch(record.connection_id, record.resource.name, record.object_id, reason, second))
    return replace(parsed, record=None, event=replace(event, created=second), refetches=tuple(hints))


def _previous(event: Event) -> bytes | None:
    told = bytes(event.data.previous_attributes)
    return told if told.startswith(b"{") else None


def _hinted(connection_id: str, event: Event) -> tuple[Refetch, ...]:
    """What else may have changed: by its id where the object names it, else the newest of its list."""
    hinted = dependents(event.type)
    if not hinted:
        return ()
    fields = _FIELDS.decode(event.data.object)
    return tuple(
        Refetch(
            connection_id,
            row.name,
            object_id,
            event.type,
            event.created,
            told_by=dict(row.told_by).get(event.type),
        )
        for row in hinted
        for object_id in (named_ids(row, event.data.object) if row.named_in else [_named_id(row, fields)])
    )


def _named_id(row: Resource, fields: dict[str, msgspec.Raw]) -> str:
    if row.is_singleton:
        return ""
    if row.has_created_filter and not row.events:
        return NEWEST_OF_LIST  # one page of the list costs less than a call for each object
    named = bytes(fields.get(row.object, msgspec.Raw(b"null")))
    object_id = msgspec.json.decode(named, type=str) if named.startswith(b'"') else ""
    return object_id if is_object_id(object_id) else NEWEST_OF_LIST


def _split_children(value: bytes) -> tuple[bytes, ...]:
    try:
        bodies = tuple(bytes(raw) for raw in _CHILDREN.decode(require_json(value)).data)
        for body in bodies:
            require_object_id(parse_item(body).id or "")
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageError(f"The part of a child set does not parse: {error}.") from error
    return bodies


def _text(body: bytes) -> bytes:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise MessageError(f"The body is no UTF-8: byte {error.start} can't be read.") from error
    return body


def _object(body: bytes, *, is_deleted: bool) -> bytes:
    """Return the body of an object; of one that is gone it may be empty."""
    _text(body)
    if is_deleted and not body:
        return body
    if not body.lstrip().startswith(b"{"):
        raise MessageError("The body is no JSON object.")
    return require_json(body)


def _known(rows: Mapping[str, T], name: str) -> T:
    try:
        return rows[name]
    except KeyError:
        raise MessageError(f"The resource {name[:80]} is unknown to this release.") from None


def has_nul(body: bytes) -> bool:
    """Tell whether a text of the body may hold a NUL, which most destinations can't keep."""
    return b"\\u0000" in body


def positions(parsed: Iterable[Parsed]) -> dict[tuple[str, int], int]:
    """Return, per topic and partition, the offset that follows the last record."""
    following: dict[tuple[str, int], int] = {}
    for item in parsed:
        where = (item.position.topic, item.position.partition)
        following[where] = max(following.get(where, 0), item.position.offset + 1)
    return following
