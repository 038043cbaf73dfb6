"""The product as its processes, with a simulated business, and the hands that do it harm."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from local_stack.children import ChildEvent
from services.console.check import OPEN_WORK
from services.console.demo import Demo, DemoOptions, demo_running
from services.console.running import Watchers
from shared.db import UNREACHABLE
from shared.errors import TransientError
from simulator.client import ControlClientError
from tests.chaos.crashes import trap_of
from tests.chaos.mutations import MUTATIONS
from tests.chaos.service import HEALING, MUTATION, TRAPS
from tests.infrastructure import REPOSITORY

PROGRAM = (sys.executable, "-m", "tests.chaos.service")
NEVER = str(10 * 365 * 86_400)  # seconds: the harness itself asks for the one comparison with Stripe
POLL_INTERVAL = 0.2  # seconds
SPRINGS_WITHIN = 10.0  # seconds until an armed point is reached; then its service is killed from outside
T = TypeVar("T")


class StageError(Exception):
    """The run could not be carried out."""


class Stage:
    """A stack that runs."""

    def __init__(self, demo: Demo, traps: Path, home: Path) -> None:
        self.demo = demo
        self._home = home
        self._deadlocks_before = self._count_deadlocks()
        self.compared_at = 0.0  # second of Stripe's clock up to which everything was compared
        self._traps = traps
        self._stopped: set[int] = set()

    @property
    def deadlocks(self) -> int:
        """How many deadlocks the Postgres server has ended since the beginning, however often it was killed."""
        return self._count_deadlocks() - self._deadlocks_before

    def _count_deadlocks(self) -> int:
        return sum(log.read_bytes().count(b"deadlock detected") for log in self._home.rglob("postgres.log*"))

    async def control(self, method: str, path: str, *arguments: Any, **query: Any) -> Any:
        """Use the simulator's control API."""
        return await asyncio.to_thread(getattr(self.demo.control, method), path, *arguments, **query)

    async def control_in_thread(self, read: Callable[..., T], *arguments: Any) -> T:
        """Let a function read from the control API without blocking."""
        return await asyncio.to_thread(read, self.demo.control, *arguments)

    async def patiently(self, call: Callable[[], Awaitable[T]], *, within: float = 90.0) -> T:
        """Return what `call` returns once Tillstream's API answers."""
        deadline = time.monotonic() + within
        while True:
            try:
                return await call()
            except TransientError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(POLL_INTERVAL)

    @asynccontextmanager
    async def state(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection to Tillstream's own database."""
        connection = await asyncpg.connect(self.demo.running.stack.database_url, timeout=5, command_timeout=60)
        try:
            yield connection
        finally:
            await connection.close(timeout=5)

    async def open_work(self) -> int | None:
        """Return how much is left to do; None while the database is away."""
        with suppress(asyncpg.PostgresError, *UNREACHABLE):
            async with self.state() as db:
                return int(await db.fetchval(OPEN_WORK))
        return None

    def pid(self, name: str) -> int | None:
        """Return the process of a part; None while it is being started again."""
        return next(one.pid for one in self.demo.running.stack.supervisor.keepers if one.child.name == name)

    async def kill(self, name: str) -> None:
        """End a part as a crash would, once it has a process."""
        _signal(await self._wait_for_pid(name), signal.SIGKILL)

    async def crash(self, name: str, point: str) -> bool:
        """Let a service die at a named point; tell whether it came there, else it is killed from outside."""
        trap = trap_of(self._traps, name, point)
        trap.touch()
        deadline = time.monotonic() + SPRINGS_WITHIN
        while trap.exists():
            if time.monotonic() > deadline:
                with suppress(FileNotFoundError):
                    trap.unlink()
                    await self.kill(name)
                    return False
            await asyncio.sleep(0.02)
        return True

    async def switch_off(self, mutation: str) -> None:
        """Let the service of a mutation start anew with its rule switched off."""
        (self._traps / MUTATION).write_text(mutation)
        await self.kill(MUTATIONS[mutation].service)

    async def pause(self, name: str, seconds: float) -> None:
        """Stop a process and let it go on."""
        pid = await self._wait_for_pid(name)
        _signal(pid, signal.SIGSTOP)
        self._stopped.add(pid)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._stopped.discard(pid)
            _signal(pid, signal.SIGCONT)

    async def keep_away(self, name: str, seconds: float) -> None:
        """End a process for so long, whenever it is started again."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self.kill(name)
            await asyncio.sleep(0.02)

    async def _wait_for_pid(self, name: str) -> int:
        while (pid := self.pid(name)) is None:  # noqa: ASYNC110 - its supervisor starts it again, and tells nobody
            await asyncio.sleep(0.02)
        return pid


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@asynccontextmanager
async def staged(
    home: Path,
    *,
    seed: int,
    objects: int,
    clock_skew: float,
    mutation: str = "",
    is_healing: bool = False,
    simulator: tuple[str, ...] = (),
    on_event: Callable[[ChildEvent], None] = lambda event: None,
) -> AsyncIterator[Stage]:
    """Run everything until the block ends: the account is connected, its backfill has begun, no change goes on yet.

    `simulator` are further arguments of the simulator.
    """
    traps = home / "traps"
    shutil.rmtree(traps, ignore_errors=True)
    traps.mkdir(parents=True)
    if mutation:
        (traps / MUTATION).write_text(mutation)
    if is_healing:
        (traps / HEALING).touch()
    own = {name: value for name, value in os.environ.items() if not name.startswith("TILLSTREAM_")}
    environ = own | {"PYTHONPATH": str(REPOSITORY), TRAPS: str(traps)}
    options = DemoOptions(
        objects,
        seed,
        0.0,
        simulator=("--clock-skew", str(clock_skew), *simulator),
        settings={} if is_healing else {"reconcile_seconds": NEVER},
        program=PROGRAM,
    )
    try:
        async with demo_running(home, environ, options, Watchers(on_event=on_event)) as demo:
            yield Stage(demo, traps, home)
    except ControlClientError as error:
        raise StageError(str(error)) from error
