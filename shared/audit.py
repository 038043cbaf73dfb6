"""Who did what: an append-only log whose entries are chained by their hashes, so that none can be changed unseen.

An entry names ids, counts and hashes. It outlives what it tells of, so it holds no merchant's name, no secret and no
row. Who did it is told by a token or a session, with the name that was given at sign-in and the address.

Hashes alone can be computed anew by whoever changes the table. So the head of the chain is sealed from time to time
with the services' encryption key, and written to the log of the service, which lies elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.crypto import KeyRing, SecretUnreadableError
from shared.db import Connection, Pool, Row, database_errors
from shared.log import get_logger

FIRST_HASH = bytes(32)
BATCH = 1000  # entries that are verified at a time

# Entries get their number and their predecessor one at a time.
TAKE_TURN = "SELECT pg_advisory_xact_lock(hashtext('tillstream.audit'))"
NEWEST = "SELECT id, hash FROM audit_log ORDER BY id DESC LIMIT 1"
INSERT = """
INSERT INTO audit_log (id, at, actor, action, subject, details, request_id, previous_hash, hash, person, address)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
FOLLOWING = "SELECT * FROM audit_log WHERE id > $1 ORDER BY id LIMIT $2"
LIST = """
SELECT * FROM audit_log
WHERE ($1::text IS NULL OR subject = $1) AND ($2::bigint IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
"""
ADD_SEAL = "INSERT INTO audit_seals (entry_id, seal) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING entry_id"
# Each seal binds all entries before it; some are kept, so that one whose key is gone does not leave none.
FORGET_SEALS = """
DELETE FROM audit_seals WHERE entry_id < (SELECT entry_id FROM audit_seals ORDER BY entry_id DESC OFFSET $1 LIMIT 1)
"""
SEALS = "SELECT entry_id, seal FROM audit_seals ORDER BY entry_id"
SEALS_KEPT = 100
SEAL = "head"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for a change, and with which request."""

    name: str  # `token tok_…`, `session …`, or the service that acts by itself
    request_id: str = ""
    person: str = ""  # the name that was given at sign-in
    address: str = ""  # where the request came from


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
    person: str = ""
    address: str = ""

    @property
    def expected_hash(self) -> bytes:
        """What its hash has to be."""
        what = (self.action, self.subject, self.details, self.request_id)
        # Entries of an older release have neither, and keep their hashes.
        who = (self.person, self.address) if self.person or self.address else ()
        content = (self.id, self.at.isoformat(), self.actor, *what, *who)
        return hashlib.sha256(self.previous_hash + json.dumps(content, sort_keys=True).encode()).digest()


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether the chain holds."""

    entries: int
    broken_at: int | None  # the first entry that was changed or is gone, or that follows one that is gone
    sealed_to: int | None = None  # the last entry that a seal of ours binds


async def append(db: Connection, actor: Actor, action: str, subject: str, **details: Any) -> None:
    """Add an entry within the caller's transaction: the change and its entry come together or not at all."""
    await db.execute(TAKE_TURN)
    newest = await db.fetchrow(NEWEST)
    number, previous = (newest["id"] + 1, newest["hash"]) if newest else (1, FIRST_HASH)
    who = {"person": actor.person, "address": actor.address}
    now = datetime.now(UTC)
    entry = Entry(number, now, actor.name, action, subject, details, actor.request_id, previous, b"", **who)
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
        entry.person,
        entry.address,
    )


class AuditLog:
    """Reads and seals the log; every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool, keys: KeyRing | None = None) -> None:
        """Without `keys` nothing is sealed, and seals are not looked at."""
        self._pool = pool
        self._keys = keys

    async def seal(self) -> int | None:
        """Seal the newest entry and tell the log of it; return its number, or `None` if nothing is new."""
        if self._keys is None:
            return None
        with database_errors():
            head = await self._pool.fetchrow(NEWEST)
            if head is None:
                return None
            seal = self._keys.encrypt(head["hash"].hex(), owner=_owner(head["id"]), name=SEAL)
            if await self._pool.fetchval(ADD_SEAL, head["id"], seal) is None:
                return None
            await self._pool.execute(FORGET_SEALS, SEALS_KEPT)
        get_logger().info("audit_log_sealed", entry=head["id"], hash=head["hash"].hex())
        return int(head["id"])

    async def list_newest(
        self, *, subject: str | None = None, before: int | None = None, limit: int = 25
    ) -> Sequence[Entry]:
        """Return entries, newest first; those about `subject`, if given, and older than the entry `before`."""
        with database_errors():
            rows = await self._pool.fetch(LIST, subject, before, limit)
        return [_entry(row) for row in rows]

    async def verify(self) -> Verification:
        """Compute every hash anew and look at every seal; say where the chain first breaks."""
        sealed = await self._sealed()
        previous, number = FIRST_HASH, 0
        while True:
            with database_errors():
                rows = await self._pool.fetch(FOLLOWING, number, BATCH)
            for entry in map(_entry, rows):
                is_next = entry.id == number + 1 and entry.previous_hash == previous
                is_whole = entry.hash == entry.expected_hash == sealed.get(entry.id, entry.hash)
                if not (is_next and is_whole):
                    return Verification(number, broken_at=number + 1)
                number, previous = entry.id, entry.hash
            if len(rows) < BATCH:
                break
        last = max(sealed, default=None)
        is_cut = last is not None and last > number
        return Verification(number, broken_at=number + 1 if is_cut else None, sealed_to=None if is_cut else last)

    async def _sealed(self) -> dict[int, bytes]:
        """Return the hashes that seals bind, by entry; a seal that we did not make, or can't read, binds nothing."""
        if self._keys is None:
            return {}
        with database_errors():
            rows = await self._pool.fetch(SEALS)
        found = {}
        for row in rows:
            try:
                found[row["entry_id"]] = bytes.fromhex(
                    self._keys.decrypt(row["seal"], owner=_owner(row["entry_id"]), name=SEAL)
                )
            except SecretUnreadableError:
                get_logger().warning("audit_seal_unreadable", entry=row["entry_id"])
        return found


def _owner(entry_id: int) -> str:
    return f"audit_log {entry_id}"


def _entry(row: Row) -> Entry:
    return Entry(**{name: row[name] for name in Entry.__dataclass_fields__})
