"""Which version of an object wins: the rule as pure functions.

The later stamp wins. Equal stamps with different bodies are settled where the events allow it, since Stripe's
clock has whole seconds; else Stripe is asked. Destinations apply the same rule, and one contract holds them to it.

What an event tells of the document before it (`previous_attributes`) makes a trail: the documents of one second,
newest first. A document that comes back within its second (A, B, A) can't be told from a late one, so a trail
that would meet itself is a question for Stripe.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import msgspec

from services.destination_writer.records import Position, Record
from shared.messages import Origin
from shared.stripe_api import STAMP_MARGIN

Document = Any  # parsed JSON
Patch = Any  # parsed previous_attributes


class Outcome(StrEnum):
    """What became of a record at a destination."""

    INSERTED = "inserted"
    UPDATED = "updated"
    UNCHANGED = "unchanged"  # the body was equal: at most the stamp advanced
    DELETED = "deleted"
    IGNORED = "ignored"  # a newer version is there
    FAILED = "failed"  # it became a dead letter
    PARKED = "parked"  # the destination could not take it yet
    LEFT_OUT = "left_out"  # too much waits for the destination: it is read from Stripe again
    NOT_SYNCED = "not_synced"  # the connection does not want it


class Reason(StrEnum):
    """Why nothing else became of a record at a destination."""

    OLDER = "older"  # a newer version is there
    EQUAL = "equal"  # the row said the same already
    TOMBSTONE = "tombstone"  # the object was deleted later, or in the same second
    TIE = "tie"  # versions of one second that only Stripe can put in order
    RESOURCE = "resource_not_synced"
    START_DATE = "before_start_date"
    UNLINKED = "destination_removed"  # the connection does not deliver there any more


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one record at one destination."""

    connection_id: str
    destination_id: str
    resource: str
    outcome: Outcome
    position: Position
    slice_id: int | None = None
    origin: Origin = Origin.LISTED
    object_id: str = ""
    stamp: int = 0
    reason: Reason | None = None
    at: float = 0.0  # Unix seconds, in our clock

    @property
    def is_live(self) -> bool:
        """Whether it is of an event."""
        return self.origin is Origin.EVENT


class Verdict(StrEnum):
    """What the rule says of a version that meets another one."""

    WRITE = "write"
    SAME = "same"
    OLDER = "older"
    ASK_STRIPE = "ask_stripe"


