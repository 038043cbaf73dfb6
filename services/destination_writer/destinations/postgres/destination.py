"""Writes batches into a Postgres schema: one transaction per call, newest wins, children with their parent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from itertools import groupby

import asyncpg
from pydantic import SecretStr

from services.destination_writer.comparison import Compared
from services.destination_writer.delivery import (
    Outcome,
    Winner,
    settle_chain,
)
from services.destination_writer.destinations import Account, Cleaned, Older, Span, Written
from services.destination_writer.destinations.postgres import cleanup, lookup, upsert, verdicts
from services.destination_writer.destinations.postgres.children import Sets, collect_sets
from services.destination_writer.destinations.postgres.schema import (
    CANCELLED,
    Schema,
    TableRefusedError,
    blocking_errors,
)
from services.destination_writer.destinations.postgres.tombstones import Tombstones
from services.destination_writer.omission import Tree
from services.destination_writer.records import ChildPart, Record
from shared.bounds import last_true
from shared.catalogue import BY_NAME, Child, Resource
from shared.db import Connection, Pool, Row
from shared.destination_sessions import destination_sessions
from shared.destinations import PostgresAddress
from shared.errors import DestinationUnavailableError
from shared.messages import Origin
from shared.networks import ANYWHERE, Networks
from shared.postgres_errors import destination_errors
from shared.postgres_mark import Claimant
from shared.stripe_pages import parse_item

POOL_SIZE = 4
AGAIN = 3  # times that a row may change between a statement's snapshot and its write


class PostgresDestination:
    """A schema in a Postgres database."""

    def __init__(
        self,
        address: PostgresAddress,
        password: SecretStr,
        *,
        removes_deleted: bool = False,
        networks: Networks = ANYWHERE,
        claimant: Claimant | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """With `removes_deleted` the row of an object that is deleted goes, and leaves a tombstone.

        Nothing is written to a schema that another one than the `claimant` fills.
        """
        self._removes_deleted = removes_deleted
        self._now = now
        self._tombstones = Tombstones(address.schema)
        self._schema = Schema(address.schema, claimant=claimant, removes_deleted=removes_deleted)
        self._address = address
        self._password = password
        self._networks = networks
        self._pool: Pool | None = None
        self._has_tables = False
        self._is_closed = False
        self._starting = asyncio.Lock()
        self._looking = asyncio.Lock()

    async def prepare(self) -> None:
        """Look whose the schema is, and make what is missing."""
        with self._errors():
            await self._look(await self._opened())

    async def extend(self) -> None:
        """Give the tables what the catalogue has gained, while rows are written."""
        with self._errors():
            pool = await self._started()
            async with pool.acquire() as db:
                await self._schema.extend(db)

    async def write(self, account: Account, winners: Sequence[Winner]) -> list[Written]:
        """Write the winners in one transaction; answer in the same order."""
        order = sorted(
            range(len(winners)), key=lambda i: (winners[i].record.resource.table, winners[i].record.object_id)
        )
        answers: dict[int, Written] = {}
        self._schema.require_open({winner.record.resource.table for winner in winners})
        async with self._transaction() as db:
            for _, group in groupby(order, key=lambda i: winners[i].record.resource.table):
                indices = list(group)
                batch = [winners[i] for i in indices]
                with self._schema.refusing(batch[0].record.resource.table):
                    answers.update(zip(indices, await self._write_table(db, account, batch), strict=True))
        return [answers[i] for i in range(len(winners))]

    async def write_children(self, account: Account, part: ChildPart) -> bool:
        """Write a part of a child set and say so, if its parent is there; the last part removes what is older."""
        self._schema.require_open({BY_NAME[part.parent_resource].table})
        async with self._transaction() as db:
            with self._schema.refusing(part.child.table):
                return await self._write_part(db, account, part)

    async def delete_rows(
        self, account: Account, source: Resource | Child, *, created_before: int | None = None, after: str | None = None
    ) -> Cleaned:
        """Delete a span of the account's rows of a table, and the children of those that go."""
        with self._errors():
            async with _transaction_in(await self._opened()) as db:
                await self._schema.require_ours(db)
                if created_before is None and after is None:
                    await self._tombstones.forget(db, account, source.table)
                return await cleanup.delete_rows(
                    db, self._address.schema, account, source, created_before=created_before, after=after
                )

    async def omit_fields(
        self, account: Account, source: Resource | Child, tree: Tree, *, after: str | None = None
    ) -> Cleaned:
        """Take fields out of a span of the account's rows of a table."""
        with self._errors():
            async with _transaction_in(await self._opened()) as db:
                await self._schema.require_ours(db)
                return await cleanup.omit_fields(db, self._address.schema, account, source, tree, after=after)

    async def compare(self, account: Account, records: Sequence[Record]) -> list[Compared]:
        """Compare records with their rows."""
        async with self._transaction() as db:
            return await lookup.compare_rows(
                db,
                self._address.schema,
                account,
                records,
                has_tombstones=self._schema.has_tombstones,
                now=self._now(),
            )

    async def find_older(self, account: Account, resource: Resource, older: Older, *, after: str | None = None) -> Span:
        """Return the live rows of a span that a list has not shown."""
        with self._errors():
            async with _transaction_in(await self._opened()) as db:
                last = last_true(self._now(), older.stamp)
                return await lookup.find_older(
                    db, self._address.schema, account, resource, older, after=after, last_true=last
                )

    async def bury_deleted(self, account: Account, source: Resource | Child, *, after: str | None = None) -> Cleaned:
        """Put tombstones in the place of a span of the marked rows of a table, where deleted rows go."""
        if not self._removes_deleted:
            return Cleaned({}, None)
        async with self._transaction() as db:
            await self._schema.require_ours(db)
            return await self._tombstones.bury_span(db, account, source, after=after)

    async def close(self) -> None:
        """Close the connections for good; a second call does nothing."""
        self._is_closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(pool.close(), 2.0)

    def _last_true(self, winners: Iterable[Winner]) -> int:
        """Return the last stamp that Stripe's clock can have given; what Stripe itself answered tells that clock."""
        records = (winner.record for winner in winners)
        return last_true(self._now(), *(one.stamp for one in records if one.origin is not Origin.EVENT))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        with self._errors():
            pool = await self._started()
            try:
                async with _transaction_in(pool) as db:
                    yield db
            except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
                self._has_tables = False  # somebody dropped our tables: the next call makes them again
                raise
            except TableRefusedError as refusal:
                raise await self._explained(pool, refusal) from refusal.__cause__

    async def _explained(self, pool: Pool, refusal: TableRefusedError) -> BaseException:
        """Return what a person has to mend about the table, or what Postgres itself said."""
        if refusal.state == CANCELLED:
            await pool.expire_connections()  # a time limit that was changed holds in new sessions
        async with _transaction_in(pool) as db:
            return await self._schema.explain(db, refusal) or refusal.__cause__ or refusal

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with destination_errors(), blocking_errors(self._address):
            yield

    async def _write_part(self, db: Connection, account: Account, part: ChildPart) -> bool:
        ids = [parse_item(body).id or "" for body in part.bodies]
        rows = sorted(zip(ids, part.bodies, strict=True))
        schema, parents = self._address.schema, BY_NAME[part.parent_resource].table
        last = last_true(self._now(), part.stamp)
        if self._schema.has_tombstones:
            await self._tombstones.take_turn(db, account, parents)
        sql = upsert.hold_parent_sql(schema, parents)
        if not await db.fetchval(sql, account.id, account.livemode, part.parent_id, part.parent_from):
            return False
        if self._schema.has_tombstones:
            stamps = dict.fromkeys(ids, part.stamp)
            out = await self._tombstones.keep_out(db, account, part.child.table, stamps, last_true=last)
            rows = [row for row in rows if row[0] not in out]
        await db.execute(
            upsert.write_children_sql(schema, part.child.table),
            account.id,
            account.livemode,
            [row[0] for row in rows],
            [part.parent_id] * len(rows),
            [part.stamp] * len(rows),
            [row[1].decode() for row in rows],
            last,
        )
        if part.is_complete:
            sql = upsert.sweep_older_sql(schema, part.child.table)
            await db.execute(sql, account.id, account.livemode, part.parent_id, part.stamp, last)
        if part.is_complete and self._removes_deleted:
            await self._tombstones.bury_children(db, account, part.child.table, [part.parent_id])
        return True

    async def _write_table(self, db: Connection, account: Account, batch: Sequence[Winner]) -> list[Written]:
        if not self._schema.has_tombstones:
            return await self._write_rows(db, account, batch)
        table = batch[0].record.resource.table
        await self._tombstones.take_turn(db, account, table)
        buried = await self._tombstones.meet(db, account, table, batch, last_true=self._last_true(batch))
        left = [winner for place, winner in enumerate(batch) if place not in buried]
        answers = iter(await self._write_rows(db, account, left) if left else ())
        deleted = [winner.record.object_id for winner in left if winner.record.is_deleted]
        if deleted and self._removes_deleted:
            await self._tombstones.bury(db, account, table, deleted)
        return [buried[place] if place in buried else next(answers) for place in range(len(batch))]

    async def _write_rows(self, db: Connection, account: Account, batch: Sequence[Winner]) -> list[Written]:
        resource = batch[0].record.resource
        rows = await self._upsert(db, account, batch)
        last = self._last_true(batch)
        answers = [verdicts.answer(winner, row, last) for winner, row in zip(batch, rows, strict=True)]
        ties = [i for i, row in enumerate(rows) if verdicts.is_tie(batch[i], row)]
        if ties:
            settled = await self._settle_ties(db, account, [batch[i] for i in ties])
            for i, answer in zip(ties, settled, strict=True):
                answers[i] = answer
        won = [w for w, a in zip(batch, answers, strict=True) if a.outcome is not Outcome.IGNORED]
        if resource.children and won:
            cut = await self._replace_children(db, account, resource, won)
            answers = [replace(a, is_cut=w.record.object_id in cut) for w, a in zip(batch, answers, strict=True)]
        return answers

    async def _upsert(
        self, db: Connection, account: Account, batch: Sequence[Winner], *, wins_tie: bool = False
    ) -> list[Row]:
        records = [winner.record for winner in batch]
        sql = upsert.write_sql(self._address.schema, records[0].resource.table, wins_tie=wins_tie)
        rows: list[Row] = []
        for _ in range(AGAIN):
            rows = await db.fetch(
                sql,
                account.id,
                account.livemode,
                [r.object_id for r in records],
                [r.stamp for r in records],
                [r.origin != "event" for r in records],
                [r.is_deleted for r in records],
                [r.body.decode() for r in records],
                [verdicts.trail_text(winner.trail) for winner in batch],
                self._last_true(batch),
            )
            if all(verdicts.is_explained(r.stamp, row) for r, row in zip(records, rows, strict=True)):
                break
        return rows

    async def _settle_ties(self, db: Connection, account: Account, batch: Sequence[Winner]) -> list[Written]:
        """Settle equal stamps with different bodies by what the events tell; what they don't tell is asked for."""
        schema, table = self._address.schema, batch[0].record.resource.table
        ids = [winner.record.object_id for winner in batch]
        found = await db.fetch(upsert.lock_sql(schema, table), account.id, account.livemode, ids)
        current = {row["id"]: verdicts.version(row) for row in found}
        results = [settle_chain(current[w.record.object_id], w.chain) for w in batch]
        winning = [Winner(r.record, (r.record,), r.trail) for r in results if r.record is not None]
        if winning:
            await self._upsert(db, account, winning, wins_tie=True)
        trails = [verdicts.trail_text(result.trail) for result in results]
        await db.execute(upsert.learn_sql(schema, table), account.id, account.livemode, ids, trails)
        return [verdicts.settled(w, current[w.record.object_id], r) for w, r in zip(batch, results, strict=True)]

    async def _replace_children(
        self, db: Connection, account: Account, resource: Resource, won: Sequence[Winner]
    ) -> set[str]:
        """Write the child sets of parents that won; return the parents whose set was cut."""
        cut: set[str] = set()
        for child in resource.children:
            with self._schema.refusing(child.table):
                cut |= await self._replace_set(db, account, child, won)
        return cut

    async def _replace_set(self, db: Connection, account: Account, child: Child, won: Sequence[Winner]) -> set[str]:
        """Write the sets of one kind; return the parents whose set was cut."""
        sets: Sets = collect_sets(child, [winner.record for winner in won])
        key, last = (account.id, account.livemode), self._last_true(won)
        if sets.ids:
            shown = sets
            if self._schema.has_tombstones:
                stamps = dict(zip(sets.ids, sets.stamps, strict=True))
                out = await self._tombstones.keep_out(db, account, child.table, stamps, last_true=last)
                shown = sets.without(out)
            sql = upsert.write_children_sql(self._address.schema, child.table)
            await db.execute(sql, *key, shown.ids, shown.parents, shown.stamps, shown.bodies, last)
        if sets.complete:
            sql = upsert.sweep_sql(self._address.schema, child.table)
            await db.execute(sql, *key, list(sets.complete), list(sets.complete.values()), sets.ids, last)
            if self._removes_deleted:
                await self._tombstones.bury_children(db, account, child.table, sets.complete)
        return sets.cut

    async def _started(self) -> Pool:
        """Return the pool of a database that has our tables."""
        pool = await self._opened()
        if not self._has_tables:
            await self._look(pool)
        return pool

    async def _look(self, pool: Pool) -> None:
        async with self._looking:
            try:
                async with _transaction_in(pool) as db:
                    await db.execute("SET LOCAL client_min_messages = warning")
                    await self._schema.prepare(db)
            except BaseException:
                self._has_tables = False
                raise
            self._has_tables = True

    async def _opened(self) -> Pool:
        async with self._starting:
            if self._is_closed:
                raise DestinationUnavailableError("The destination was closed a moment ago.")
            if self._pool is None:
                sessions = destination_sessions(self._address, self._password, self._networks)
                self._pool = await sessions.pool(min_size=0, max_size=POOL_SIZE)
            return self._pool


@asynccontextmanager
async def _transaction_in(pool: Pool) -> AsyncIterator[Connection]:
    """Lend a connection in a transaction; a call whose time is over takes its connection with it.

    Both a rollback and asyncpg's own cancellation wait for the server, and one that has fallen silent never answers.
    """
    async with pool.acquire() as db:
        transaction = db.transaction()
        try:
            await transaction.start()
            try:
                yield db
            except asyncio.CancelledError:
                raise
            except BaseException:
                await transaction.rollback()
                raise
            await transaction.commit()
        except asyncio.CancelledError:
            db.terminate()
            raise
