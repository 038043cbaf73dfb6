"""How a dead letter is tried again: a pure rule over what is kept of it.

Its record is published again, since the newest version wins. One that is older than deletions are remembered for sure,
or that can't be read, is asked for at Stripe instead. A webhook that never came as far as a topic is accepted anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from shared.catalogue import BY_NAME, CHILDREN
from shared.dead_letters import Replay
from shared.errors import MessageError
from shared.kafka import Outgoing
from shared.messages import RecordHeaders, parse_event
from shared.topics import EVENTS, SNAPSHOTS, Topic

TOMBSTONE_DAYS = 34  # deletions are remembered for 35; a day less, since clocks differ and records take their way
DAY = 86_400  # seconds
PARENTS = {child.name: parent.name for parent, child in CHILDREN}
OF_SLICE = "slice"  # a header: that slice is long done, and does not count this record


class Way(StrEnum):
    """How a letter is tried again."""

    PUBLISH = "publish"
    ACCEPT = "accept"
    ASK_STRIPE = "ask_stripe"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class KeptLetter:
    """What is kept of a dead letter."""

    id: int
    stage: str
    connection_id: str | None
    destination_id: str
    topic: str
    key: str
    headers: Mapping[str, str]
    body: bytes
    resource: str | None
    object_id: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done with a letter."""

    way: Way
    reason: str = ""  # of NONE: why nothing can be done
    topic: Topic | None = None
    resource: str = ""
    object_id: str = ""


def plan_of(letter: KeptLetter, *, topic_prefix: str, now: float) -> Plan:
    """Return how the letter is tried again; `now` is in seconds since 1970."""
    if letter.connection_id is None:
        return Plan(Way.NONE, "It belongs to no connection, so there is nowhere to deliver it.")
    if letter.stage == "gateway":
        return Plan(Way.ACCEPT)
    topic = _topic_of(letter, topic_prefix)
    if topic is None:
        return Plan(Way.NONE, "It is no record of an object, so there is nothing to be written. Discard it.")
    stamp = _stamp_of(letter, topic)
    if stamp is None or not _is_readable(letter.body):
        return _ask(letter, "It can't be read, and does not tell which object it is about")
    if now - stamp > TOMBSTONE_DAYS * DAY:
        return _ask(letter, "It is older than deletions are remembered, and does not tell which object it is about")
    return Plan(Way.PUBLISH, topic=topic)


def outgoing(letter: KeptLetter) -> Outgoing:
    """Return the letter's record, marked as its replay."""
    headers = [(name, value.encode()) for name, value in letter.headers.items() if name != OF_SLICE]
    return Outgoing(letter.key.encode(), letter.body, [*headers, Replay(letter.id, letter.destination_id).encode()])


def _topic_of(letter: KeptLetter, prefix: str) -> Topic | None:
    if letter.stage == "write" or (letter.stage == "read" and letter.resource):
        return SNAPSHOTS  # its headers are those of a snapshot, wherever it came from
    return next((topic for topic in (EVENTS, SNAPSHOTS) if letter.topic == topic.name(prefix)), None)


def _stamp_of(letter: KeptLetter, topic: Topic) -> int | None:
    try:
        if topic is EVENTS:
            return parse_event(letter.body).created
        return RecordHeaders.decode((name, value.encode()) for name, value in letter.headers.items()).stamp
    except MessageError:
        return None


def _is_readable(body: bytes) -> bool:
    try:
        msgspec.json.decode(body.decode())
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return False
    return True


def _ask(letter: KeptLetter, why_not: str) -> Plan:
    resource = PARENTS.get(letter.resource or "", letter.resource or "")
    if resource not in BY_NAME or not letter.object_id:
        return Plan(Way.NONE, f"{why_not}. A comparison with Stripe finds what is missing: sync now.")
    return Plan(Way.ASK_STRIPE, resource=resource, object_id=letter.object_id)
