"""Connections in the state database: a synced Stripe account, its key, its endpoint's secrets, and its status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import SecretStr

from shared.api_keys import ApiKey
from shared.audit import Actor, append
from shared.crypto import KeyRing, fingerprint
from shared.db import Connection as Database
from shared.db import Pool, Row, RowInUseError, affected, database_errors, transaction
from shared.errors import ConflictError, ConnectionDisabledError, NotFoundError, PayloadError


class State(StrEnum):
    """What the database keeps; the status that people see also depends on the open syncs."""

    SETTING_UP = "setting_up"
    ACTIVE = "active"
    ACTION_REQUIRED = "action_required"
    PAUSED = "paused"
    REMOVING = "removing"


class LiveBy(StrEnum):
    """How changes reach us: Stripe calls our endpoint, or we ask for its events."""

    WEBHOOKS = "webhooks"
    POLLING = "polling"


@dataclass(frozen=True, slots=True)
class Fault:
    """A resource that the key may not read any more: it alone has stopped."""

    resource: str
    code: str
    cause: str
    permission: str | None  # as Stripe names it, such as `rak_charge_read`
    since: datetime


@dataclass(frozen=True, slots=True)
class Connection:
    """A Stripe account that is synced."""

    id: str
    account_id: str
    account_name: str
    name: str  # what people call the connection: one account can have two
    livemode: bool
    state: State
    cause_code: str | None
    cause: str | None
    key_hint: str
    key_version: int
    start_date: datetime | None
    resources: tuple[str, ...]
    omitted_fields: Mapping[str, Sequence[str]]  # resource → paths that are never written
    events_complete_to: int | None
    live_by: LiveBy
    last_event_at: datetime | None
    last_synced_at: datetime | None  # when the destination that is furthest behind has last confirmed a row
    created_at: datetime
    destination_ids: tuple[str, ...]
    faults: tuple[Fault, ...] = ()

    @property
    def start_seconds(self) -> int | None:
        """The start date in Unix seconds; `None` when everything is wanted."""
        return int(self.start_date.timestamp()) if self.start_date else None


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A connection's key, and which of its keys it is."""

    secret: SecretStr
    version: int


class NameTakenError(ConflictError):
    """Another connection has this name."""

    code = "name_taken"


NAME_TAKEN = "Another connection is called “{}”, and each has a name of its own. Give another name."
# How the connection with this alias is called: as a person named it, else as Stripe names its account.
CALLED = "coalesce({0}.name, nullif(btrim({0}.account_name), ''), {0}.account_id)"
# Of a connection `c`: the destination that is furthest behind tells it, and nothing does while one has no row yet.
LAST_SYNCED = """
(SELECT min(l.written_at) FROM connection_destinations l WHERE l.connection_id = c.id
 HAVING bool_and(l.written_at IS NOT NULL))
"""
SELECT = f"""
SELECT c.id, c.account_id, c.account_name, c.name, c.livemode, c.state, c.cause_code, c.cause, c.key_hint,
       c.key_version, c.start_date, c.resources, c.omitted_fields, c.events_complete_to, c.live_by, c.last_event_at,
       c.created_at,
       {LAST_SYNCED} AS last_synced_at,
       ARRAY(SELECT d.destination_id FROM connection_destinations d WHERE d.connection_id = c.id ORDER BY 1)
         AS destination_ids,
       ARRAY(SELECT row(f.resource, f.code, f.cause, f.permission, f.since) FROM resource_faults f
             WHERE f.connection_id = c.id ORDER BY f.resource) AS faults
FROM connections c
"""
INSERT = """
INSERT INTO connections
  (id, account_id, account_name, livemode, state, api_key, key_hint, start_date, resources, live_by, omitted_fields,
   name)
VALUES ($1, $2, $3, $4, 'setting_up', $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (lower(name)) DO NOTHING
"""
# One statement: the key, what is shown of it and its version are never of two keys. All waits end.
REPLACE_KEY = """
UPDATE connections SET api_key = $2, key_hint = $3, key_version = key_version + 1, key_tries = 0, key_try_at = NULL,
    cause_code = NULL, cause = NULL,
    -- A set-up that the old key has stopped goes on; until it is done no event is known to be complete.
    state = CASE WHEN state <> 'action_required' THEN state WHEN events_complete_to IS NULL THEN 'setting_up'
            ELSE 'active' END
WHERE id = $1 AND state <> 'removing' RETURNING state
"""
TRY_FAULTS = "UPDATE resource_faults SET tries = 0, next_try_at = now() WHERE connection_id = $1"
# What lay on a log that was lost is missing again.
ADVANCE_EVENTS = """
UPDATE connections SET events_complete_to = greatest(events_complete_to, $2) WHERE id = $1
  AND NOT EXISTS (SELECT FROM broker_logs b WHERE b.is_current
                  AND b.cluster_id || CASE WHEN b.life > 1 THEN '/' || b.life ELSE '' END <> $3::text)
"""
# The unique key of the table is what refuses: two requests at once can't both pass.
LINK = """
INSERT INTO connection_destinations (connection_id, destination_id, account_id, livemode)
SELECT $1, d, $3, $4 FROM unnest($2::text[]) AS d ON CONFLICT DO NOTHING
"""

