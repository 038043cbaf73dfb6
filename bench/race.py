"""The race of a backfill with what goes on meanwhile: no row is stale, none comes back, and few questions are asked.

Run it as `python -m bench.race --objects 50000 --updates 200 --seeds 10`. While the objects are listed, so many changes
a second go on; Stripe answers a second after it has read, and its clocks are up to two seconds apart, from each other
and from ours. Rows are compared when all has come to rest, but for those of the resources that change silently, and all
of them after one comparison with Stripe, as the schedule makes it every 15 minutes.

Two mixes: single objects changed here and there, of which at most 5 % of the events may raise a question by a tie; and
renewals, each of which changes five objects about twelve times in one second.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from dataclasses import dataclass

from services.console.running import home_folder
from shared.catalogue import RESOURCES
from tests.chaos import ledger
from tests.chaos.rest import Rest
from tests.chaos.stage import Stage, staged

SKEW = 2.0  # seconds
LATE = {"latency_before_ms": 100, "latency_after_ms": 1000, "date_skew_seconds": SKEW}
CALM = dict.fromkeys(LATE, 0)
LIMIT = 0.05  # share of the events that may raise a question by a tie, of scattered changes
TICK = 0.1  # seconds
MIXES = ("scattered", "renewal")
# Of a hundred scattered changes.
SCATTERED = {"update_customer": 70, "update_refund": 20, "change_catalogue": 6, "delete_customer": 4}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one race has shown."""

    events: int
    before: tuple[str, ...]  # differences before the comparison with Stripe
    rows: ledger.Rows
    questions: dict[str, int]

    @property
    def share(self) -> float:
        """Questions that a tie raised, as a share of the events."""
        return self.questions.get(ledger.TIE, 0) / max(1, self.events)

    @property
    def is_right(self) -> bool:
        """Whether every row equals Stripe."""
        return not self.before and not self.rows.differences


async def race(seed: int, mix: str, *, objects: int, updates: float) -> Outcome:
    """Let one backfill and its changes race, come to rest, and compare."""
    skew = SKEW if seed % 2 else -SKEW
    async with staged(home_folder(os.environ, "race"), seed=seed, objects=objects, clock_skew=skew) as stage:
        await stage.control("post", "faults", LATE)
        await ledger.watch_questions(stage)
        first = (await stage.control("get", "state"))["events"]
        rest = Rest(stage, lambda text: None)
        changing = asyncio.create_task(change(stage, mix, updates))
        await rest.until_backfilled()
        changing.cancel()
        await asyncio.gather(changing, return_exceptions=True)
        await stage.control("post", "business", {"changes_per_second": 0})
        await stage.control("post", "faults", CALM)
        await rest.until_delivered()
        await rest.until_still()
        events = len(await ledger.events_of(stage, since=first))
        questions = await ledger.questions_of(stage)
        before = _told(await ledger.compare_rows(stage))
        await rest.until_compared()
        await rest.until_still()
        return Outcome(events, before, await ledger.compare_rows(stage), questions)


def _told(rows: ledger.Rows) -> tuple[str, ...]:
    """Return the differences in tables of which every change has its event."""
    silent = {row.table for row in RESOURCES if row.changes_silently}
    return tuple(one for one in rows.differences if one.split()[1] not in silent)


async def change(stage: Stage, mix: str, updates: float) -> None:
    """Make so many events a second, for ever."""
    if mix == "renewal":
        await stage.control("post", "business", {"changes_per_second": updates})
        return
    owed = dict.fromkeys(SCATTERED, 0.0)
    per_event = updates / sum(SCATTERED.values())
    last = time.monotonic()
    while True:
        now = time.monotonic()
        for name, share in SCATTERED.items():
            owed[name] += (now - last) * share * per_event
            if owed[name] >= 1:
                made = await stage.control("post", f"scenarios/{name}", times=max(1, int(owed[name]) // 2))
                owed[name] -= max(1, made["events"])
        last = now
        await asyncio.sleep(TICK)


async def main(arguments: argparse.Namespace) -> int:
    """Run every seed with every mix, print the figures, and return the exit code."""
    is_right = True
    for mix in arguments.mix or MIXES:
        for seed in range(arguments.seed, arguments.seed + arguments.seeds):
            begun = time.monotonic()
            found = await race(seed, mix, objects=arguments.objects, updates=arguments.updates)
            rows = found.rows
            others = {reason: count for reason, count in found.questions.items() if reason != ledger.TIE}
            print(
                f"{mix} seed {seed}: {found.events:,} events, {rows.compared:,} rows: {len(rows.lost)} lost, "
                f"{len(rows.duplicate)} duplicate, {len(rows.stale)} stale, {len(rows.zombie)} zombie "
                f"(before the comparison with Stripe {len(found.before)}); by a tie "
                f"{found.questions.get(ledger.TIE, 0)} refetches, {found.share:.2%} of events"
                f"{f' (limit {LIMIT:.0%})' if mix == 'scattered' else ''}; for other reasons {sum(others.values())}; "
                f"{time.monotonic() - begun:.0f} s",
                flush=True,
            )
            for difference in (*found.before, *rows.differences)[:10]:
                print(f"  {difference}")
            is_right &= found.is_right and (mix != "scattered" or found.share <= LIMIT)
    return 0 if is_right else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=50_000)
    parser.add_argument("--updates", type=float, default=200.0, help="changes a second")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--mix", action="append", choices=MIXES)
    sys.exit(asyncio.run(main(parser.parse_args())))
