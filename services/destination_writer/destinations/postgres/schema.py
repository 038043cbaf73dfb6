"""The schema of a destination: whose it is, what is missing in it, and what keeps a person's rows out of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import asyncpg

from services.destination_writer.destinations import NEW_COLUMNS
from services.destination_writer.destinations.postgres.views import keep_views
from shared.db import Connection
from shared.destinations import PostgresAddress
from shared.errors import AppError, Block, DestinationBlockedError
from shared.postgres_faults import LOGIN_FAULTS, STATEMENT_FAULTS, Fault
from shared.postgres_mark import SETUP_LOCK, Claimant, claim, find_rival
from shared.postgres_survey import Survey, TableFault, look, merge, row_security_fault
from shared.postgres_tables import ROW_TABLES, TOMBSTONES, WRITTEN_WITH, add_sql, create_sql, index_sql, quote

BLOCKED_FOR = 5.0  # seconds until a table that refused is tried again
LONGEST_REWRITE = 86_400.0  # seconds
TABLES = (*ROW_TABLES.values(), TOMBSTONES)
# SQLSTATEs with which Postgres refuses every row of a table, until a person has changed something.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
RIGHTS, CANCELLED, NOT_NULL, NO_TABLE = "42501", "57014", "23502", "42P01"
REFUSALS = frozenset({RIGHTS, CANCELLED, "42703", "42804", "42809", "42883", "42P10", "428C9", "55000"})
# The same of a whole database, wherever they arise.
_LOGIN_STATES = ("28P01", "28000", "3D000")
_EXTENDING = "SELECT pg_try_advisory_xact_lock(hashtextextended('tillstream.extend ' || $1, 0))"


class TableRefusedError(AppError):
    """Postgres refuses to write to a table; it never leaves this package."""

    def __init__(self, table: str, state: str) -> None:
        """Take the table, and the SQLSTATE of the refusal."""
        super().__init__()
        self.table, self.state = table, state


@contextmanager
def blocking_errors(address: PostgresAddress) -> Iterator[None]:
    """Turn what a person has to mend before anything can be written into a `DestinationBlockedError`."""
    try:
        yield
    except asyncpg.PostgresError as error:
        state = error.sqlstate or ""
        explain = LOGIN_FAULTS[state] if state in _LOGIN_STATES else STATEMENT_FAULTS.get(state)
        if explain is None:
            raise
        raise DestinationBlockedError(_block(explain(address), state)) from error


class Schema:
    """A schema as one destination sees it."""

    def __init__(
        self,
        name: str,
        *,
        claimant: Claimant | None = None,
        removes_deleted: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without a `claimant` nobody asks whose the schema is."""
        self.has_tombstones = False  # they hold whatever the choice is by now
        self._name = name
        self._claimant = claimant
        self._wanted = TABLES if removes_deleted else tuple(ROW_TABLES.values())
        self._clock = clock
        self._not_made: Collection[str] = ()
        self._blocks: dict[str, tuple[float, Block]] = {}  # by table: until when, and why

    async def prepare(self, db: Connection) -> None:
        """Mark the schema as ours and make what is missing, in the caller's transaction; what is whole needs no DDL.

        Raises `DestinationBlockedError` when another one fills it.
        """
        if self._claimant:
            rival = await claim(db, self._name, self._claimant)
            if rival:
                raise DestinationBlockedError(_block(rival.fault(self._name)))
        survey = await look(db, self._name, TABLES)
        if survey.missing(self._wanted):
            await db.execute("SELECT pg_advisory_xact_lock($1)", SETUP_LOCK)
            survey = await look(db, self._name, TABLES)
            await self._make(db, survey)
        self.has_tombstones = TOMBSTONES in self._wanted or TOMBSTONES.name in survey.relations

    async def _make(self, db: Connection, survey: Survey) -> None:
        missing = survey.missing(self._wanted)
        statements = [] if survey.has_schema else [f"CREATE SCHEMA {quote(self._name)}"]
        for table in missing:
            statements += create_sql(self._name, table, compression=survey.compression)
        self._not_made = ()
        if not statements:
            return  # another writer has made them meanwhile
        try:
            async with db.transaction():
                await db.execute(";\n".join(statements))
        except asyncpg.InsufficientPrivilegeError:
            if not survey.relations:
                raise
            self._not_made = {table.name for table in missing}  # the tables that are there can be written

    async def require_ours(self, db: Connection) -> None:
        """Raise `DestinationBlockedError` when another one fills the schema: its rows are not ours to take."""
        rival = await find_rival(db, self._name, self._claimant) if self._claimant else None
        if rival:
            raise DestinationBlockedError(_block(rival.fault(self._name)))

    @contextmanager
    def refusing(self, table: str) -> Iterator[None]:
        """Raise `TableRefusedError` when Postgres refuses `table` itself, and not what is written to it."""
        try:
            yield
        except asyncpg.PostgresError as error:
            state = error.sqlstate or ""
            column = getattr(error, "column_name", None)
            not_ours = state == NOT_NULL and column not in {one.name for one in ROW_TABLES[table].columns}
            if state in REFUSALS or not_ours or (state == NO_TABLE and table in self._not_made):
                raise TableRefusedError(table, state) from error
            raise

    def require_open(self, tables: Collection[str]) -> None:
        """Raise `DestinationBlockedError` naming those of the resources' tables that refused a moment ago."""
        now = self._clock()
        self._blocks = {table: block for table, block in self._blocks.items() if block[0] > now}
        found = [self._blocks[table][1] for table in tables if table in self._blocks]
        if found:
            raise DestinationBlockedError(*found)

    async def explain(self, db: Connection, refusal: TableRefusedError) -> DestinationBlockedError | None:
        """Return what is to be mended about a table; `None` when the same may succeed later by itself."""
        survey = await look(db, self._name, TABLES)
        parent, until = WRITTEN_WITH[refusal.table], self._clock() + BLOCKED_FOR
        if refusal.state == CANCELLED:
            fault = survey.timeout_fault(least=None)
            return DestinationBlockedError(self._table_block(refusal, fault)) if fault else None
        for found in survey.table_faults(ROW_TABLES.values()):
            if (merged := merge(survey, [found])) and found.code != "destination_not_owner":
                self._blocks[WRITTEN_WITH[found.table]] = until, _block(merged, part=WRITTEN_WITH[found.table])
        self._blocks[parent] = until, self._table_block(refusal, merge(survey, self._faults_of(survey, refusal)))
        return DestinationBlockedError(self._blocks[parent][1])

    def _faults_of(self, survey: Survey, refusal: TableRefusedError) -> list[TableFault]:
        faults = [one for one in survey.table_faults(ROW_TABLES.values()) if one.table == refusal.table]
        relation = survey.relations.get(refusal.table)
        if not faults and refusal.state == RIGHTS and relation and relation.has_row_security:
            return [row_security_fault(survey, refusal.table)]
        return faults

    def _table_block(self, refusal: TableRefusedError, fault: Fault | None) -> Block:
        where = f"{self._name}.{refusal.table}"
        known = fault or Fault(
            refusal.state,
            "The table refuses what is written to it.",
            "The server's log has the reason.",
        )
        cause = f"Postgres refuses to write to {where} ({refusal.state}). {known.message}"
        return Block(known.code, cause, _fix(known), WRITTEN_WITH[refusal.table])

    async def extend(self, db: Connection) -> None:
        """Give tables that are there what the catalogue has gained, one table at a time, and keep their views.

        A typed column is derived from each row, so its table is rewritten, and can't be written meanwhile; its records
        wait. All other tables are written as ever. Raises `DestinationBlockedError` where only an owner may do it.
        """
        survey = await look(db, self._name, TABLES)
        for table in TABLES:
            found = survey.relations.get(table.name)
            if not found or not found.is_owner or found.kind not in ("r", "p"):
                continue
            if survey.lacking(table):
                await self._add_columns(db, table.name)
            if table.index and set(table.index) <= found.columns.keys() and not survey.is_indexed(table):
                # Behind a pooler each statement lies in a transaction, in which that is impossible.
                is_whole = found.kind == "r" and not db.is_shared
                sql = index_sql(self._name, table, how="CONCURRENTLY IF NOT EXISTS" if is_whole else "IF NOT EXISTS")
                await db.execute(sql, timeout=LONGEST_REWRITE)
        survey = await look(db, self._name, TABLES)
        faulty = {one.table for one in survey.table_faults(TABLES)}
        whole = survey.relations.keys() - faulty - {one.name for one in TABLES if survey.lacking(one)}
        await keep_views(db, self._name, whole)
        old = [one for one in survey.table_faults(TABLES) if one.code == "destination_not_owner"]
        if fault := merge(survey, old):
            raise DestinationBlockedError(_block(fault, part=NEW_COLUMNS))

    async def _add_columns(self, db: Connection, name: str) -> None:
        async with db.transaction():
            await db.execute("SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = 0")
            if not await db.fetchval(_EXTENDING, f"{self._name}.{name}"):
                return  # another writer is at it
            table = next(one for one in TABLES if one.name == name)
            lacking = (await look(db, self._name, [table])).lacking(table)
            if lacking:
                await db.execute(add_sql(self._name, name, lacking), timeout=LONGEST_REWRITE)


def _block(fault: Fault, state: str = "", *, part: str = "") -> Block:
    return Block(fault.code, f"{fault.message} ({state})" if state else fault.message, _fix(fault), part)


def _fix(fault: Fault) -> str:
    return f"{fault.fix} {fault.sql}" if fault.sql else fault.fix