@dataclass(frozen=True, slots=True)
class Version:
    """What the rule looks at."""

    stamp: int
    document: Document
    is_deleted: bool = False
    is_creation: bool = False
    trail: tuple[Patch, ...] = ()  # previous_attributes that lead back from the document, newest first


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of a version that meets another one, and the trail that is then known of the row."""

    verdict: Verdict
    trail: tuple[Patch, ...]


@dataclass(frozen=True, slots=True)
class Winner:
    """The newest version of one object in a batch, with all versions of its second."""

    record: Record
    chain: tuple[Record, ...]  # in the order of arrival; all of one stamp
    trail: tuple[Patch, ...] = ()
    ask_stripe: bool = False

    def reason_against(self, loser: Record) -> Reason:
        """Say why another record of the object, from the same batch, is not written."""
        if loser.stamp < self.record.stamp:
            return Reason.OLDER
        if self.record.is_deleted:
            return Reason.EQUAL if loser.is_deleted else Reason.TOMBSTONE
        if loser.body == self.record.body:
            return Reason.EQUAL
        return Reason.TIE if self.ask_stripe else Reason.OLDER


def judge(current: Version, incoming: Version) -> Judgement:
    """Say what becomes of `incoming` where `current` is."""
    if incoming.stamp > current.stamp:
        return Judgement(Verdict.WRITE, incoming.trail)
    if incoming.stamp < current.stamp:
        return Judgement(Verdict.OLDER, current.trail)
    if current.is_deleted:
        return Judgement(Verdict.SAME if incoming.is_deleted else Verdict.OLDER, current.trail)
    if incoming.is_deleted:
        return Judgement(Verdict.WRITE, ())
    if incoming.document == current.document:
        return _judge_same(current, incoming)
    return _judge_tie(current, incoming)


def _judge_same(current: Version, incoming: Version) -> Judgement:
    is_return = incoming.is_creation and current.trail  # it was created so, and came back to it
    if not is_return and (not incoming.trail or current.trail[:1] == incoming.trail):
        return Judgement(Verdict.SAME, current.trail)
    if not is_return and not current.trail:
        return Judgement(Verdict.SAME, incoming.trail)
    return Judgement(Verdict.ASK_STRIPE, current.trail)  # it came from two documents, so it was there twice


def _judge_tie(current: Version, incoming: Version) -> Judgement:
    before = next(iter(_left_behind(incoming)), None)
    seen = list(_left_behind(current))
    if before is not None and is_equal(before, current.document):
        if _position(seen, incoming.document) is None:
            return Judgement(Verdict.WRITE, incoming.trail + current.trail)
        return Judgement(Verdict.ASK_STRIPE, current.trail)
    if _position(seen, incoming.document) is not None:
        return _judge_late(current, seen, incoming, before)
    if incoming.is_creation:
        oldest = seen[-1] if seen else current.document
        return Judgement(Verdict.OLDER, (*current.trail, difference(oldest, incoming.document)))
    if current.is_creation:
        oldest = incoming.document if before is None else before
        return Judgement(Verdict.WRITE, (*incoming.trail, difference(oldest, current.document)))
    return Judgement(Verdict.ASK_STRIPE, current.trail)


def _judge_late(current: Version, seen: list[Document], incoming: Version, before: Document) -> Judgement:
    """Judge a document that the trail has already: late, unless the trail meets itself."""
    older = seen[(_position(seen, incoming.document) or 0) + 1 :]
    if (incoming.is_creation and not older) or (before is not None and older and is_equal(older[0], before)):
        return Judgement(Verdict.OLDER, current.trail)
    if before is not None and not older and _position([current.document, *seen], before) is None:
        return Judgement(Verdict.OLDER, current.trail + incoming.trail)
    return Judgement(Verdict.ASK_STRIPE, current.trail)


def _left_behind(version: Version) -> Iterator[Document]:
    """Yield the documents that were there before this one within its second, newest first."""
    document = version.document
    for patch in version.trail:
        document = overlay(document, patch)
        yield document


def _position(documents: Sequence[Document], wanted: Document) -> int | None:
    return next((index for index, document in enumerate(documents) if is_equal(document, wanted)), None)


def is_doubtful(*, is_silent: bool, current_is_listed: bool, current_stamp: int, incoming: Record) -> bool:
    """Tell whether an event and what Stripe answered are too close to be ordered.

    An answer's stamp lies `STAMP_MARGIN` before its request: an event in between looks newer, and may be older.
    Where every change has its event, that matters only for the answer to a question, which else settles nothing.
    """
    if incoming.origin is Origin.EVENT:
        return is_silent and current_is_listed and 0 < incoming.stamp - current_stamp <= STAMP_MARGIN + 1
    matters = is_silent or incoming.origin is Origin.REFETCHED
    return matters and not current_is_listed and 0 < current_stamp - incoming.stamp <= STAMP_MARGIN + 1


def version_of(record: Record) -> Version:
    """Return what the rule looks at in a record."""
    return Version(
        record.stamp,
        msgspec.json.decode(record.body) if record.body else None,
        is_deleted=record.is_deleted,
        is_creation=bool(record.event_type and record.event_type.endswith(".created")),
        trail=trail_of(record),
    )


def trail_of(record: Record) -> tuple[Patch, ...]:
    """Return the trail that the record itself tells."""
    return (msgspec.json.decode(record.previous),) if record.previous and not record.is_deleted else ()


def overlay(document: Document, previous: Patch) -> Document:
    """Return the document as it was before the event. https://docs.stripe.com/api/events/object

    `previous_attributes` holds, of a changed hash, only the keys that changed; an array it holds whole.
    """
    if not isinstance(document, dict) or not isinstance(previous, dict):
        return previous
    return document | {key: overlay(document.get(key), value) for key, value in previous.items()}


def difference(document: Document, earlier: Document) -> Patch:
    """Return the patch that leads from `document` back to `earlier`: the inverse of what `overlay` applies."""
    if not isinstance(document, dict) or not isinstance(earlier, dict):
        return earlier
    changed = {key for key in document.keys() | earlier.keys() if document.get(key) != earlier.get(key)}
    return {key: difference(document.get(key), earlier.get(key)) for key in changed}


def is_equal(one: Document, other: Document) -> bool:
    """Compare documents; a key that is null and one that is absent are the same to `previous_attributes`."""
    return bool(one == other or _without_nulls(one) == _without_nulls(other))


def _without_nulls(document: Document) -> Document:
    if isinstance(document, dict):
        return {key: _without_nulls(value) for key, value in document.items() if value is not None}
    if isinstance(document, list):
        return [_without_nulls(value) for value in document]
    return document


def fold(records: Sequence[Record]) -> list[Winner]:
    """Return the newest version of each object in a batch, in the order in which the objects first appear."""
    winners: dict[tuple[str, str], Winner] = {}
    for record in records:
        key = (record.resource.name, record.object_id)
        winners[key] = _meet(winners[key], record) if key in winners else Winner(record, (record,), trail_of(record))
    return list(winners.values())


def _meet(winner: Winner, record: Record) -> Winner:
    if record.stamp > winner.record.stamp:
        return Winner(record, (record,), trail_of(record))
    if record.stamp < winner.record.stamp:
        return winner
    chain = (*winner.chain, record)
    result = settle_chain(replace(version_of(winner.record), trail=winner.trail), [record])
    newest = winner.record if result.record is None else result.record
    return Winner(newest, chain, result.trail, winner.ask_stripe or result.ask_stripe)


@dataclass(frozen=True, slots=True)
class ChainResult:
    """What comes of the versions of one second that meet a row of the same second."""

    record: Record | None  # the one that is to be written; None leaves the row's document
    trail: tuple[Patch, ...]
    ask_stripe: bool
    verdict: Verdict


def settle_chain(current: Version, chain: Sequence[Record]) -> ChainResult:
    """Let each version of a chain meet the row, one after the other."""
    written: Record | None = None
    ask, verdict = False, Verdict.OLDER
    for record in chain:
        incoming = version_of(record)
        judgement = judge(current, incoming)
        verdict = judgement.verdict
        ask |= verdict is Verdict.ASK_STRIPE
        if verdict is Verdict.WRITE:
            written, current = record, incoming
        current = replace(current, trail=judgement.trail)
    return ChainResult(written, current.trail, ask and not current.is_deleted, verdict)