# Who changes rows of several tables begins with it; ARCHITECTURE.md, "The order of locks", says why.
HOLD = "SELECT FROM connections WHERE id = ANY ($1::text[]) ORDER BY id FOR KEY SHARE"


async def hold(db: Database, connection_ids: Iterable[str]) -> None:
    """Keep the connections from being deleted until the caller's transaction ends; those that are gone stay so."""
    await db.execute(HOLD, sorted(set(connection_ids)))


def _connection(row: Row) -> Connection:
    values, account_name = dict(row), row["account_name"].strip() or row["account_id"]
    values |= {
        "account_name": account_name,
        "name": row["name"] or account_name,
        "state": State(row["state"]),
        "live_by": LiveBy(row["live_by"]),
        "resources": tuple(row["resources"]),
        "destination_ids": tuple(row["destination_ids"]),
        "faults": tuple(Fault(*fault) for fault in row["faults"]),
    }
    return Connection(**values)


class ConnectionStore:
    """Reads and writes connections; every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool, keys: KeyRing) -> None:
        self._pool = pool
        self._keys = keys

    async def insert(
        self,
        connection_id: str,
        *,
        account: tuple[str, str],
        key: ApiKey,
        destination_ids: Sequence[str],
        start_date: datetime | None,
        resources: Sequence[str],
        live_by: LiveBy,
        by: Actor,
        omitted_fields: Mapping[str, Sequence[str]] | None = None,
        names: Iterable[str | None] = (None,),
    ) -> None:
        """Add a connection that is being set up, with an entry of the audit log. `account` is its id and name.

        It gets the first of `names` that no other connection has. Raises `ConflictError` when one of the destinations
        already receives this account and mode, `NameTakenError` when all names are taken, and `PayloadError` when there
        is no such destination.
        """
        account_id, name = account
        sealed = self._keys.encrypt(key.secret.get_secret_value(), owner=connection_id, name="api_key")
        values = (account_id, name, key.livemode, sealed, key.hint, start_date, list(resources), live_by)
        omitted = dict(omitted_fields or {})
        try:
            async with transaction(self._pool) as db:
                await self._insert_named(db, [connection_id, *values, omitted], names)
                linked = await db.execute(LINK, connection_id, list(destination_ids), account_id, key.livemode)
                self._require_linked(linked, destination_ids, account, key)
                hashed = fingerprint(key.secret.get_secret_value())
                await append(db, by, "connection.created", connection_id, account=account_id, key=hashed)
        except RowInUseError as error:
            raise PayloadError("There is no such destination any more.", field="destination_ids") from error

    @staticmethod
    async def _insert_named(db: Database, values: Sequence[object], names: Iterable[str | None]) -> None:
        name: str | None = None
        for name in names:
            if affected(await db.execute(INSERT, *values, name)):
                return
        raise NameTakenError(NAME_TAKEN.format(name), field="name")

    @staticmethod
    def _require_linked(linked: str, destination_ids: Sequence[str], account: tuple[str, str], key: ApiKey) -> None:
        if affected(linked) != len(destination_ids):
            raise ConflictError(
                f"{account[1]} ({account[0]}) in {'live' if key.livemode else 'test'} mode is already connected to "
                "this destination. Choose another destination or another schema.",
                field="destination_ids",
            )

    async def get(self, connection_id: str, *, db: Database | None = None) -> Connection:
        """Return the connection, with `db` as the caller's transaction sees it; raise `NotFoundError`."""
        with database_errors():
            row = await (db or self._pool).fetchrow(f"{SELECT} WHERE c.id = $1", connection_id)
        if row is None:
            raise NotFoundError(f"There is no connection {connection_id}.")
        return _connection(row)

    async def list_page(self, *, after: str = "", limit: int = 1000) -> list[Connection]:
        """Return connections by id, those after `after`."""
        with database_errors():
            rows = await self._pool.fetch(f"{SELECT} WHERE c.id > $1 ORDER BY c.id LIMIT $2", after, limit)
        return [_connection(row) for row in rows]

    async def list_by_id(self, connection_ids: Sequence[str], *, db: Database | None = None) -> list[Connection]:
        """Return the connections with these ids, those that exist; with `db` as the caller's transaction sees them."""
        sql = f"{SELECT} WHERE c.id = ANY ($1::text[]) ORDER BY c.id"
        with database_errors():
            rows = await (db or self._pool).fetch(sql, list(connection_ids))
        return [_connection(row) for row in rows]

    async def list_in_state(self, *states: State, db: Database | None = None) -> list[Connection]:
        """Return the connections in one of `states`; with `db` as the caller's transaction sees them."""
        sql = f"{SELECT} WHERE c.state = ANY ($1::text[]) ORDER BY c.id"
        with database_errors():
            rows = await (db or self._pool).fetch(sql, list(states))
        return [_connection(row) for row in rows]

    async def api_key(self, connection_id: str) -> SecretStr:
        """Return the key; raise `ConnectionDisabledError` when it has been destroyed."""
        return (await self.stored_key(connection_id)).secret

    async def stored_key(self, connection_id: str) -> StoredKey:
        """Return the key with its version, read together; raise `ConnectionDisabledError` when it is destroyed."""
        with database_errors():
            row = await self._pool.fetchrow(
                "SELECT api_key, key_version FROM connections WHERE id = $1 AND api_key IS NOT NULL", connection_id
            )
        if row is None:
            raise ConnectionDisabledError(f"The connection {connection_id} has no key any more.")
        secret = self._keys.decrypt(row["api_key"], owner=connection_id, name="api_key")
        return StoredKey(SecretStr(secret), row["key_version"])

    async def replace_key(self, db: Database, connection_id: str, key: ApiKey) -> State:
        """Replace the key within the caller's transaction and return the state that follows.

        The old key works until the transaction ends. What the old key could not read is tried at once. Raises
        `ConnectionDisabledError` when the connection is gone.
        """
        sealed = self._keys.encrypt(key.secret.get_secret_value(), owner=connection_id, name="api_key")
        state = await db.fetchval(REPLACE_KEY, connection_id, sealed, key.hint)
        if state is None:
            raise ConnectionDisabledError
        await db.execute(TRY_FAULTS, connection_id)
        return State(state)

    async def set_state(
        self,
        connection_id: str,
        state: State,
        *,
        unless: Sequence[State] = (),
        cause_code: str | None = None,
        cause: str | None = None,
        key_version: int | None = None,
    ) -> bool:
        """Move to `state` with its cause, unless it is in one of `unless`; tell whether it moved.

        With `key_version` it moves only while that is the key's: an answer to an old key says nothing of a new one.
        """
        sql = """
        UPDATE connections SET state = $2, cause_code = $3, cause = $4
        WHERE id = $1 AND NOT state = ANY ($5::text[]) AND key_version = coalesce($6, key_version)
        """
        with database_errors():
            status = await self._pool.execute(sql, connection_id, state, cause_code, cause, list(unless), key_version)
        return bool(status == "UPDATE 1")

    async def advance_events(self, connection_id: str, complete_to: int, *, log_id: str | None = None) -> None:
        """Note that no event before `complete_to` (Stripe's clock, seconds) is missing.

        With `log_id` it is noted only unless the broker has lost that log meanwhile.
        """
        with database_errors():
            await self._pool.execute(ADVANCE_EVENTS, connection_id, complete_to, log_id)
