"""Asks for the removal of a connection; the sync worker carries it out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from services.connection_api.life.confirmation import is_confirmed, names_to_type
from services.connection_api.settings import ApiSettings
from shared.audit import Actor, append
from shared.catalogue import RESOURCES, TABLES
from shared.cleanups import give_up_cleanups, request_cleanup
from shared.connections import Connection, ConnectionStore
from shared.crypto import make_id
from shared.db import Connection as Database
from shared.db import Pool, database_errors, transaction
from shared.destinations import DestinationStore
from shared.errors import ConflictError, DestinationUnavailableError, NotFoundError, PayloadError
from shared.postgres_rows import count_rows
from shared.removals import Step

HISTORY = """
SELECT (SELECT stripe_id FROM webhook_endpoints WHERE connection_id = $1) AS webhook_endpoint_id,
       (SELECT count(*) FROM syncs WHERE connection_id = $1) AS syncs,
       (SELECT count(*) FROM event_log WHERE connection_id = $1) AS events,
       (SELECT count(*) FROM dead_letters WHERE connection_id = $1) AS dead_letters,
       (SELECT count(*) FROM parked_records WHERE connection_id = $1) AS parked_records
"""
SHARED = """
SELECT EXISTS (SELECT FROM connections
               WHERE id <> $1 AND (account_id = $3 OR lower(account_name) = lower($2) OR lower(name) = lower($2)))
