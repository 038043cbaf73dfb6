"""A dead letter: a record that can never be written, or a signed webhook that can't be used, with its reason.

Dead letters travel on a topic of their own and end in the state database, where they are shown and replayed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from aiokafka import ConsumerRecord

from shared.catalogue import resource_for_event
from shared.db import Connection
from shared.errors import AppError, MessageError
from shared.log import mask
from shared.messages import Headers, parse_event
from shared.postgres_words import tell

MAX_REASON = 500  # characters
MAX_KEY = 1000  # characters; keys that are longer are refused for that
_PREFIX = "dead-letter-"  # sets our headers apart from those of the record
REPLAY_HEADER = "replay"
TAKE_TURN = "SELECT pg_advisory_xact_lock(hashtext('tillstream.dead_letters'))"
PARTITION, OFFSET, LETTER_ID = re.compile("[0-9]{1,9}"), re.compile("[0-9]{1,18}"), re.compile("[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What could not be used, where, and why."""

    stage: str
    code: str
    reason: str
    body: bytes
    connection_id: str = ""
    destination_id: str = ""
    source_topic: str = ""  # empty where the body never was on a topic
    source_partition: int = -1
    source_offset: int = -1
    key: bytes = b""
    headers: tuple[tuple[str, bytes], ...] = ()

    def encode(self) -> Headers:
        """Return the record's own headers and, prefixed, what is known about its end."""
        described = {
            "stage": self.stage,
            "code": self.code,
            "reason": self.reason,
            "destination": self.destination_id,
            "topic": self.source_topic,
            "partition": str(self.source_partition),
            "offset": str(self.source_offset),
            "key": self.key.decode("utf-8", "replace")[:MAX_KEY],
        }
        return [
            *self.headers,
            *((_PREFIX + name, value.encode("utf-8", "replace")) for name, value in described.items()),
        ]


@dataclass(frozen=True, slots=True)
class Replay:
    """Which dead letter a record comes from, and the one destination that it is for; all, if that is empty."""

    letter_id: int
    destination_id: str = ""

    def encode(self) -> tuple[str, bytes]:
        """Return the header that goes with the record."""
        return REPLAY_HEADER, f"{self.letter_id}.{self.destination_id}".encode()


def find_replay(headers: Iterable[tuple[str, bytes]]) -> Replay | None:
    """Return which dead letter a record comes from, if any."""
    told = dict(headers).get(REPLAY_HEADER, b"").decode("utf-8", "replace")
    letter_id, _, destination_id = told.partition(".")
    return Replay(int(letter_id), destination_id) if LETTER_ID.fullmatch(letter_id) else None


async def take_turn(db: Connection) -> None:
    """Wait until no other transaction changes dead letters or replays, then keep others waiting until this one ends.

    Letters, their groups and their replays are one knot: whoever changes one of them changes the others.
    """
    await db.execute(TAKE_TURN)


def describe(error: Exception) -> tuple[str, str]:
    """Return code and reason of what ended a record; an unexpected error is a bug of ours and says so."""
    if isinstance(error, AppError):
        return error.code, mask(error.message)[:MAX_REASON]
    return "bug", mask(tell(error))[:MAX_REASON]


def dead_letter_of(record: ConsumerRecord, error: Exception, *, stage: str, destination_id: str = "") -> DeadLetter:
    """Return the dead letter of a Kafka record that ended with `error`."""
    code, reason = describe(error)
    headers = tuple((name, value) for name, value in record.headers if not name.startswith(_PREFIX))
    return DeadLetter(
        stage=stage,
        code=code,
        reason=reason,
        body=record.value or b"",
        connection_id=dict(headers).get("connection", b"").decode("utf-8", "replace"),
        destination_id=destination_id,
        source_topic=record.topic,
        source_partition=record.partition,
        source_offset=record.offset,
        key=record.key or b"",
        headers=headers,
    )


def parse_dead_letter(record: ConsumerRecord) -> DeadLetter:
    """Return the dead letter that `encode` wrote; one without a source is known by its own position."""
    described = {n[len(_PREFIX) :]: v.decode("utf-8", "replace") for n, v in record.headers if n.startswith(_PREFIX)}
    partition, offset = described.get("partition", ""), described.get("offset", "")
    has_source = bool(described.get("topic") and PARTITION.fullmatch(partition) and OFFSET.fullmatch(offset))
    return DeadLetter(
        stage=described.get("stage", "unknown"),
        code=described.get("code", "unknown"),
        reason=described.get("reason", ""),
        body=record.value or b"",
        connection_id=(record.key or b"").decode("utf-8", "replace"),
        destination_id=described.get("destination", ""),
        source_topic=described["topic"] if has_source else record.topic,
        source_partition=int(partition) if has_source else record.partition,
        source_offset=int(offset) if has_source else record.offset,
        key=described.get("key", "").encode(),
        headers=tuple((n, v) for n, v in record.headers if not n.startswith(_PREFIX)),
    )


@dataclass(frozen=True, slots=True)
class Subject:
    """What a dead letter is about, as far as it can be told."""

    resource: str | None = None
    object_id: str | None = None


def subject_of(letter: DeadLetter) -> Subject:
    """Return what the letter is about: by its headers and key, else by what can be read of its body."""
    _, _, in_key = letter.key.decode("utf-8", "replace").partition(":")
    told = dict(letter.headers).get("resource")
    if told is not None:
        return Subject(told.decode("utf-8", "replace"), in_key or None)
    try:
        event = parse_event(letter.body)
    except MessageError:
        return Subject(None, in_key or None)
    resource = resource_for_event(event.type, event.subject.object)
    return Subject(resource.name if resource else None, event.subject.id or in_key or None)
