"""Asks for the removal of a connection; the sync worker carries it out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from services.connection_api.settings import ApiSettings
from shared.audit import Actor, append
from shared.catalogue import RESOURCES, TABLES
from shared.cleanups import request_cleanup
from shared.connections import Connection, ConnectionStore
from shared.crypto import make_id
from shared.db import Pool, database_errors, transaction
from shared.destinations import DestinationStore
from shared.errors import ConflictError, DestinationUnavailableError, PayloadError
from shared.postgres_rows import count_rows

HISTORY = """
SELECT (SELECT stripe_id FROM webhook_endpoints WHERE connection_id = $1) AS webhook_endpoint_id,
       (SELECT count(*) FROM syncs WHERE connection_id = $1) AS syncs,
       (SELECT count(*) FROM event_log WHERE connection_id = $1) AS events,
       (SELECT count(*) FROM dead_letters WHERE connection_id = $1) AS dead_letters,
       (SELECT count(*) FROM parked_records WHERE connection_id = $1) AS parked_records
"""
MOVE = (
    "UPDATE connections SET state = 'removing', cause_code = NULL, cause = NULL WHERE id = $1 AND state <> 'removing'"
)
INSERT = """
INSERT INTO removals (id, connection_id, account_id, livemode, deletes_rows) VALUES ($1, $2, $3, $4, $5)
"""
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
            connection.account_name,
            tables=tuple(line for lines in counted if not isinstance(lines, str) for line in lines),
            unreachable=tuple(lines for lines in counted if isinstance(lines, str)),
            **dict(history),
        )

    async def request(self, connection_id: str, *, account_name: str, delete_rows: bool, by: Actor) -> str:
        """Begin the removal and return its id: from now on nothing of the connection is delivered.

        Raises `PayloadError` unless `account_name` is the account's name, and `ConflictError` when it has begun
        already.
        """
        connection = await self._connections.get(connection_id)
        if account_name.strip() != connection.account_name:
            raise PayloadError(
                f"Give the account's name, {connection.account_name}, to confirm the removal.", field="account_name"
            )
        removal_id, account = make_id("rem"), (connection.account_id, connection.livemode)
        async with transaction(self._pool) as db:
            if await db.execute(MOVE, connection_id) != "UPDATE 1":
                raise ConflictError("This connection is being removed already.")
            await db.execute(INSERT, removal_id, connection_id, *account, delete_rows)
            for destination_id in connection.destination_ids if delete_rows else ():
                await request_cleanup(db, connection_id, destination_id, account, resources=EVERYTHING)
            await append(
                db, by, "connection.removal_requested", connection_id, removal=removal_id, delete_rows=delete_rows
            )
        return removal_id

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
