"""Carries out replays of dead letters: each letter that is meant once, in the order of their numbers.

A letter is taken for a replay, published, and marked as published, in this order. A crash in between publishes some
again, which changes no row.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.destination_writer.ledger import ask_stripe
from services.destination_writer.records import Refetch
from shared.acceptance import KnownOwner, find_key
from shared.connections import hold
from shared.db import Connection, Pool, Row, database_errors, in_transaction
from shared.dead_letters import describe, take_turn
from shared.errors import MessageError, TransientError
from shared.kafka import Outgoing, Producer
from shared.letter_choice import condition_of
from shared.log import get_logger
from shared.replay_plan import KeptLetter, Plan, Way, outgoing, plan_of
from shared.topics import EVENTS, Topic

POLL_INTERVAL = 0.5  # seconds
BATCH = 200  # letters

TAKE = """
UPDATE dead_letter_replays SET lease_until = now() + interval '30 seconds' WHERE id = (
    SELECT id FROM dead_letter_replays WHERE status = 'running' AND NOT is_walked
      AND (lease_until IS NULL OR lease_until < now()) ORDER BY requested_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, chosen, up_to, cursor
"""
CLAIM = """
UPDATE dead_letters d SET replay_id = $1 FROM (
    SELECT id FROM dead_letters WHERE id > $2 AND id <= $3
      AND (replay_id IS NULL OR (replay_id = $1 AND NOT is_published)) AND {filters}
    ORDER BY id LIMIT $4) AS due
WHERE d.id = due.id
RETURNING d.id, d.stage, d.connection_id, d.destination_id, d.topic, d.key, d.headers, d.body, d.resource, d.object_id
"""
OWNERS = "SELECT id AS connection_id, account_id, livemode FROM connections WHERE id = ANY ($1::text[])"
PUBLISHED = "UPDATE dead_letters SET is_published = true WHERE id = ANY ($1::bigint[]) AND replay_id = $2"
GONE = "DELETE FROM dead_letters WHERE id = ANY ($1::bigint[])"
GIVEN_BACK = "UPDATE dead_letters SET replay_id = NULL WHERE id = ANY ($1::bigint[]) AND replay_id = $2"
REFUSED_AGAIN = """
UPDATE dead_letters d SET replay_id = NULL, attempts = d.attempts + 1, code = u.code, reason = u.reason,
    last_seen_at = now()
FROM unnest($1::bigint[], $2::text[], $3::text[]) AS u (id, code, reason) WHERE d.id = u.id
"""
ADVANCE = """
UPDATE dead_letter_replays SET cursor = $2, is_walked = $3, lease_until = NULL, written = written + $4,
    asked = asked + $5, failed = failed + $6, skipped = skipped + $7, note = coalesce(note, $8)
WHERE id = $1
"""
FINISH = """
UPDATE dead_letter_replays r SET status = 'done', finished_at = now()
WHERE r.status = 'running' AND r.id IN (
    SELECT o.id FROM dead_letter_replays o
    WHERE o.status = 'running' AND o.is_walked AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.replay_id = o.id)
    ORDER BY o.id FOR UPDATE SKIP LOCKED)
