"""Asks for dead letters to be tried again, with an entry in the audit log; the writers do it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from services.connection_api.letters.letters import meant, subject_of
from services.connection_api.rest.models import LetterChoice, ReplayAnswer
from shared.acceptance import KnownOwner, find_key
from shared.audit import Actor, append
from shared.crypto import make_id
from shared.db import Connection, Pool, Row, database_errors, transaction
from shared.errors import ConflictError, MessageError, NotFoundError
from shared.letter_choice import condition_of
from shared.replay_plan import KeptLetter, Way, plan_of

LETTER = """
SELECT d.id, d.stage, d.connection_id, d.destination_id, d.topic, d.key, d.headers, d.body, d.resource, d.object_id
FROM dead_letters d WHERE {filters}
"""
OWNER = "SELECT id AS connection_id, account_id, livemode FROM connections WHERE id = $1"
MEANT = """
SELECT count(*) AS letters, coalesce(max(id), 0) AS up_to FROM dead_letters WHERE replay_id IS NULL AND {filters}
"""
INSERT = """
INSERT INTO dead_letter_replays (id, chosen, up_to, letters, status, is_walked, finished_at)
VALUES ($1, $2, $3, $4, CASE WHEN $5 THEN 'done' ELSE 'running' END, $5, CASE WHEN $5 THEN now() END)
"""
SELECT = """
SELECT r.*, CASE WHEN r.status = 'done' THEN 0 ELSE (
    SELECT count(*) FROM dead_letters d WHERE d.replay_id = r.id) END AS under_way
FROM dead_letter_replays r
"""
NEWEST = f"""
{SELECT} WHERE $1::timestamptz IS NULL OR (r.requested_at, r.id) < ($1, $2)
ORDER BY r.requested_at DESC, r.id DESC LIMIT $3
"""


class NotReplayableError(ConflictError):
    """This dead letter can't be replayed."""

    code = "dead_letter_not_replayable"


class Replays:
    """Every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool, *, topic_prefix: str, now: Callable[[], float] = time.time) -> None:
        """`now` gives the time in seconds since 1970."""
        self._pool = pool
        self._prefix = topic_prefix
        self._now = now

    async def request(self, chosen: LetterChoice, *, by: Actor) -> ReplayAnswer:
        """Ask for the letters to be tried again; those that are under way already are not meant.

        Raises `NotFoundError` for letters that are named and not there, and `NotReplayableError` for one that is named
        alone and can't be tried again.
        """
        filters, values = condition_of(chosen.model_dump(), first=1)
        replay_id = make_id("rep")
        async with transaction(self._pool) as db:
            if chosen.ids:
                await self._require_replayable(db, filters, values)
            found = await db.fetchrow(MEANT.format(filters=filters), *values)
            sent = chosen.model_dump(mode="json", exclude_defaults=True)
            await db.execute(INSERT, replay_id, sent, found["up_to"], found["letters"], found["letters"] == 0)
            await append(db, by, "dead_letters.replayed", subject_of(chosen), letters=found["letters"], **meant(chosen))
        return await self.get(replay_id)

    async def get(self, replay_id: str) -> ReplayAnswer:
        """Return how far a replay is; raise `NotFoundError`."""
        with database_errors():
            row = await self._pool.fetchrow(f"{SELECT} WHERE r.id = $1", replay_id)
        if row is None:
            raise NotFoundError(f"There is no replay {replay_id}.")
        return _answer(row)

    async def list_newest(self, *, before: tuple[datetime, str] | None = None, limit: int = 25) -> list[ReplayAnswer]:
        """Return replays, newest first; those after the place `before`."""
        with database_errors():
            rows = await self._pool.fetch(NEWEST, *(before or (None, None)), limit)
        return [_answer(row) for row in rows]

    async def _require_replayable(self, db: Connection, filters: str, values: list[object]) -> None:
        letters = [KeptLetter(**row) for row in await db.fetch(LETTER.format(filters=filters), *values)]
        if not letters:
            raise NotFoundError("There is no failed record with this id. It may have been written, or discarded.")
        if len(letters) > 1:
            return
        plan = plan_of(letters[0], topic_prefix=self._prefix, now=self._now())
        if plan.way is Way.NONE:
            raise NotReplayableError(plan.reason)
        if plan.way is Way.ACCEPT:
            await _require_acceptable(db, letters[0], self._now())


async def _require_acceptable(db: Connection, letter: KeptLetter, now: float) -> None:
    """Judge a webhook as the gateway does; raise `NotReplayableError` with its reason."""
    owner = await db.fetchrow(OWNER, letter.connection_id)
    if owner is None:
        raise NotReplayableError("Its connection is gone.")
    try:
        find_key(letter.body, KnownOwner(**owner), now=now)
    except MessageError as error:
        raise NotReplayableError(f"It still can't be used: {error.message}") from error


def _answer(row: Row) -> ReplayAnswer:
    settled = row["written"] + row["asked"] + row["failed"] + row["skipped"]
    to_come = 0 if row["is_walked"] else max(0, row["letters"] - settled - row["under_way"])
    known = {name: row[name] for name in ReplayAnswer.model_fields if name != "waiting"}
    return ReplayAnswer(**known, waiting=row["under_way"] + to_come)
