"""Which version of an object wins: the rule as pure functions.

The later stamp wins. Equal stamps with different bodies are settled where the events allow it, since Stripe's
clock has whole seconds; else Stripe is asked. Destinations apply the same rule, and one contract holds them to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from services.destination_writer.records import Record
from shared.messages import Origin
from shared.stripe_api import STAMP_MARGIN

Document = Any  # parsed JSON


class Outcome(StrEnum):
    """What became of a record at a destination."""

    INSERTED = "inserted"
    UPDATED = "updated"
    UNCHANGED = "unchanged"  # the body was equal: at most the stamp advanced
    DELETED = "deleted"
    IGNORED = "ignored"  # a newer version is there
    FAILED = "failed"  # it became a dead letter
    PARKED = "parked"  # the destination could not take it yet
    REFUSED = "refused"  # the connection is gone


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
    is_listed: bool = False
    predecessor: Document = None  # the document before this one, where the event tells it


@dataclass(frozen=True, slots=True)
class Winner:
    """The newest version of one object in a batch, with the same-second versions that led to it."""

    record: Record
    chain: tuple[Record, ...]  # oldest first, ends with `record`; all of one stamp
    ask_stripe: bool = False


def judge(current: Version, incoming: Version) -> Verdict:
    """Say what becomes of `incoming` where `current` is."""
    if incoming.stamp != current.stamp:
        return Verdict.WRITE if incoming.stamp > current.stamp else Verdict.OLDER
    if incoming.is_deleted or current.is_deleted:
        if incoming.is_deleted and current.is_deleted:
            return Verdict.SAME
        return Verdict.WRITE if incoming.is_deleted else Verdict.OLDER
    if incoming.document == current.document:
        return Verdict.SAME
    return _judge_tie(current, incoming)


def _judge_tie(current: Version, incoming: Version) -> Verdict:
    if incoming.is_creation != current.is_creation:
        return Verdict.OLDER if incoming.is_creation else Verdict.WRITE
    if incoming.predecessor is not None and is_equal(incoming.predecessor, current.document):
        return Verdict.WRITE
    if current.predecessor is not None and is_equal(current.predecessor, incoming.document):
        return Verdict.OLDER
    return Verdict.ASK_STRIPE


def is_doubtful(*, is_silent: bool, current_is_listed: bool, current_stamp: int, incoming: Record) -> bool:
    """Tell whether a listing that changed without an event may be newer than this event.

    A listing's stamp lies `STAMP_MARGIN` before its request, so an event in between may be older than it.
    """
    if not is_silent or not current_is_listed or incoming.origin is not Origin.EVENT:
        return False
    return 0 < incoming.stamp - current_stamp <= STAMP_MARGIN + 1


def version_of(record: Record) -> Version:
    """Return what the rule looks at in a record."""
    document = msgspec.json.decode(record.body) if record.body else None
    previous = msgspec.json.decode(record.previous) if record.previous else None
    return Version(
        record.stamp,
        document,
        is_deleted=record.is_deleted,
        is_creation=bool(record.event_type and record.event_type.endswith(".created")),
        is_listed=record.origin is not Origin.EVENT,
        predecessor=overlay(document, previous) if previous is not None else None,
    )


def overlay(document: Document, previous: Document) -> Document:
    """Return the document as it was before the event. https://docs.stripe.com/api/events/object

    `previous_attributes` holds, of a changed hash, only the keys that changed; an array it holds whole.
    """
    if not isinstance(document, dict) or not isinstance(previous, dict):
        return previous
    return document | {key: overlay(document.get(key), value) for key, value in previous.items()}


def is_equal(one: Document, other: Document) -> bool:
    """Compare documents; a key that is null and one that is absent are the same to `previous_attributes`."""
    return bool(_without_nulls(one) == _without_nulls(other))


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
        winners[key] = _meet(winners[key], record) if key in winners else Winner(record, (record,))
    return list(winners.values())


def _meet(winner: Winner, record: Record) -> Winner:
    if record.stamp != winner.record.stamp:
        return Winner(record, (record,)) if record.stamp > winner.record.stamp else winner
    verdict = judge(version_of(winner.record), version_of(record))
    if verdict is Verdict.WRITE:
        return Winner(record, (*winner.chain, record), winner.ask_stripe and not record.is_deleted)
    if verdict is Verdict.ASK_STRIPE:
        return Winner(record, (record,), ask_stripe=True)
    return winner


def judge_chain(current: Version, chain: Sequence[Record]) -> Verdict:
    """Say what becomes of a chain's end: it follows `current` if any link of the chain is, or follows, `current`."""
    versions = [version_of(record) for record in chain]
    verdict = judge(current, versions[-1])
    if verdict is not Verdict.ASK_STRIPE:
        return verdict
    if any(judge(current, version) in (Verdict.SAME, Verdict.WRITE) for version in versions[:-1]):
        return Verdict.WRITE
    return Verdict.ASK_STRIPE
