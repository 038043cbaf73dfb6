"""Ways to be wrong, one rule of the product each: what the harness has to find."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

# Kafka takes so long for its acknowledgement, as one that is busy does: else there may be none under way at a kill.
BUSY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Mutation:
    """A rule that is switched off in one service, and what has to go on so that it matters."""

    service: str
    rule: str  # what holds in the product
    instead: str
    make: Callable[[], None]
    shows_as: tuple[str, ...]  # the figures of which at least one has to be more than 0
    weather: Mapping[str, float] = field(default_factory=dict)  # faults of the simulator
    scenarios: tuple[str, ...] = ()  # that happen more often than usual
    kills: tuple[tuple[str, str], ...] = ()  # victims with their crash points; the plan of the seed if there are none


def let_the_last_write_win() -> None:
    """Settle every tie by what came last."""
    from services.destination_writer import delivery

    def judge_tie(current: delivery.Version, incoming: delivery.Version) -> delivery.Judgement:
        return delivery.Judgement(delivery.Verdict.WRITE, ())

    delivery._judge_tie = judge_tie


def forget_deletions() -> None:
    """Take deleted rows out at once."""
    from services.destination_writer.destinations.postgres import PostgresDestination
    from shared.postgres_tables import quote

    write_table = PostgresDestination._write_table

    async def write_and_forget(self: PostgresDestination, db: Any, account: Any, batch: Sequence[Any]) -> Any:
        answers = await write_table(self, db, account, batch)
        table = f"{quote(self._address.schema)}.{quote(batch[0].record.resource.table)}"
        gone = [winner.record.object_id for winner in batch if winner.record.is_deleted]
        await db.execute(f"DELETE FROM {table} WHERE _deleted AND id = ANY ($1::text[])", gone)
        return answers

    PostgresDestination._write_table = write_and_forget  # type: ignore[method-assign]


def commit_first() -> None:
    """Commit a batch's offsets before its effect."""
    from shared import consumers

    settle_message = consumers.settle_message

    async def commit_and_settle(message: Any, *arguments: Any) -> None:
        await message.ack()
        await settle_message(message, *arguments)

    consumers.settle_message = commit_and_settle  # type: ignore[assignment]


def stamp_by_the_answer() -> None:
    """Take the moment of the answer for that of the state in it."""
    from shared import stripe_api

    def stamp_of(date_header: str | None, duration_seconds: float) -> int:
        return math.floor(parsedate_to_datetime(date_header or "").timestamp())

    stripe_api.stamp_of = stamp_of  # type: ignore[assignment]


def answer_before_kafka() -> None:
    """Answer a webhook with 200 before Kafka has it."""
    from shared.kafka import Producer

    publish = Producer.publish
    under_way: set[asyncio.Task[Any]] = set()

    async def publish_in_a_while(self: Producer, *arguments: Any) -> None:
        await asyncio.sleep(BUSY_SECONDS)
        await publish(self, *arguments)

    async def publish_later(self: Producer, *arguments: Any) -> None:
        task = asyncio.ensure_future(publish_in_a_while(self, *arguments))
        under_way.add(task)
        task.add_done_callback(lambda done: (under_way.discard(done), done.cancelled() or done.exception()))

    Producer.publish = publish_later  # type: ignore[method-assign, assignment]


MUTATIONS = {
    "last-write-wins": Mutation(
        "destination-writer",
        "Equal stamps are settled by what the events tell, else by asking Stripe.",
        "What comes last wins.",
        let_the_last_write_win,
        ("stale",),
        {"webhook_reorder": 0.5, "webhook_reorder_seconds": 1.0},
    ),
    "no-tombstones": Mutation(
        "destination-writer",
        "A deleted object leaves its row, marked.",
        "Its row is deleted without a trace.",
        forget_deletions,
        ("zombie",),
        {"webhook_late": 0.5, "webhook_late_seconds": 12.0, "webhook_duplicate": 0.5},
        ("sign_up", "delete_customer", *("update_customer",) * 5),
    ),
    "commit-first": Mutation(
        "destination-writer",
        "Offsets are committed after the effect.",
        "They are committed before it.",
        commit_first,
        ("lost",),
        kills=(("destination-writer", "mid_upsert"),) * 3,
    ),
    "stamp-of-the-answer": Mutation(
        "sync-worker",
        "A listed object's stamp is the start of the request less five seconds.",
        "It is the moment of the answer.",
        stamp_by_the_answer,
        ("stale", "zombie"),
        {"latency_after_ms": 2000.0},
    ),
    "answer-before-kafka": Mutation(
        "webhook-gateway",
        "A webhook is answered with 200 when Kafka has acknowledged it.",
        "It is answered at once.",
        answer_before_kafka,
        ("lost",),
        kills=(("webhook-gateway", "before_produce"), ("kafka", ""), ("webhook-gateway", "before_produce")),
    ),
}
"""By name. Each is made in the process of its service alone."""
