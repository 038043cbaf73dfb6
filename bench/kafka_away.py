"""What an absence of Kafka costs: ten minutes at 50 events a second, with the real processes, and every row compared.

    python -m bench.kafka_away SECONDS

Kafka is stopped (SIGSTOP: it takes what is sent, and answers nothing), or with `--killed` is not there at all. The
limits: until its return each webhook is refused with 503 within 2 s, and at most 60 s after it every event of the
absence is known and what it changed is a row. Stripe tries a refused webhook again after minutes or hours, so here it
is not tried again. The business goes on until that moment; then it stops, and all rows are compared.

The event feed has bodies in our API version, as that of an account of today. With `--older-version` it has not: each
object is then asked for, which takes as long as the budget says.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local_stack.children import ChildEvent, ChildState
from services.console.running import home_folder
from services.sync_worker.outages import WAS_AWAY
from shared.catalogue import RESOURCES
from shared.catalogue.lookups import WITHOUT_ID
from shared.stripe_api import API_VERSION
from tests.chaos import ledger
from tests.chaos.rest import Rest
from tests.chaos.stage import POLL_INTERVAL, Stage, StageError, staged

KAFKA = "kafka"
WARM_UP = 10.0  # seconds of changes before Kafka goes
ANSWER_LIMIT = 2.0  # seconds until a webhook is refused
LIMIT = 60.0  # seconds from the return to all rows
PATIENCE = 600.0  # seconds
AT_ONCE = "512"  # webhooks under way: they do not wait for each other at Stripe
ACCEPTED, REFUSED = 200, 503
LEFT_OUT = "refund."  # events that the feed does not show: what they tell of is listed again
EXAMPLES = 10  # differences that are printed
Event = Mapping[str, Any]

# Each question for Stripe, when it is answered.
WATCH = """
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;
CREATE TABLE bench.answered (resource text, object_id text, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION bench.note() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO bench.answered VALUES (old.resource, old.object_id); RETURN NULL; END $$;
CREATE TRIGGER bench_gone AFTER DELETE ON tillstream.refetches FOR EACH ROW EXECUTE FUNCTION bench.note();
CREATE TRIGGER bench_again AFTER UPDATE ON tillstream.refetches FOR EACH ROW
WHEN (old.lease_until IS NOT NULL AND new.lease_until IS NULL) EXECUTE FUNCTION bench.note();
"""
KNOWN = "SELECT event_id FROM tillstream.event_log WHERE event_id = ANY ($1::text[])"
GAP_FILL = """
SELECT status,
       extract(epoch FROM created_at)::float8 AS noticed_at, extract(epoch FROM finished_at)::float8 AS ended_at,
       EXISTS (SELECT FROM tillstream.slices s WHERE s.sync_id = y.id)
       AND NOT EXISTS (SELECT FROM tillstream.slices s WHERE s.sync_id = y.id AND s.status = 'planned') AS is_read
FROM tillstream.syncs y WHERE trigger = $1 AND created_at > to_timestamp($2) ORDER BY created_at LIMIT 1
"""
ASKED = "SELECT resource, object_id FROM tillstream.refetches"
ANSWERED = "SELECT DISTINCT resource, object_id FROM bench.answered WHERE at > to_timestamp($1)"
ANSWERS = "SELECT topic, partition, max(last_offset) AS last_offset FROM tillstream.answers GROUP BY 1, 2"
PROGRESS = "SELECT topic, partition, max(next_offset) AS next_offset FROM tillstream.writer_progress GROUP BY 1, 2"


@dataclass(frozen=True, slots=True)
class Absence:
    """An absence of Kafka, with the events that happened in it; times are Unix seconds."""

    begun_at: float
    returned_at: float
    first: int  # position of the first event in the simulator's journal
    events: Sequence[Event]

    @property
    def rate(self) -> float:
        """Events a second."""
        return len(self.events) / (self.returned_at - self.begun_at)


@dataclass(frozen=True, slots=True)
class Healing:
    """When each step was done, in seconds from the return."""

    noticed: float
    read: float
    known: float
    written: float
    settled: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run has shown."""

    absence: Absence
    answers: Counter[int]  # webhooks of the absence by the status of their answer
    longest: float  # seconds that one of the refused waited for its answer
    missed: int
    healing: Healing
    pages: int
    calls: int
    wrong_then: tuple[str, ...]  # differences when all was there, of objects that have not changed since
    compared_then: int
    wrong_at_rest: tuple[str, ...]  # before a comparison with Stripe, in tables of which every change has its event
    rows: ledger.Rows

    @property
    def is_right(self) -> bool:
        """Whether every limit is kept and every row right."""
        is_refused = self.answers.keys() <= {ACCEPTED, REFUSED} and self.longest <= ANSWER_LIMIT
        is_equal = not (self.wrong_then or self.wrong_at_rest or self.rows.differences)
        return is_refused and is_equal and self.healing.settled <= LIMIT

    def lines(self) -> list[str]:
        """Return the figures for people."""
        absence, healing, rows = self.absence, self.healing, self.rows
        answers = ", ".join(f"{count:,} got {status}" for status, count in sorted(self.answers.items()))
        return [
            f"Kafka was away for {absence.returned_at - absence.begun_at:.0f} s; {len(absence.events):,} events "
            f"({absence.rate:.0f}/s), of which {self.missed:,} were missed",
            f"  webhooks: {answers}; the longest answer {self.longest:.2f} s (limit {ANSWER_LIMIT:g} s)",
            f"  after the return: noticed {healing.noticed:.1f} s, feed read {healing.read:.1f} s, every event known "
            f"{healing.known:.1f} s, gap fill written {healing.written:.1f} s, all rows {healing.settled:.1f} s "
            f"(limit {LIMIT:g} s)",
            f"  {self.calls:,} calls to Stripe until then, {self.pages:,} of them pages of the feed",
            f"  {self.compared_then:,} objects that changed in it and not again: {len(self.wrong_then)} wrong then",
            f"  at rest {rows.compared:,} rows: {len(rows.lost)} lost, {len(rows.duplicate)} duplicate, "
            f"{len(rows.stale)} stale, {len(rows.zombie)} zombie (before a comparison with Stripe "
            f"{len(self.wrong_at_rest)})",
            *(f"    {one}" for one in (*self.wrong_then, *self.wrong_at_rest, *rows.differences)[:EXAMPLES]),
        ]


class Away:
    """One run on a stage; `is_back` is set whenever Kafka is there again after it was killed."""

    def __init__(self, stage: Stage, is_back: asyncio.Event) -> None:
        self._stage, self._is_back = stage, is_back
        self._rest = Rest(stage, lambda text: None)

    async def carry_out(self, seconds: float, *, rate: float, is_killed: bool) -> Outcome:
        """Let Kafka be away for so long, come to rest, and compare."""
        stage, rest = self._stage, self._rest
        await rest.until_backfilled()
        await rest.until_still()
        async with stage.state() as db:
            await db.execute(WATCH)
        await stage.control("post", "faults", {"webhook_retries": 0})
        await stage.control("post", "business", {"changes_per_second": rate})
        await asyncio.sleep(WARM_UP)
        absence = await self._let_pass(seconds, is_killed=is_killed)
        healing = await self._watch(absence)
        requests = (await stage.control("get", "requests", since=absence.returned_at))["requests"]
        compared, wrong = await self._compare_unchanged(absence)
        await stage.control("post", "business", {"changes_per_second": 0})
        await rest.until_delivered()
        await rest.until_still()
        at_rest = _told(await ledger.compare_rows(stage))
        await rest.until_compared()
        await rest.until_still()
        events = (await ledger.events_of(stage, since=absence.first))[: len(absence.events)]
        refused = [one for one in events if one["attempts"] and one["delivered_ms"] is None]
        return Outcome(
            absence,
            Counter(one["status"] for one in events if one["attempts"]),
            max((one["seconds"] for one in refused), default=0.0),
            len(refused),
            healing,
            sum(1 for one in requests if one["path"] == "/v1/events"),
            len(requests),
            wrong,
            compared,
            at_rest,
            await ledger.compare_rows(stage),
        )

    async def _let_pass(self, seconds: float, *, is_killed: bool) -> Absence:
        stage = self._stage
        first, begun_at = (await stage.control("get", "state"))["events"], time.time()
        if is_killed:
            await stage.keep_away(KAFKA, seconds)
            self._is_back.clear()
            await asyncio.wait_for(self._is_back.wait(), PATIENCE)
        else:
            await stage.pause(KAFKA, seconds)
        returned_at = time.time()
        return Absence(begun_at, returned_at, first, await ledger.events_of(stage, since=first))

    async def _watch(self, absence: Absence) -> Healing:
        """Return when every event is known, and nothing that may follow from one is open any more."""
        unknown = {one["id"] for one in absence.events if not _is_left_out(one["type"])}
        noticed = read = known = written = 0.0
        while not (known and written):
            passed = _since(absence)
            async with self._stage.state() as db:
                unknown -= {row["event_id"] for row in await db.fetch(KNOWN, list(unknown))}
                sync = await db.fetchrow(GAP_FILL, WAS_AWAY, absence.begun_at)
            known = known or (0.0 if unknown else passed)
            if sync is not None:
                noticed = sync["noticed_at"] - absence.returned_at
                read = read or (passed if sync["is_read"] else 0.0)
                written = sync["ended_at"] - absence.returned_at if sync["status"] == "succeeded" else 0.0
            if passed > PATIENCE:
                raise StageError(f"{PATIENCE:g} s after Kafka's return {len(unknown)} events are unknown.")
            await asyncio.sleep(POLL_INTERVAL)
        await self._until_answered()
        return Healing(noticed, read, known, written, _since(absence))

    async def _until_answered(self) -> None:
        """Return when the questions of this moment are answered, and the answers written."""
        now = time.time()
        async with self._stage.state() as db, asyncio.timeout(PATIENCE):
            asked = {tuple(row) for row in await db.fetch(ASKED)}
            while asked:
                asked -= {tuple(row) for row in await db.fetch(ANSWERED, now)}
                await asyncio.sleep(POLL_INTERVAL)
            wanted = {(row["topic"], row["partition"]): row["last_offset"] for row in await db.fetch(ANSWERS)}
            while wanted:
                come = {(row["topic"], row["partition"]): row["next_offset"] for row in await db.fetch(PROGRESS)}
                wanted = {place: offset for place, offset in wanted.items() if come.get(place, 0) <= offset}
                await asyncio.sleep(POLL_INTERVAL)

    async def _compare_unchanged(self, absence: Absence) -> tuple[int, tuple[str, ...]]:
        """Compare what changed in the absence and not again; the business goes on meanwhile."""
        differences = _told(await ledger.compare_rows(self._stage))
        later = await ledger.events_of(self._stage, since=absence.first + len(absence.events))
        wanted = {one["object_id"] for one in absence.events} - {one["object_id"] for one in later}
        return len(wanted), tuple(one for one in differences if one.split()[2].rstrip(":") in wanted)


def _told(rows: ledger.Rows) -> tuple[str, ...]:
    """Return the differences in tables of which every change has its event."""
    silent = {row.table for row in RESOURCES if row.changes_silently}
    return tuple(one for one in rows.differences if one.split()[1] not in silent)


def _since(absence: Absence) -> float:
    return time.time() - absence.returned_at


def _is_left_out(event_type: str) -> bool:
    return event_type in WITHOUT_ID or event_type.startswith(LEFT_OUT)


async def run(arguments: argparse.Namespace) -> Outcome:
    """Start everything, and carry the run out."""
    is_back = asyncio.Event()

    def hear(event: ChildEvent) -> None:
        if event.name == KAFKA and event.state is ChildState.RESTARTED:
            is_back.set()

    version = () if arguments.older_version else ("--account-version", API_VERSION)
    async with staged(
        home_folder(os.environ, "kafka-away"),
        seed=arguments.seed,
        objects=arguments.objects,
        clock_skew=0.0,
        is_healing=True,
        simulator=("--deliveries-at-once", AT_ONCE, *version),
        on_event=hear,
    ) as stage:
        return await Away(stage, is_back).carry_out(arguments.seconds, rate=arguments.rate, is_killed=arguments.killed)


def main(arguments: argparse.Namespace) -> int:
    """Print the figures, and return the exit code."""
    outcome = asyncio.run(run(arguments))
    for line in outcome.lines():
        print(line)
    return 0 if outcome.is_right else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=600.0, help="of absence")
    parser.add_argument("--killed", action="store_true", help="the broker is not there, instead of stopped")
    parser.add_argument("--older-version", action="store_true", help="the feed has another version's bodies")
    parser.add_argument("--rate", type=float, default=50.0, help="events a second")
    parser.add_argument("--objects", type=int, default=2000, help="of the account's history")
    parser.add_argument("--seed", type=int, default=1)
    sys.exit(main(parser.parse_args()))