"""
MOVE = (
    "UPDATE connections SET state = 'removing', cause_code = NULL, cause = NULL WHERE id = $1 AND state <> 'removing'"
)
INSERT = """
INSERT INTO removals (id, connection_id, account_id, livemode, deletes_rows) VALUES ($1, $2, $3, $4, $5)
"""
LOCK = "SELECT id, deletes_rows, steps FROM removals WHERE connection_id = $1 FOR UPDATE"
LOCK_BY_ID = "SELECT connection_id FROM removals WHERE id = $1 FOR UPDATE"
DELETE_ROWS_TOO = "UPDATE removals SET deletes_rows = true WHERE id = $1"
LOOK_NOW = "UPDATE removals SET cause = NULL, lease_until = NULL WHERE id = $1 AND status = 'running'"
EVERYTHING = [row.name for row in RESOURCES]  # also what was chosen once and is not any more


@dataclass(frozen=True, slots=True)
class TableRows:
    """A table of a destination, and how many rows of the connection it has."""

    destination_id: str
    destination_name: str
    table: str
    rows: int


@dataclass(frozen=True, slots=True)
class RemovalPreview:
    """What a removal would take away."""

    name: str
    account_name: str
    webhook_endpoint_id: str | None
    tables: tuple[TableRows, ...]
    unreachable: tuple[str, ...]
    syncs: int
    events: int
    dead_letters: int
    parked_records: int


class Removals:
    """The use case of removing a connection."""

    def __init__(self, pool: Pool, settings: ApiSettings) -> None:
        self._pool = pool
        self._connections = ConnectionStore(pool, settings.key_ring)
        self._destinations = DestinationStore(pool, settings.key_ring)
        self._networks = settings.networks

    async def preview(self, connection_id: str) -> RemovalPreview:
        """Return what would go; a destination that does not answer is named."""
        connection = await self._connections.get(connection_id)
        with database_errors():
            history = await self._pool.fetchrow(HISTORY, connection_id)
        counted = await asyncio.gather(*(self._count(connection, one) for one in connection.destination_ids))
        return RemovalPreview(
            connection.name,
            connection.account_name,
            tables=tuple(line for lines in counted if not isinstance(lines, str) for line in lines),
            unreachable=tuple(lines for lines in counted if isinstance(lines, str)),
            **dict(history),
        )

    async def request(self, connection_id: str, *, account_name: str, delete_rows: bool, by: Actor) -> str:
        """Begin the removal and return its id: from now on nothing of the connection is delivered.

        One that has begun goes on; another choice about the rows changes it. Raises `PayloadError` unless
        `account_name` is one of `names_to_type`, and `ConflictError` when rows that were kept can't be deleted any
        more.
        """
        connection = await self._connections.get(connection_id)
        accepted = await self.names_to_type(connection)
        if not is_confirmed(account_name, accepted):
            raise PayloadError(
                f"Give the connection's name, {accepted[0]}, or its id, {connection.id}, to confirm the removal.",
                field="account_name",
            )
        removal_id, account = make_id("rem"), (connection.account_id, connection.livemode)
        async with transaction(self._pool) as db:
            if await db.execute(MOVE, connection_id) != "UPDATE 1":
                return await self._choose_again(db, connection, delete_rows=delete_rows, by=by)
            await db.execute(INSERT, removal_id, connection_id, *account, delete_rows)
            await self._request_cleanups(db, connection, delete_rows=delete_rows)
            await append(
                db, by, "connection.removal_requested", connection_id, removal=removal_id, delete_rows=delete_rows
            )
        return removal_id

    async def names_to_type(self, connection: Connection) -> Sequence[str]:
        """Return what confirms the connection's removal, the one to ask for first.

        Its account's name and id do so only where they tell it from every other connection.
        """
        account = (connection.account_name, connection.account_id)
        with database_errors():
            is_shared = await self._pool.fetchval(SHARED, connection.id, *account)
        return names_to_type(connection.name, connection.id, () if is_shared else account)

    async def give_up_rows(self, removal_id: str, *, by: Actor) -> None:
        """Leave the rows that the removal has not deleted yet where they are, such as in a destination that is gone.

        The removal goes on, and its receipt says so. Raises `NotFoundError`.
        """
        async with transaction(self._pool) as db:
            row = await db.fetchrow(LOCK_BY_ID, removal_id)
            if row is None:
                raise NotFoundError("There is no such removal.")
            await self._leave_rows(db, removal_id, row["connection_id"], by)

    async def _choose_again(self, db: Database, connection: Connection, *, delete_rows: bool, by: Actor) -> str:
        row = await db.fetchrow(LOCK, connection.id)
        if row is None:
            raise NotFoundError(f"There is no connection {connection.id}.")
        removal_id = str(row["id"])
        if delete_rows and not row["deletes_rows"]:
            if any(step["name"] == Step.ROWS for step in row["steps"]):
                raise ConflictError("The rows were kept, as it was chosen. Delete them in the destination by hand.")
            await db.execute(DELETE_ROWS_TOO, removal_id)
            await self._request_cleanups(db, connection, delete_rows=True)
            await append(db, by, "removal.choice_changed", removal_id, delete_rows=True)
        elif row["deletes_rows"] and not delete_rows:
            await self._leave_rows(db, removal_id, connection.id, by)
        return removal_id

    async def _leave_rows(self, db: Database, removal_id: str, connection_id: str, by: Actor) -> None:
        """Give up what the writers have not done; the worker goes on at once."""
        left = await give_up_cleanups(db, connection_id)
        if left:
            await db.execute(LOOK_NOW, removal_id)
            await append(db, by, "removal.rows_given_up", removal_id, destination_ids=left)

    async def _request_cleanups(self, db: Database, connection: Connection, *, delete_rows: bool) -> None:
        account = (connection.account_id, connection.livemode)
        for destination_id in connection.destination_ids if delete_rows else ():
            await request_cleanup(db, connection.id, destination_id, account, resources=EVERYTHING)

    async def _count(self, connection: Connection, destination_id: str) -> Sequence[TableRows] | str:
        """Return the tables that have rows, or the destination's name when it does not answer."""
        destination = await self._destinations.get(destination_id)
        password = await self._destinations.password(destination_id)
        try:
            counts = await count_rows(
                destination.address,
                password,
                connection.account_id,
                connection.livemode,
                list(TABLES),
                networks=self._networks,
            )
        except DestinationUnavailableError:
            return destination.name
        return [TableRows(destination_id, destination.name, table, rows) for table, rows in counts.items() if rows]
