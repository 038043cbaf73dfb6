"""Reads, after a run, what the destination has and what Stripe has, and what it has cost."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import asyncpg

from services.console.demo import SCHEMA
from services.console.judge import judge
from shared.catalogue import BY_NAME, RESOURCES
from shared.catalogue.lookups import WITHOUT_ID
from shared.postgres_tables import quote
from simulator.client import ControlClient
from tests.chaos.stage import Stage

Page = tuple[str, str, str, str]
RATE_LIMITED = 429
_RETRIEVED = tuple(
    re.compile(re.escape(row.retrieve_path).replace(r"\{id\}", "[^/]+")) for row in RESOURCES if not row.is_singleton
)
# Each question for Stripe, when it is first asked: one that is asked again before its answer is the same.
_WATCH = """
DROP SCHEMA IF EXISTS chaos CASCADE;
CREATE SCHEMA chaos;
CREATE TABLE chaos.questions (resource text, reason text, asked_at timestamptz DEFAULT now());
CREATE FUNCTION chaos.note() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO chaos.questions VALUES (new.resource, new.reason); RETURN new; END $$;
CREATE TRIGGER chaos_questions AFTER INSERT ON tillstream.refetches FOR EACH ROW EXECUTE FUNCTION chaos.note();
"""
TIE = "tie"  # the reason of a question that no event could settle; every other one follows from a kind of event


@dataclass(frozen=True, slots=True)
class Rows:
    """How the rows of all tables differ from Stripe, each difference as a sentence."""

    compared: int
    lost: tuple[str, ...]  # lives at Stripe, and has no row
    duplicate: tuple[str, ...]  # a second row of an object, or a row of what Stripe never had
    stale: tuple[str, ...]  # the row is not as the object is
    zombie: tuple[str, ...]  # the row lives, and the object was deleted

    @property
    def differences(self) -> tuple[str, ...]:
        """Return all of them, each with what it is: `stale charges ch_1: amount`."""
        kinds = (("lost", self.lost), ("duplicate", self.duplicate), ("stale", self.stale), ("zombie", self.zombie))
        return tuple(f"{what} {one}" for what, some in kinds for one in some)


@dataclass(frozen=True, slots=True)
class Calls:
    """What Stripe was asked."""

    made: int
    retrieved: int  # one object each: answers to questions, and to the hints of the event feed
    rate_limited: int
    pages_again: int
    most_pages_again: int  # of one slice


async def compare_rows(stage: Stage) -> Rows:
    """Compare every row of every table with the simulator's truth."""
    demo = stage.demo
    verdicts = await judge(
        demo.destination_url, SCHEMA, demo.control, demo.resources, account=demo.account, livemode=demo.livemode
    )
    deleted = await stage.control_in_thread(_deleted_ids, demo.resources)
    lost, stale, zombie, duplicate = [], [], [], []
    for verdict in verdicts:
        lost += [f"{verdict.table} {one}" for one in verdict.missing]
        stale += [f"{verdict.table} {one}" for one in verdict.different]
        known = deleted.get(verdict.table)
        for one in verdict.extra:
            # A child has no life of its own at Stripe: what its parent no longer shows is gone.
            (zombie if known is None or one in known else duplicate).append(f"{verdict.table} {one}")
    duplicate += await _second_rows(demo.destination_url, [verdict.table for verdict in verdicts])
    compared = sum(verdict.rows for verdict in verdicts)
    return Rows(compared, tuple(lost), tuple(duplicate), tuple(stale), tuple(zombie))


def _deleted_ids(control: ControlClient, resources: Iterable[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for resource in (BY_NAME[name] for name in resources):
        rows = () if resource.is_singleton else control.iter_truth(resource.object)
        found[resource.table] = {row["id"] for row in rows if row["deleted"]}
    return found


async def _second_rows(url: str, tables: Sequence[str]) -> list[str]:
    """Return the objects of which more than one row lives, whatever account or mode the rows name."""
    connection = await asyncpg.connect(url)
    try:
        found = []
        for table in tables:
            sql = f"SELECT id FROM {quote(SCHEMA)}.{quote(table)} WHERE NOT _deleted GROUP BY id HAVING count(*) > 1"
            found += [f"{table} {row['id']}" for row in await connection.fetch(sql)]
        return found
    finally:
        await connection.close()


async def forgotten_events(stage: Stage, *, since: int) -> list[str]:
    """Return the events whose webhook was answered with 2xx, and which no writer has dealt with."""
    accepted = [
        event
        for event in await events_of(stage, since=since)
        if event["delivered_ms"] is not None and event["type"] not in WITHOUT_ID
    ]
    async with stage.state() as db:
        known = {row["event_id"] for row in await db.fetch("SELECT event_id FROM event_log")}
    return [f"event {event['id']} {event['type']}" for event in accepted if event["id"] not in known]


async def events_of(stage: Stage, *, since: int) -> list[dict[str, Any]]:
    """Return the events that happened from a position of the simulator's journal on."""
    found: list[dict[str, Any]] = []
    while page := (await stage.control("get", "events", since=since + len(found), limit=5000))["events"]:
        found += page
    return found


async def watch_questions(stage: Stage) -> None:
    """Note every question that the writers have for Stripe from now on."""
    async with stage.state() as db:
        await db.execute(_WATCH)


async def questions_of(stage: Stage) -> dict[str, int]:
    """Return how many questions there were since they are watched, by their reason."""
    async with stage.state() as db:
        rows = await db.fetch("SELECT reason, count(*) FROM chaos.questions GROUP BY reason ORDER BY 2 DESC, 1")
    return {row["reason"]: row["count"] for row in rows}


async def calls_of(stage: Stage, *, since: float) -> Calls:
    """Return what Stripe was asked since a second of its clock; the log has the last 100,000 calls."""
    requests = (await stage.control("get", "requests", since=since))["requests"]
    again = Counter(page for request in requests if (page := page_of(request)))
    return Calls(
        len(requests),
        sum(1 for request in requests if _is_retrieval(request)),
        sum(1 for request in requests if request["status"] == RATE_LIMITED),
        sum(times - 1 for times in again.values()),
        max(_again_by_slice(again).values(), default=0),
    )


def _again_by_slice(pages: Mapping[Page, int]) -> Counter[tuple[str, str, str]]:
    again: Counter[tuple[str, str, str]] = Counter()
    for (path, walk, end, _), times in pages.items():
        again[path, walk, end] += times - 1
    return again


def _is_retrieval(request: Mapping[str, Any]) -> bool:
    """Tell whether one object was asked for, and answered."""
    is_answered = request["method"] == "GET" and request["status"] in (200, 404)
    return is_answered and any(path.fullmatch(request["path"]) for path in _RETRIEVED)


def page_of(request: Mapping[str, Any]) -> Page | None:
    """Return the page that a slice was answered: path, walk, and end of the slice's range, then the cursor.

    Only slices name the end of a range, and no two slices of a walk end at the same second.
    """
    query = dict(parse_qsl(request["query"]))
    if request["method"] != "GET" or request["status"] != 200 or "created[lt]" not in query:
        return None
    end, cursor = query.pop("created[lt]"), query.pop("starting_after", "")
    query.pop("created[gte]", None)  # a split moves it
    return request["path"], str(sorted(query.items())), end, cursor
