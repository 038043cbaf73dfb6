"""Coming to rest: waiting until all that is under way has arrived, and nothing is left to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from services.console.check import CheckError
from services.console.demo import newest_sync
from shared.errors import TransientError
from tests.chaos.kafka_lag import lag
from tests.chaos.stage import POLL_INTERVAL, Stage, StageError

PATIENCE = 600.0  # seconds, for each step
STILL_FOR = 3  # looks in a row that find nothing left to do
LEFT = ("to do", "records behind")  # what keeps a stage from being still
Say = Callable[[str], None]


class Rest:
    """What a stage is waited for; every method raises `StageError` when it takes too long."""

    def __init__(self, stage: Stage, say: Say) -> None:
        self._stage = stage
        self._say = say
        self._left: tuple[int | None, int | None] = (None, None)

    async def until_delivered(self) -> None:
        """Return when no webhook is under way or waits for its next attempt."""

        async def is_so() -> bool:
            return bool((await self._stage.control("get", "state"))["deliveries_pending"] == 0)

        await self._until("the webhooks", is_so)

    async def until_backfilled(self) -> None:
        """Return when the backfill has succeeded."""
        demo = self._stage.demo

        async def is_so() -> bool:
            sync = await newest_sync(demo.api, demo.connection_id, "backfill")
            return sync is not None and _is_success(sync)

        await self._until("the backfill", is_so)

    async def until_compared(self) -> None:
        """Ask for a comparison with Stripe, as the schedule does, and return when it has succeeded."""
        demo = self._stage.demo
        path = f"/v1/connections/{demo.connection_id}/syncs"
        sync = await self._stage.patiently(lambda: demo.api.post(path))

        async def is_so() -> bool:
            return _is_success(await demo.api.get(f"/v1/syncs/{sync['id']}"))

        await self._until("the comparison with Stripe", is_so)

    async def until_still(self) -> None:
        """Return when nothing is left to do, and nothing is under way that would make new work."""
        await self._until("all work", self._is_still)

    async def _is_still(self) -> bool:
        servers = self._stage.demo.running.stack.kafka_bootstrap_servers
        for _ in range(STILL_FOR):
            self._left = (await self._stage.open_work(), await lag(servers))
            if self._left != (0, 0):
                return False
            await asyncio.sleep(POLL_INTERVAL)
        return True

    async def _until(self, what: str, is_done: Callable[[], Awaitable[bool]]) -> None:
        began = time.monotonic()
        left = ""
        while time.monotonic() - began < PATIENCE:
            left = ", ".join(f"{'?' if n is None else n} {name}" for n, name in zip(self._left, LEFT, strict=True))
            self._say(f"waiting for {what} · {time.monotonic() - began:.0f} s · {left}")
            with suppress(TransientError):
                if await is_done():
                    return
            await asyncio.sleep(POLL_INTERVAL)
        raise StageError(f"{PATIENCE:g} s have passed before {what} came to rest ({left}). The logs say why.")


def _is_success(sync: dict[str, object]) -> bool:
    if sync["status"] in ("failed", "cancelled"):
        raise CheckError(f"The {sync['kind']} ended as {sync['status']}: {sync['cause']}")
    return sync["status"] == "succeeded"
