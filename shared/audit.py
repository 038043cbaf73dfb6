"""Who did what: an append-only log whose entries are chained by their hashes, so that none can be changed unseen.

An entry names ids, counts and hashes. It outlives what it tells of, so it holds no name, no secret and no row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.db import Connection, Pool, Row, database_errors

FIRST_HASH = bytes(32)
BATCH = 1000  # entries that are verified at a time

# Entries get their number and their predecessor one at a time.
TAKE_TURN = "SELECT pg_advisory_xact_lock(hashtext('tillstream.audit'))"
NEWEST = "SELECT id, hash FROM audit_log ORDER BY id DESC LIMIT 1"
INSERT = """
INSERT INTO audit_log (id, at, actor, action, subject, details, request_id, previous_hash, hash)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
FOLLOWING = "SELECT * FROM audit_log WHERE id > $1 ORDER BY id LIMIT $2"
LIST = """
SELECT * FROM audit_log
WHERE ($1::text IS NULL OR subject = $1) AND ($2::bigint IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
"""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for a change, and with which request."""

    name: str  # `token tok_…`, `session …`, or the service that acts by itself
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that somebody did."""

    id: int
    at: datetime
    actor: str
    action: str  # such as `connection.key_updated`
    subject: str
    details: Mapping[str, Any]
    request_id: str
    previous_hash: bytes
    hash: bytes

    @property
    def expected_hash(self) -> bytes:
        """What its hash has to be."""
        content = (self.id, self.at.isoformat(), self.actor, self.action, self.subject, self.details, self.request_id)
        return hashlib.sha256(self.previous_hash + json.dumps(content, sort_keys=True).encode()).digest()


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether the chain holds."""

    entries: int
    broken_at: int | None  # the first entry that was changed, or that follows one that is gone


async def append(db: Connection, actor: Actor, action: str, subject: str, **details: Any) -> None:
    """Add an entry within the caller's transaction: the change and its entry come together or not at all."""
    await db.execute(TAKE_TURN)
    newest = await db.fetchrow(NEWEST)
    number, previous = (newest["id"] + 1, newest["hash"]) if newest else (1, FIRST_HASH)
    entry = Entry(number, datetime.now(UTC), actor.name, action, subject, details, actor.request_id, previous, b"")
    await db.execute(
        INSERT,
        entry.id,
        entry.at,
        entry.actor,
        entry.action,
        entry.subject,
        entry.details,
        entry.request_id,
        previous,
        entry.expected_hash,
    )


class AuditLog:
    """Reads the log; every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_newest(
        self, *, subject: str | None = None, before: int | None = None, limit: int = 25
    ) -> Sequence[Entry]:
        """Return entries, newest first; those about `subject`, if given, and older than the entry `before`."""
        with database_errors():
            rows = await self._pool.fetch(LIST, subject, before, limit)
        return [_entry(row) for row in rows]

    async def verify(self) -> Verification:
        """Compute every hash anew; say where the chain first breaks."""
        previous, number = FIRST_HASH, 0
        while True:
            with database_errors():
                rows = await self._pool.fetch(FOLLOWING, number, BATCH)
            for entry in map(_entry, rows):
                is_next = entry.id == number + 1 and entry.previous_hash == previous
                if not is_next or entry.hash != entry.expected_hash:
                    return Verification(number, broken_at=number + 1)
                number, previous = entry.id, entry.hash
            if len(rows) < BATCH:
                return Verification(number, broken_at=None)


def _entry(row: Row) -> Entry:
    return Entry(**{name: row[name] for name in Entry.__dataclass_fields__})
