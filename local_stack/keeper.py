"""The life of one child: started, awaited until it can be used, restarted whenever it dies, stopped once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from local_stack import leftovers
from local_stack.children import BackOff, Child, ChildEvent, ChildState, describe_exit, launch_command
from local_stack.diagnosis import explain_failure
from shared.errors import ConfigError

POLL_INTERVAL = 0.05  # seconds, between questions whether a child is ready
ATTEMPTS_TO_START = 4
LARGEST_LOG = 10 * 1024 * 1024  # bytes; a larger one is moved aside when the child starts


class Keeper:
    """Keeps one child alive; its output goes to `log`, its record to `records`."""

    def __init__(self, child: Child, log: Path, records: Path, on_event: Callable[[ChildEvent], None]) -> None:
        """Take the child, its log file, the folder of records and who wants to hear of it."""
        self.child = child
        self.log = log
        self.restarts = 0
        self._records = records
        self._on_event = on_event
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._ready = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process id of the running child; None while there is none."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process and running else None

    async def start(self) -> None:
        """Start the child and return once it is ready.

        Raises ConfigError with the reason when it dies repeatedly or isn't ready in time.
        """
        self._task = asyncio.create_task(self._keep_alive(), name=f"keep {self.child.name}")
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait(
                {self._task, ready},
                timeout=self.child.ready_timeout_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            ready.cancel()
        if self._task.done():
            await self._task
        if not self._ready.is_set():
            raise self._failure(f"was not ready within {self.child.ready_timeout_seconds:.0f} s")

    async def stop(self, grace_seconds: float) -> None:
        """Ask the child to stop, insist after `grace_seconds`, and return when it is gone."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            await self._end(process, grace_seconds)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        leftovers.forget(self._records, self.child.name)

    def kill(self) -> None:
        """End the child at once and don't start it again."""
        self._stopping = True
        if (pid := self.pid) is not None:
            _signal_group(pid, signal.SIGKILL)

    async def _end(self, process: asyncio.subprocess.Process, grace_seconds: float) -> None:
        with suppress(ProcessLookupError):
            process.send_signal(self.child.stop_signal)
        state = ChildState.STOPPED
        try:
            await asyncio.wait_for(process.wait(), grace_seconds)
        except TimeoutError:
            state = ChildState.KILLED
            _signal_group(process.pid, signal.SIGKILL)
            await process.wait()
        self._emit(state, process)

    async def _keep_alive(self) -> None:
        back_off = BackOff()
        while not self._stopping:
            started = time.monotonic()
            ending = await self._run_once()
            if self._stopping:
                return
            if not self._ready.is_set() and self.restarts + 1 >= ATTEMPTS_TO_START:
                raise self._failure(ending)
            await asyncio.sleep(back_off.delay_after(time.monotonic() - started))
            self.restarts += 1

    async def _run_once(self) -> str:
        """Run the child to its end and return how it ended."""
        try:
            process = await self._spawn()
        except OSError as error:
            return f"could not be started: {error.strerror}"
        watch = asyncio.create_task(self._announce_ready(process))
        try:
            code = await process.wait()
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        if not self._stopping:
            self._emit(ChildState.EXITED, process)
        return describe_exit(code)

    async def _spawn(self) -> asyncio.subprocess.Process:
        child = self.child
        if child.clean_up is not None:
            await asyncio.to_thread(child.clean_up)
        if self.log.exists() and self.log.stat().st_size > LARGEST_LOG:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *launch_command(child.argv, user=child.user, death_signal=child.death_signal),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=None if child.env is None else dict(child.env),
                cwd=child.cwd,
                # A session of its own: Ctrl-C on the terminal reaches the supervisor alone.
                start_new_session=True,
            )
        leftovers.record(self._records, child.name, self._process.pid, child.argv)
        self._emit(ChildState.STARTED, self._process)
        return self._process

    async def _announce_ready(self, process: asyncio.subprocess.Process) -> None:
        # Another process can set no event of ours, so we ask.
        while self.child.ready is not None and not await self.child.ready():  # noqa: ASYNC110
            await asyncio.sleep(POLL_INTERVAL)
        self._emit(ChildState.RESTARTED if self._ready.is_set() else ChildState.READY, process)
        self._ready.set()

    def _emit(self, state: ChildState, process: asyncio.subprocess.Process) -> None:
        self._on_event(ChildEvent(self.child.name, state, process.pid, process.returncode))

    def _failure(self, what: str) -> ConfigError:
        return ConfigError(explain_failure(self.child.name, what, self.log))


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
