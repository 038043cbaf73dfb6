"""The demo without a person: backfill under change, live, quiet, then every row against the simulator's truth."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from services.console.demo import SCHEMA, Demo, newest_sync
from services.console.judge import Verdict, judge
from shared.db import SCHEMA as STATE_SCHEMA
from shared.db import database_errors, state_sessions
from shared.errors import AppError, TransientError

LIVE_SECONDS = 20.0
POLL_INTERVAL = 0.25  # seconds
PATIENCE = 120.0  # seconds for one step

# Everything that is still to be done: parked records, questions for Stripe, syncs. An hour of live changes is no work:
# it is open until the hour is over.
OPEN_WORK = f"""
SELECT (SELECT count(*) FROM {STATE_SCHEMA}.parked_records)
     + (SELECT count(*) FROM {STATE_SCHEMA}.refetches)
     + (SELECT count(*) FROM {STATE_SCHEMA}.syncs WHERE status IN ('queued', 'running') AND kind <> 'live')
"""
WRITTEN_AT = f"""
SELECT event_id, resource, extract(epoch FROM written_at)::float8 AS at FROM {STATE_SCHEMA}.event_log
WHERE received_at IS NOT NULL
"""


class CheckError(AppError):
    """The check could not be carried out."""

    code = "check"


@dataclass(frozen=True, slots=True)
class Latency:
    """From the change at Stripe to the committed row, in milliseconds."""

    events: int
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Report:
    """What the check found."""

    verdicts: tuple[Verdict, ...]
    latencies: dict[str, Latency]
    overall: Latency | None
    backfill_objects: int
    backfill_seconds: float
    stripe_calls: int
    rate_limited: int
    changes: int
    dead_letters: int

    @property
    def is_equal(self) -> bool:
        """Whether every row of every table is as it has to be."""
        return all(verdict.is_equal for verdict in self.verdicts) and not self.dead_letters


async def check(demo: Demo, *, changes_per_second: float, say: Callable[[str], None]) -> Report:
    """Carry the check out; raise `CheckError` when a step does not end."""
    say(f"Backfilling while {changes_per_second:g} changes a second go on …")
    await _until("the backfill succeeds", lambda: _has_succeeded(demo, "backfill"))
    backfill = await newest_sync(demo.api, demo.connection_id, "backfill")
    if backfill is None:
        raise CheckError("There is no backfill.")
    say(f"Live for {LIVE_SECONDS:g} s …")
    await asyncio.sleep(LIVE_SECONDS)
    await asyncio.to_thread(demo.control.post, "business", {"changes_per_second": 0})
    say("The changes have stopped; waiting for the last one to arrive …")
    await _until("all webhooks are delivered", lambda: _is_delivered(demo))
    sync = await demo.api.post(f"/v1/connections/{demo.connection_id}/syncs")
    await _until("the comparison with Stripe succeeds", lambda: _is_over(demo, sync["id"]))
    await _until("nothing is left to do", lambda: _is_idle(demo))
    say("Comparing every row of every table …")
    return await _report(demo, backfill)


async def _report(demo: Demo, backfill: dict[str, object]) -> Report:
    verdicts = await judge(
        demo.destination_url, SCHEMA, demo.control, demo.resources, account=demo.account, livemode=demo.livemode
    )
    made = await asyncio.to_thread(_changes_made, demo)
    state = await state_sessions(demo.running.stack.database_url).open()
    try:
        written = await state.fetch(WRITTEN_AT)
        dead_letters = await state.fetchval(f"SELECT count(*) FROM {STATE_SCHEMA}.dead_letters")
    finally:
        await state.close()
    by_resource: dict[str, list[float]] = {}
    for row in written:
        if row["event_id"] in made:
            waits = by_resource.setdefault(row["resource"] or "other", [])
            waits.append(row["at"] * 1000 - made[row["event_id"]])
    everything = [wait for waits in by_resource.values() for wait in waits]
    return Report(
        tuple(verdicts),
        {resource: _latency(waits) for resource, waits in by_resource.items()},
        _latency(everything) if everything else None,
        backfill_objects=int(str(backfill["read"])),
        backfill_seconds=_seconds(backfill),
        stripe_calls=int(str(backfill["stripe_calls"])),
        rate_limited=int(str(backfill["rate_limited"])),
        changes=len(made),
        dead_letters=dead_letters,
    )


def _changes_made(demo: Demo) -> dict[str, float]:
    """Return when each event's change was made, in milliseconds of the machine's clock."""
    made: dict[str, float] = {}
    since = 0
    while True:
        page = demo.control.get("events", since=since, limit=5000)
        made |= {event["id"]: event["created_ms"] for event in page["events"] if event.get("created_ms")}
        if not page["events"]:
            return made
        since = page["next"]


def _latency(waits: Sequence[float]) -> Latency:
    ordered = sorted(waits)
    return Latency(len(ordered), statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))])


def _seconds(sync: dict[str, object]) -> float:
    started, finished = (datetime.fromisoformat(str(sync[name])) for name in ("started_at", "finished_at"))
    return (finished - started).total_seconds()


async def _has_succeeded(demo: Demo, kind: str) -> bool:
    sync = await newest_sync(demo.api, demo.connection_id, kind)
    return sync is not None and _is_success(sync)


async def _is_over(demo: Demo, sync_id: str) -> bool:
    return _is_success(await demo.api.get(f"/v1/syncs/{sync_id}"))


def _is_success(sync: dict[str, object]) -> bool:
    if sync["status"] in ("failed", "cancelled"):
        raise CheckError(f"The {sync['kind']} ended as {sync['status']}: {sync['cause']}")
    return sync["status"] == "succeeded"


async def _is_delivered(demo: Demo) -> bool:
    state = await asyncio.to_thread(demo.control.get, "state")
    return bool(state["deliveries_pending"] == 0)


async def _is_idle(demo: Demo) -> bool:
    with database_errors():
        state = await state_sessions(demo.running.stack.database_url).open()
    try:
        return bool(await state.fetchval(OPEN_WORK) == 0)
    finally:
        await state.close()


async def _until(what: str, is_done: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(TransientError):
            if await is_done():
                return
        await asyncio.sleep(POLL_INTERVAL)
    raise CheckError(f"{PATIENCE:g} s have passed before {what}. The logs say why: see `tillstream processes`.")