"""


@dataclass(slots=True)
class Tally:
    """What is done with a batch of letters."""

    published: list[tuple[Topic, KeptLetter, Outgoing]] = field(default_factory=list)
    asked: list[tuple[int, Refetch]] = field(default_factory=list)
    needless: list[int] = field(default_factory=list)  # accepted, and there is nothing to keep of them
    refused: list[tuple[int, str, str]] = field(default_factory=list)  # by the gateway's rule, again
    skipped: list[tuple[int, str]] = field(default_factory=list)


class Replaying:
    """The loop over replays."""

    def __init__(
        self, pool: Pool, producer: Producer, topic_prefix: str, *, now: Callable[[], float] = time.time
    ) -> None:
        """`now` gives the time in seconds since 1970."""
        self._pool = pool
        self._producer = producer
        self._prefix = topic_prefix
        self._now = now

    async def run(self) -> None:
        """Carry out replays, for ever."""
        while True:
            try:
                while await self.step():
                    pass
            except TransientError as error:
                get_logger().warning("replay_delayed", reason=error.message)
            await asyncio.sleep(POLL_INTERVAL)

    async def step(self) -> bool:
        """Try a batch of letters again; tell whether there was a replay to work on."""
        with database_errors():
            await self._pool.execute(FINISH)
            replay = await self._pool.fetchrow(TAKE)
        if replay is None:
            return False
        letters = await self._claim(replay)
        tally = self._sort(letters, await self._owners(letters))
        for topic in dict.fromkeys(topic for topic, _, _ in tally.published):
            await self._producer.publish_all(topic, [out for one, _, out in tally.published if one is topic])
        await in_transaction(self._pool, lambda db: self._note(db, replay, letters, tally))
        return True

    async def _claim(self, replay: Row) -> list[KeptLetter]:
        filters, values = condition_of(replay["chosen"], first=5)
        sql = CLAIM.format(filters=filters)

        async def work(db: Connection) -> list[Row]:
            await take_turn(db)
            return list(await db.fetch(sql, replay["id"], replay["cursor"], replay["up_to"], BATCH, *values))

        rows = await in_transaction(self._pool, work)
        return sorted((KeptLetter(**row) for row in rows), key=lambda letter: letter.id)

    async def _owners(self, letters: Sequence[KeptLetter]) -> dict[str, KnownOwner]:
        with database_errors():
            rows = await self._pool.fetch(OWNERS, sorted({letter.connection_id or "" for letter in letters}))
        return {row["connection_id"]: KnownOwner(**row) for row in rows}

    def _sort(self, letters: Sequence[KeptLetter], owners: dict[str, KnownOwner]) -> Tally:
        tally = Tally()
        for letter in letters:
            plan = plan_of(letter, topic_prefix=self._prefix, now=self._now())
            owner = owners.get(letter.connection_id or "")
            if plan.way is Way.ACCEPT and owner:
                _accept(letter, owner, tally, self._now())
            else:
                _follow(plan, letter, tally)
        return tally

    async def _note(self, db: Connection, replay: Row, letters: Sequence[KeptLetter], tally: Tally) -> None:
        replay_id = replay["id"]
        asked = [refetch for _, refetch in tally.asked]
        await hold(db, (refetch.connection_id for refetch in asked))
        await ask_stripe(db, asked)
        await take_turn(db)
        await db.execute(PUBLISHED, [letter.id for _, letter, _ in tally.published], replay_id)
        await db.execute(GONE, sorted([letter_id for letter_id, _ in tally.asked] + tally.needless))
        await db.execute(GIVEN_BACK, [letter_id for letter_id, _ in tally.skipped], replay_id)
        if tally.refused:
            await db.execute(REFUSED_AGAIN, *map(list, zip(*tally.refused, strict=True)))
        await db.execute(
            ADVANCE,
            replay_id,
            letters[-1].id if letters else replay["up_to"],
            len(letters) < BATCH,
            len(tally.needless),
            len(tally.asked),
            len(tally.refused),
            len(tally.skipped),
            tally.skipped[0][1] if tally.skipped else None,
        )


def _accept(letter: KeptLetter, owner: KnownOwner, tally: Tally, now: float) -> None:
    """Judge a webhook as the gateway does."""
    try:
        key = find_key(letter.body, owner, now=now)
    except MessageError as error:
        tally.refused.append((letter.id, *describe(error)))
        return
    if key is None:
        tally.needless.append(letter.id)
        return
    sent = outgoing(letter)
    tally.published.append((EVENTS, letter, Outgoing(key, sent.value, sent.headers)))


def _follow(plan: Plan, letter: KeptLetter, tally: Tally) -> None:
    if plan.way is Way.PUBLISH and plan.topic:
        tally.published.append((plan.topic, letter, outgoing(letter)))
    elif plan.way is Way.ASK_STRIPE:
        refetch = Refetch(letter.connection_id or "", plan.resource, plan.object_id, "dead letter", 0)
        tally.asked.append((letter.id, refetch))
    else:
        tally.skipped.append((letter.id, plan.reason or "Its connection is gone."))
