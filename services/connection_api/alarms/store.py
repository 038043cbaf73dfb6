"""Alarms in the state database: channels, what each was told of each connection, and the messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import SecretStr

from services.connection_api.alarms.channel import TEST, Address, Channel, ChannelKind, QuietHours
from services.connection_api.alarms.folding import MOST_NAMED, say_many
from services.connection_api.alarms.rule import Memory
from services.connection_api.views.standings import SITUATION
from shared.audit import Actor, append
from shared.connections import CALLED
from shared.crypto import KeyRing, make_id
from shared.db import Connection, Pool, Row, database_errors, transaction
from shared.errors import ConflictError, NotFoundError

MOST_CHANNELS = 50
MOST_LISTED = 100  # accounts that a webhook names
MOST_MESSAGES = 10_000  # that are kept
LEASE = timedelta(seconds=30)
CLAIM = timedelta(seconds=60)  # in which a try has come to its end; after it another process takes the message
NEWS = timedelta(days=1)  # how long a backfill that ended is worth a message

# One process watches at a time; another takes over when it stops.
TAKE_LEASE = """
INSERT INTO leases AS l (name, owner, until) VALUES ('alarms', $1, now() + $2::interval)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
WHERE l.owner = excluded.owner OR l.until < now() RETURNING 1
"""
CHANNELS = "SELECT id, kind, shown, events, quiet, created_at FROM alarm_channels"
ADD = """
INSERT INTO alarm_channels (id, kind, shown, address, secret, events, quiet) VALUES ($1, $2, $3, $4, $5, $6, $7)
RETURNING id, kind, shown, events, quiet, created_at
"""
TAKE_TURN = "SELECT pg_advisory_xact_lock(hashtext('tillstream.alarm_channels'))"
COUNT = "SELECT count(*) FROM alarm_channels"
REMOVE = "DELETE FROM alarm_channels WHERE id = $1 RETURNING kind"
SEALED = "SELECT address, secret FROM alarm_channels WHERE id = $1"

SITUATIONS = f"""
SELECT {SITUATION},
       (SELECT max(s.finished_at) FROM syncs s WHERE s.connection_id = connections.id AND s.kind = 'backfill'
        AND s.status = 'succeeded' AND s.finished_at > $3::timestamptz - $4::interval) AS backfilled_at
FROM connections WHERE connections.id > $1 ORDER BY connections.id LIMIT $2
"""
MEMORIES = "SELECT channel_id, connection_id, memory FROM alarm_memories WHERE connection_id = ANY ($1::text[])"
# Whoever removes a connection waits for this, or has removed it.
STILL_THERE = "SELECT id FROM connections WHERE id = ANY ($1::text[]) ORDER BY id FOR KEY SHARE"
CHANNELS_STILL_THERE = "SELECT id FROM alarm_channels WHERE id = ANY ($1::text[]) ORDER BY id FOR KEY SHARE"
REMEMBER = """
INSERT INTO alarm_memories (channel_id, connection_id, memory) VALUES ($1, $2, $3)
ON CONFLICT (connection_id, channel_id) DO UPDATE SET memory = excluded.memory
"""
QUEUE = """
INSERT INTO alarm_messages
    (id, channel_id, connection_id, connection_ids, event, sentence, url, created_at, next_try_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp(), clock_timestamp())
"""
TRIM = f"""
DELETE FROM alarm_messages WHERE (created_at, id) < (
    SELECT created_at, id FROM alarm_messages ORDER BY created_at DESC, id DESC OFFSET {MOST_MESSAGES} LIMIT 1)
"""
# The accounts that a message is about, the first so many of them.
ACCOUNTS = f"""
cardinality({{0}}.connection_ids) AS number, ARRAY(
    SELECT jsonb_build_object('id', c.id, 'name', {CALLED.format("c")}) FROM connections c
    WHERE c.id = ANY ({{0}}.connection_ids[1:{{1}}]) ORDER BY array_position({{0}}.connection_ids, c.id)) AS accounts
