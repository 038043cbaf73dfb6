"""The removal of a connection: asked for by a person, carried out step by step, and then its own receipt.

A receipt outlives its connection, so it holds ids, counts and hashes only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from shared.db import Connection, Pool, Row, database_errors
from shared.delays import Delay, Work, delays_of_connection
from shared.errors import NotFoundError
from shared.topics import TOPICS

LEASE = timedelta(seconds=30)

CLAIM = """
UPDATE removals SET lease_until = now() + $1::interval WHERE id = (
    SELECT id FROM removals WHERE status = 'running' AND (lease_until IS NULL OR lease_until < now())
    ORDER BY requested_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING *
"""
LIST = """
SELECT * FROM removals WHERE $1::timestamptz IS NULL OR (requested_at, id) < ($1, $2)
ORDER BY requested_at DESC, id DESC LIMIT $3
"""
KEEP = "UPDATE removals SET lease_until = now() + $2::interval WHERE id = $1 AND status = 'running'"
COUNT = """
UPDATE removals SET counts = counts || (
    SELECT jsonb_object_agg(key, value::bigint + coalesce((counts ->> key)::bigint, 0)) FROM jsonb_each_text($2))
WHERE id = $1
"""
LOCK = "SELECT steps, counts FROM removals WHERE id = $1 AND status = 'running' FOR UPDATE"
FINISH_STEP = "UPDATE removals SET steps = $2, counts = '{}', cause = NULL WHERE id = $1"
FINISH = "UPDATE removals SET status = 'done', finished_at = now(), lease_until = NULL WHERE id = $1"
WAIT = "UPDATE removals SET cause = $2, lease_until = now() + $3::interval WHERE id = $1"


class Step(StrEnum):
    """What is undone, in this order."""

    ENDPOINT = "endpoint"  # our webhook endpoint at Stripe
    KEY = "key"  # the key and the signing secrets
    ROWS = "rows"  # the rows in the destinations, if that was chosen
    HISTORY = "history"  # syncs, events, counts, dead letters, and the connection itself


@dataclass(frozen=True, slots=True)
class DoneStep:
    """A step that was done."""

    name: Step
    at: datetime
    counts: Mapping[str, int]  # table or thing → how many
    note: str | None  # what could not be undone, and what a person can do about it


@dataclass(frozen=True, slots=True)
class Leftover:
    """Records of a connection that is gone: they are not read any more, and go with their topic's time."""

    topic: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Removal:
    """A removal, and how far it is."""

    id: str
    connection_id: str
    account_id: str
    livemode: bool
    deletes_rows: bool
    is_done: bool
    steps: tuple[DoneStep, ...]
    cause: str | None
    requested_at: datetime
    finished_at: datetime | None

    @property
    def leftovers(self) -> tuple[Leftover, ...]:
        """What Kafka may still hold of the connection, and until when; nothing is known of one that is under way."""
        ended = self.finished_at
        return tuple(Leftover(one.noun, ended + one.longest_life) for one in TOPICS) if ended else ()

    def has_done(self, step: Step) -> bool:
        """Tell whether the step is behind it."""
        return any(done.name is step for done in self.steps)


class RemovalStore:
    """Reads removals and lends them; every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self, removal_id: str) -> Removal:
        """Return the removal; raise `NotFoundError`."""
        return await self._find("id", removal_id)

    async def of_connection(self, connection_id: str) -> Removal:
        """Return the connection's removal; raise `NotFoundError`."""
        return await self._find("connection_id", connection_id)

    async def list_newest(self, *, before: tuple[datetime, str] | None = None, limit: int = 25) -> Sequence[Removal]:
        """Return removals, newest first; `before` is time and id of the last one on the page before."""
        requested_at, removal_id = before or (None, None)
        with database_errors():
            return [_removal(row) for row in await self._pool.fetch(LIST, requested_at, removal_id, limit)]

    async def waits(self, removal: Removal) -> Sequence[Delay]:
        """Return what the removal tries again: its own step, and what writers have to take out."""
        if removal.is_done:
            return ()
        found = await delays_of_connection(self._pool, removal.connection_id)
        return [one for one in found if one.work in (Work.REMOVAL, Work.CLEANUP)]

    async def claim(self) -> Removal | None:
        """Return one that is to be carried out, lent for half a minute; `None` when there is none."""
        with database_errors():
            row = await self._pool.fetchrow(CLAIM, LEASE)
        return _removal(row) if row else None

    async def wait(self, removal_id: str, *, cause: str, seconds: float) -> None:
        """Note why the current step can't be done yet, and when to look again."""
        with database_errors():
            await self._pool.execute(WAIT, removal_id, cause, timedelta(seconds=seconds))

    async def keep(self, removal_id: str) -> None:
        """Keep it lent for another half minute."""
        with database_errors():
            await self._pool.execute(KEEP, removal_id, LEASE)

    async def count(self, db: Connection, removal_id: str, counts: Mapping[str, int]) -> None:
        """Add to what the current step has counted, within the caller's transaction."""
        if counts:
            await db.execute(COUNT, removal_id, dict(counts))

    async def finish_step(
        self,
        db: Connection,
        removal_id: str,
        step: Step,
        *,
        counts: Mapping[str, int] | None = None,
        note: str | None = None,
    ) -> tuple[DoneStep, ...]:
        """Note within the caller's transaction that the step is done, with `counts` and what it had counted before.

        Returns what is done by now; nothing when somebody else has noted this step meanwhile.
        """
        row = await db.fetchrow(LOCK, removal_id)
        if row is None or any(done["name"] == step for done in row["steps"]):
            return ()
        added = counts or {}
        counted = {name: row["counts"].get(name, 0) + added.get(name, 0) for name in [*row["counts"], *added]}
        steps = [*row["steps"], _as_json(DoneStep(step, datetime.now(UTC), counted, note))]
        await db.execute(FINISH_STEP, removal_id, steps)
        return _steps(steps)

    async def finish(self, db: Connection, removal_id: str) -> None:
        """Make the removal its own receipt, within the caller's transaction."""
        await db.execute(FINISH, removal_id)

    async def _find(self, column: str, value: str) -> Removal:
        with database_errors():
            row = await self._pool.fetchrow(f"SELECT * FROM removals WHERE {column} = $1", value)
        if row is None:
            raise NotFoundError("There is no such removal.")
        return _removal(row)


def _as_json(step: DoneStep) -> dict[str, Any]:
    """Return a step as the table keeps it."""
    return {"name": step.name, "at": step.at.isoformat(), "counts": dict(step.counts), "note": step.note}


def _steps(kept: Sequence[Mapping[str, Any]]) -> tuple[DoneStep, ...]:
    return tuple(
        DoneStep(Step(one["name"]), datetime.fromisoformat(one["at"]), one["counts"], one["note"]) for one in kept
    )


def _removal(row: Row) -> Removal:
    return Removal(
        row["id"],
        row["connection_id"],
        row["account_id"],
        row["livemode"],
        row["deletes_rows"],
        row["status"] == "done",
        _steps(row["steps"]),
        row["cause"],
        row["requested_at"],
        row["finished_at"],
    )
