"""One run: changes and faults go on together until all are done, then everything comes to rest and is compared."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from services.console.check import CheckError
from services.console.demo import newest_sync
from shared.errors import TransientError
from tests.chaos import ledger
from tests.chaos.figures import Figures
from tests.chaos.kafka_lag import lag
from tests.chaos.plan import CALM, Fault, Plan
from tests.chaos.stage import POLL_INTERVAL, Stage, StageError

MOST_UNDER_WAY = 1500  # webhooks; with more of them the business waits, so that the machine sets the pace
PATIENCE = 300.0  # seconds, for each step of coming to rest
STILL_FOR = 3  # looks in a row that find nothing left to do
LEFT = ("to do", "records behind")  # what keeps a run from being still
Say = Callable[[str], None]


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
        self._left: tuple[int | None, int | None] = (None, None)

    async def carry_out(self) -> Figures:
        """Let everything happen, come to rest, and return the figures."""
        stage = self._stage
        state = await stage.control("get", "state")
        await ledger.watch_questions(stage)
        first, began_at = state["events"], stage.compared_at
        async with self._showing_progress():
            seconds = await self._live(first)
        await stage.control("post", "faults", {**CALM, "latency_before_ms": 0, "latency_after_ms": 0})
        stopped = time.monotonic()
        await self._rest("the webhooks", self._are_delivered)
        await self._rest("the backfill", self._is_backfilled)
        await self._rest("all work", self._is_still)
        quiet_seconds = time.monotonic() - stopped
        forgotten = await ledger.forgotten_events(stage, since=first)
        calls = await ledger.calls_of(stage, since=began_at)
        await self._rest("the comparison with Stripe", self._reconcile)
        await self._rest("all work", self._is_still)
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
                is_on = await self._set_pace(state["deliveries_pending"], is_on=is_on)
                await asyncio.sleep(POLL_INTERVAL)
            await self._stage.control("post", "business", {"changes_per_second": 0})
            seconds = time.monotonic() - began
        return seconds

    async def _set_pace(self, under_way: int, *, is_on: bool) -> bool:
        """Let the business wait while too many webhooks are under way; tell whether it goes on."""
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

    @asynccontextmanager
    async def _showing_progress(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._show_progress())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _show_progress(self) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            rate = self._happened / (time.monotonic() - began)
            kills = f"{sum(self._killed.values())}/{self._plan.kills}"
            self._say(f"events {self._happened:,}/{self._plan.events:,} · {rate:.0f}/s · kills {kills}")

    async def _rest(self, what: str, is_done: Callable[[], Awaitable[bool]]) -> None:
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE:
            left = ", ".join(f"{'?' if n is None else n} {name}" for n, name in zip(self._left, LEFT, strict=True))
            self._say(f"waiting for {what} · {time.monotonic() - began:.0f} s · {left}")
            with suppress(TransientError):
                if await is_done():
                    return
            await asyncio.sleep(POLL_INTERVAL)
        raise StageError(f"{PATIENCE:g} s have passed before {what} came to rest ({left}). The logs say why.")

    async def _are_delivered(self) -> bool:
        return bool((await self._stage.control("get", "state"))["deliveries_pending"] == 0)

    async def _is_backfilled(self) -> bool:
        demo = self._stage.demo
        sync = await newest_sync(demo.api, demo.connection_id, "backfill")
        return sync is not None and _is_success(sync)

    async def _reconcile(self) -> bool:
        demo = self._stage.demo
        path = f"/v1/connections/{demo.connection_id}/syncs"
        sync = await self._stage.patiently(lambda: demo.api.post(path))

        async def is_over() -> bool:
            return _is_success(await demo.api.get(f"/v1/syncs/{sync['id']}"))

        await self._rest("the comparison with Stripe", is_over)
        return True

    async def _is_still(self) -> bool:
        """Tell whether nothing is left to do, and nothing is under way that would make new work."""
        servers = self._stage.demo.running.stack.kafka_bootstrap_servers
        for _ in range(STILL_FOR):
            self._left = (await self._stage.open_work(), await lag(servers))
            if self._left != (0, 0):
                return False
            await asyncio.sleep(POLL_INTERVAL)
        return True


def _is_success(sync: dict[str, object]) -> bool:
    if sync["status"] in ("failed", "cancelled"):
        raise CheckError(f"The {sync['kind']} ended as {sync['status']}: {sync['cause']}")
    return sync["status"] == "succeeded"