"""
# A later message about a connection waits for the one before it, so that each arrives in its turn.
CLAIM_DUE = f"""
UPDATE alarm_messages t SET attempts = t.attempts + 1, next_try_at = now() + $2::interval
FROM alarm_channels h
WHERE h.id = t.channel_id AND t.id = ANY (ARRAY(
    SELECT m.id FROM alarm_messages m WHERE m.next_try_at <= now() AND NOT EXISTS (
        SELECT FROM alarm_messages e WHERE e.channel_id = m.channel_id AND e.connection_ids && m.connection_ids
          AND e.next_try_at IS NOT NULL AND (e.created_at, e.id) < (m.created_at, m.id))
    ORDER BY m.next_try_at, m.id LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING t.id, t.channel_id, h.kind, h.quiet, t.connection_id, t.event, t.sentence, t.url, t.created_at, t.attempts,
          {ACCOUNTS.format("t", MOST_LISTED)}
"""
ARRIVED = "UPDATE alarm_messages SET sent_at = now(), last_error = NULL, next_try_at = NULL WHERE id = $1"
FAILED = "UPDATE alarm_messages SET last_error = $2, next_try_at = now() + $3::interval WHERE id = $1"
HOLD = "UPDATE alarm_messages SET attempts = attempts - 1, next_try_at = now() + $2::interval WHERE id = $1"
MESSAGES = f"""
SELECT m.id, m.channel_id, h.kind, h.shown, m.connection_id, m.event, m.sentence, m.url, m.created_at, m.sent_at,
       m.attempts, m.last_error, m.next_try_at, {ACCOUNTS.format("m", MOST_NAMED)}
FROM alarm_messages m JOIN alarm_channels h ON h.id = m.channel_id
"""
NEWEST = f"""
{MESSAGES} WHERE ($1::timestamptz IS NULL OR (m.created_at, m.id) < ($1, $2))
ORDER BY m.created_at DESC, m.id DESC LIMIT $3
"""
LAST_OF_EACH = f"""
SELECT l.* FROM alarm_channels c CROSS JOIN LATERAL (
    {MESSAGES} WHERE m.channel_id = c.id ORDER BY m.created_at DESC, m.id DESC LIMIT 1) l
"""
ONE_MESSAGE = f"{MESSAGES} WHERE m.id = $1"


@dataclass(frozen=True, slots=True)
class Message:
    """A message, and whether it has arrived."""

    id: str
    channel_id: str
    kind: ChannelKind
    shown: str
    connection_id: str | None  # of a message about one
    accounts: Sequence[Mapping[str, str]]  # id and name of the first of them
    number: int  # how many accounts it is about
    event: str
    sentence: str
    url: str | None
    created_at: datetime
    sent_at: datetime | None
    attempts: int
    last_error: str | None
    next_try_at: datetime | None

    @property
    def is_given_up(self) -> bool:
        """Whether it has not arrived and is not tried again."""
        return self.sent_at is None and self.next_try_at is None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that is about to be sent, for the try number `attempts`."""

    id: str
    channel_id: str
    kind: ChannelKind
    quiet: QuietHours | None
    accounts: Sequence[Mapping[str, str]]
    number: int
    event: str
    sentence: str
    url: str | None
    created_at: datetime
    attempts: int


@dataclass(frozen=True, slots=True)
class New:
    """A message to queue; its sentence is whole where it is about one connection, and else what they share."""

    channel_id: str
    connection_ids: Sequence[str]
    event: str
    sentence: str
    url: str | None


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a channel was told of a connection, by now."""

    channel_id: str
    connection_id: str
    memory: Memory


class AlarmStore:
    """Every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool, keys: KeyRing) -> None:
        self._pool = pool
        self._keys = keys

    async def list_channels(self) -> Sequence[Channel]:
        """Return all channels, the oldest first."""
        with database_errors():
            rows = await self._pool.fetch(f"{CHANNELS} ORDER BY created_at, id")
        return [_channel(row) for row in rows]

    async def get(self, channel_id: str) -> Channel:
        """Return a channel; raise `NotFoundError`."""
        with database_errors():
            row = await self._pool.fetchrow(f"{CHANNELS} WHERE id = $1", channel_id)
        if row is None:
            raise NotFoundError(f"There is no alarm {channel_id}.")
        return _channel(row)

    async def add(
        self,
        kind: ChannelKind,
        address: Address,
        *,
        shown: str,
        events: Sequence[str],
        quiet: QuietHours | None,
        by: Actor,
    ) -> Channel:
        """Keep a channel, its address and secret sealed; raise `ConflictError` where there are too many."""
        channel_id = make_id("alm")
        secret = address.secret
        sealed = None if secret is None else self._seal(channel_id, "secret", secret)
        written = quiet.model_dump(mode="json") if quiet else None
        async with transaction(self._pool) as db:
            await db.execute(TAKE_TURN)
            if await db.fetchval(COUNT) >= MOST_CHANNELS:
                raise ConflictError(f"There are {MOST_CHANNELS} alarms already. Remove one first.")
            place = self._seal(channel_id, "address", address.address)
            row = await db.fetchrow(ADD, channel_id, kind, shown, place, sealed, list(events), written)
            await append(db, by, "alarm.created", channel_id, kind=kind, events=list(events))
        return _channel(row)

    async def remove(self, channel_id: str, *, by: Actor) -> None:
        """Forget a channel with its messages; raise `NotFoundError`."""
        async with transaction(self._pool) as db:
            kind = await db.fetchval(REMOVE, channel_id)
            if kind is None:
                raise NotFoundError(f"There is no alarm {channel_id}.")
            await append(db, by, "alarm.removed", channel_id, kind=kind)

    async def address(self, channel_id: str) -> Address:
        """Return where a channel's messages go; raise `NotFoundError`, `SecretUnreadableError`."""
        with database_errors():
            row = await self._pool.fetchrow(SEALED, channel_id)
        if row is None:
            raise NotFoundError(f"There is no alarm {channel_id}.")
        secret = row["secret"]
        return Address(
            SecretStr(self._keys.decrypt(row["address"], owner=channel_id, name="address")),
            None if secret is None else SecretStr(self._keys.decrypt(secret, owner=channel_id, name="secret")),
        )

    async def take_lease(self, owner: str) -> bool:
        """Become or stay the one that watches, for 30 s; tell whether that is so."""
        with database_errors():
            return bool(await self._pool.fetchval(TAKE_LEASE, owner, LEASE))

    async def situations(self, *, after: str, limit: int, now: datetime) -> Sequence[Row]:
        """Return the rows of connections by id, those after `after`: what a status is made of."""
        with database_errors():
            rows: Sequence[Row] = await self._pool.fetch(SITUATIONS, after, limit, now, NEWS)
        return rows

    async def memories(self, connection_ids: Sequence[str]) -> Mapping[tuple[str, str], Memory]:
        """Return what was told of connections, by channel and connection."""
        with database_errors():
            rows = await self._pool.fetch(MEMORIES, list(connection_ids))
        return {(row["channel_id"], row["connection_id"]): Memory.model_validate(row["memory"]) for row in rows}

    async def note(self, remembered: Sequence[Remembered], messages: Sequence[New]) -> None:
        """Keep what is told together with the messages that tell it; what was removed meanwhile is left out."""
        async with transaction(self._pool) as db:
            told = {id_ for one in messages for id_ in one.connection_ids}
            connections = await _there(db, STILL_THERE, {one.connection_id for one in remembered} | told)
            channels = await _there(db, CHANNELS_STILL_THERE, {one.channel_id for one in remembered})
            kept = [one for one in remembered if one.connection_id in connections and one.channel_id in channels]
            await db.executemany(
                REMEMBER, [(one.channel_id, one.connection_id, one.memory.model_dump(mode="json")) for one in kept]
            )
            for one in messages:
                if one.channel_id in channels:
                    await _queue(db, one, [id_ for id_ in one.connection_ids if id_ in connections])
            if messages:
                await db.execute(TRIM)

    async def queue_test(self, channel_id: str, sentence: str, *, by: Actor) -> str:
        """Queue a message that a person asked for; return its id. Raises `NotFoundError`."""
        async with transaction(self._pool) as db:
            if not await _there(db, CHANNELS_STILL_THERE, {channel_id}):
                raise NotFoundError(f"There is no alarm {channel_id}.")
            message_id = await _queue(db, New(channel_id, (), TEST, sentence, None), [])
            await append(db, by, "alarm.tested", channel_id)
        return message_id

    async def claim_due(self, limit: int) -> Sequence[Outgoing]:
        """Return messages that are due, counted as tried; nobody else gets them for a minute."""
        with database_errors():
            rows = await self._pool.fetch(CLAIM_DUE, limit, CLAIM)
        return [_outgoing(row) for row in rows]

    async def hold(self, message_id: str, pause: timedelta) -> None:
        """Try a message after the pause, as if it had not been claimed."""
        with database_errors():
            await self._pool.execute(HOLD, message_id, pause)

    async def note_arrived(self, message_id: str) -> None:
        """Note that a message has arrived."""
        with database_errors():
            await self._pool.execute(ARRIVED, message_id)

    async def note_failed(self, message_id: str, error: str, *, pause: timedelta | None) -> None:
        """Note why a message has not arrived; it is tried again after the pause, and without one never."""
        with database_errors():
            await self._pool.execute(FAILED, message_id, error, pause)

    async def list_newest(self, *, before: tuple[datetime, str] | None = None, limit: int) -> Sequence[Message]:
        """Return messages, newest first; those before a time and an id, if given."""
        with database_errors():
            rows = await self._pool.fetch(NEWEST, *(before or (None, None)), limit)
        return [_message(row) for row in rows]

    async def last_messages(self) -> Mapping[str, Message]:
        """Return the newest message of each channel that has one."""
        with database_errors():
            rows = await self._pool.fetch(LAST_OF_EACH)
        return {row["channel_id"]: _message(row) for row in rows}

    async def message(self, message_id: str) -> Message:
        """Return a message; raise `NotFoundError`."""
        with database_errors():
            row = await self._pool.fetchrow(ONE_MESSAGE, message_id)
        if row is None:
            raise NotFoundError(f"There is no message {message_id}.")
        return _message(row)

    def _seal(self, channel_id: str, name: str, secret: SecretStr) -> bytes:
        return self._keys.encrypt(secret.get_secret_value(), owner=channel_id, name=name)


async def _there(db: Connection, sql: str, ids: set[str]) -> set[str]:
    return {row["id"] for row in await db.fetch(sql, sorted(ids))}


async def _queue(db: Connection, new: New, connection_ids: Sequence[str]) -> str:
    """Queue a message about those of its connections that are still there; one about none of them has no use."""
    message_id = make_id("msg")
    if new.connection_ids and not connection_ids:
        return message_id
    single = connection_ids[0] if len(new.connection_ids) == 1 else None
    values = (single, list(connection_ids), new.event, new.sentence, new.url)
    await db.execute(QUEUE, message_id, new.channel_id, *values)
    return message_id


def _channel(row: Row) -> Channel:
    return Channel(
        id=row["id"],
        kind=ChannelKind(row["kind"]),
        shown=row["shown"],
        events=tuple(row["events"]),
        quiet=_quiet(row),
        created_at=row["created_at"],
    )


def _quiet(row: Row) -> QuietHours | None:
    quiet: Any = row["quiet"]
    return QuietHours.model_validate(quiet) if quiet else None


def _message(row: Row) -> Message:
    return Message(**dict(row) | {"kind": ChannelKind(row["kind"]), "sentence": _sentence(row)})


def _outgoing(row: Row) -> Outgoing:
    known = dict(row) | {"kind": ChannelKind(row["kind"]), "quiet": _quiet(row), "sentence": _sentence(row)}
    del known["connection_id"]
    return Outgoing(**known)


def _sentence(row: Row) -> str:
    """Return what a message says; the names of several accounts are not kept in it."""
    if row["connection_id"] or not row["number"]:
        return str(row["sentence"])
    names = [account["name"] for account in row["accounts"]]
    return say_many(row["event"], names, row["number"], row["sentence"])
