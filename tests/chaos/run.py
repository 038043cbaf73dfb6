"""One run: changes and faults go on together until all are done, then everything comes to rest and is compared."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque

from shared.topics import EVENTS
from tests.chaos import ledger
from tests.chaos.figures import Figures
from tests.chaos.kafka_lag import lag
from tests.chaos.plan import CALM, Fault, Plan
from tests.chaos.rest import Rest, Say
from tests.chaos.stage import POLL_INTERVAL, Stage

# With more than so much under way (webhooks, records, questions) the business waits: the machine sets the pace.
MOST_UNDER_WAY = 3000
LOOK_INTERVAL = 3.0  # seconds between two looks at what the writers and the worker have before them


class Run:
    """The life of one plan on a stage."""

    def __init__(self, stage: Stage, plan: Plan, *, rate: float, say: Say) -> None:
        self._stage = stage
        self._plan = plan
        self._rate = rate
        self._say = say
        self._killed: Counter[str] = Counter()
        self._at_points: Counter[str] = Counter()
        self._pauses = 0
        self._happened = 0
        self._behind = 0

    async def carry_out(self) -> Figures:
        """Let everything happen, come to rest, and return the figures."""
        stage, rest = self._stage, Rest(self._stage, self._say)
        state = await stage.control("get", "state")
        await ledger.watch_questions(stage)
        first, began_at = state["events"], stage.compared_at
        async with asyncio.TaskGroup() as beside:
            watching = [beside.create_task(self._show_progress()), beside.create_task(self._watch_backlog())]
            seconds = await self._live(first)
            for task in watching:
                task.cancel()
        await stage.control("post", "faults", {**CALM, "latency_before_ms": 0, "latency_after_ms": 0})
        stopped = time.monotonic()
        await rest.until_delivered()
        await rest.until_backfilled()
        await rest.until_still()
        quiet_seconds = time.monotonic() - stopped
        forgotten = await ledger.forgotten_events(stage, since=first)
        calls = await ledger.calls_of(stage, since=began_at)
        await rest.until_compared()
        await rest.until_still()
        stage.compared_at = (await stage.control("get", "state"))["now"]
        self._say("comparing every row")
        rows = await ledger.compare_rows(stage)
        async with stage.state() as db:
            dead_letters = int(await db.fetchval("SELECT count(*) FROM tillstream.dead_letters"))
        happened = len(await ledger.events_of(stage, since=first))
        return Figures(
            seed=self._plan.seed,
            events=happened,
            seconds=seconds,
            kills=dict(self._killed),
            at_points=dict(self._at_points),
            pauses=self._pauses,
            rows=rows,
            forgotten=tuple(forgotten),
            dead_letters=dead_letters,
            deadlocks=stage.deadlocks,
            calls=calls,
            questions=await ledger.questions_of(stage),
            quiet_seconds=quiet_seconds,
        )

    async def _live(self, first: int) -> float:
        """Let the business live and do what is planned meanwhile; return the seconds until all events had happened."""
        began = time.monotonic()
        weathers, faults = deque(self._plan.weathers), deque(self._plan.faults)
        async with asyncio.TaskGroup() as doing:
            is_on = False
            while self._happened < self._plan.events:
                state = await self._stage.control("get", "state")
                self._happened = state["events"] - first
                while weathers and weathers[0].at <= self._happened:
                    await self._stage.control("post", "faults", dict(weathers.popleft().faults))
                while faults and faults[0].at <= self._happened:
                    doing.create_task(self._do(faults.popleft()))
                is_on = await self._set_pace(state["deliveries_pending"] + self._behind, is_on=is_on)
                await asyncio.sleep(POLL_INTERVAL)
            await self._stage.control("post", "business", {"changes_per_second": 0})
            seconds = time.monotonic() - began
        return seconds

    async def _set_pace(self, under_way: int, *, is_on: bool) -> bool:
        """Let the business wait while too much is under way; tell whether it goes on."""
        goes_on = under_way < (MOST_UNDER_WAY if is_on else MOST_UNDER_WAY // 2)
        if goes_on != is_on:
            await self._stage.control("post", "business", {"changes_per_second": self._rate if goes_on else 0})
        if goes_on:
            for name in self._plan.scenarios:
                await self._stage.control("post", f"scenarios/{name}")
        return goes_on

    async def _do(self, fault: Fault) -> None:
        if fault.pause_seconds:
            await self._stage.pause(fault.victim, fault.pause_seconds)
            self._pauses += 1
            return
        if fault.point and await self._stage.crash(fault.victim, fault.point):
            self._at_points[f"{fault.victim}.{fault.point}"] += 1
        elif not fault.point:
            await self._stage.kill(fault.victim)
        self._killed[fault.victim] += 1

    async def _watch_backlog(self) -> None:
        """Note how much of what is live waits for the writers and the worker, as far as it can be told."""
        servers = self._stage.demo.running.stack.kafka_bootstrap_servers
        while True:
            found = (await self._stage.open_work(), await lag(servers, (EVENTS,)))
            self._behind = sum(count for count in found if count is not None)
            await asyncio.sleep(LOOK_INTERVAL)

    async def _show_progress(self) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            rate = self._happened / (time.monotonic() - began)
            kills = f"{sum(self._killed.values())}/{self._plan.kills}"
            events = f"events {self._happened:,}/{self._plan.events:,} · {rate:.0f}/s"
            self._say(f"{events} · kills {kills} · behind {self._behind:,}")
