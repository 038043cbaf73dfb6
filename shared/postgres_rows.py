"""Which rows of a destination are a connection's, and of those the ones of objects made before a moment.

What is counted before somebody decides is what is deleted afterwards: both use the conditions of this module.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime

from pydantic import SecretStr

from shared.catalogue import CHILDREN
from shared.db import Connection
from shared.destination_sessions import destination_sessions
from shared.destinations import PostgresAddress
from shared.errors import DestinationUnavailableError
from shared.networks import ANYWHERE, Networks
from shared.postgres_errors import destination_errors
from shared.postgres_faults import quote

TIME_LIMIT = 5.0  # seconds: a person waits for it

#: Account and livemode are $1 and $2.
OF_ACCOUNT = "_account = $1 AND _livemode = $2"
BOUND = "$3::bigint"
_OF_ACCOUNTS = """
SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = ANY ($2::text[]) AND c.relkind IN ('r', 'p') AND 4 = (
    SELECT count(*) FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attname IN ('_account', '_livemode', 'id', 'data') AND NOT a.attisdropped)
"""
PARENT_TABLES = {child.table: parent.table for parent, child in CHILDREN}


def made_before(bound: str, *, data: str = "data") -> str:
    """Return the condition that an object was made before `bound` (Unix seconds); one that tells no time was not.

    It is the rule of the start date: `created`, or `date` where that is what the object has.
    """
    told = " ".join(
        f"WHEN jsonb_typeof({data} -> '{name}') = 'number' THEN ({data} -> '{name}')::numeric"
        for name in ("created", "date")
    )
    return f"CASE {told} END < {bound}"


async def count_rows(
    address: PostgresAddress,
    password: SecretStr,
    account_id: str,
    livemode: bool,
    tables: Iterable[str],
    *,
    created_before: datetime | None = None,
    networks: Networks = ANYWHERE,
) -> dict[str, int]:
    """Return how many rows of the account and mode each table holds; a table that is missing holds none.

    With `created_before` only those of objects made earlier, and the children that go with them. Raises
    `DestinationUnavailableError`, at the latest after five seconds.
    """
    bound = None if created_before is None else int(created_before.timestamp())
    try:
        async with asyncio.timeout(TIME_LIMIT), _connected(address, password, networks) as db:
            wanted = list(tables)
            found = await tables_of_accounts(db, address.schema, wanted)
            return {
                table: await _count(db, address.schema, table, account_id, livemode, bound) if table in found else 0
                for table in wanted
            }
    except TimeoutError as error:
        raise DestinationUnavailableError(
            f"The destination did not count its rows within {TIME_LIMIT:g} seconds."
        ) from error


@asynccontextmanager
async def _connected(address: PostgresAddress, password: SecretStr, networks: Networks) -> AsyncIterator[Connection]:
    with destination_errors():
        db = await destination_sessions(address, password, networks, connect_timeout=TIME_LIMIT).open()
        try:
            yield db
        finally:
            db.terminate()


def tables_sql() -> str:
    """Return the statement that finds those of the tables $2 in the schema $1 whose rows are of accounts."""
    return _OF_ACCOUNTS


async def tables_of_accounts(db: Connection, schema: str, tables: Iterable[str]) -> set[str]:
    """Return those of the tables that are there and whose rows are of accounts: another tool's hold none of ours."""
    return {row["name"] for row in await db.fetch(_OF_ACCOUNTS, schema, list(tables))}


async def holds_rows(db: Connection, schema: str, table: str) -> bool:
    """Tell the same of one table."""
    return bool(await tables_of_accounts(db, schema, [table]))


async def _count(db: Connection, schema: str, table: str, account_id: str, livemode: bool, bound: int | None) -> int:
    values = (account_id, livemode) if bound is None else (account_id, livemode, bound)
    return int(await db.fetchval(_count_sql(schema, table, is_bounded=bound is not None), *values))


def _count_sql(schema: str, table: str, *, is_bounded: bool) -> str:
    name = f"{quote(schema)}.{quote(table)}"
    sql = f"SELECT count(*) FROM {name} WHERE {OF_ACCOUNT}"
    if not is_bounded:
        return sql
    if parent := PARENT_TABLES.get(table):
        parents = f"SELECT id FROM {quote(schema)}.{quote(parent)} WHERE {OF_ACCOUNT} AND {made_before(BOUND)}"
        return f"{sql} AND _parent IN ({parents})"
    return f"{sql} AND {made_before(BOUND)}"
