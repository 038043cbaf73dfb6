"""The command line as a process of its own, with its own home folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil

from local_stack.state import StackState, read_state
from simulator.client import ControlClient
from tests.infrastructure import REPOSITORY

POLL_INTERVAL = 0.05  # seconds
T = TypeVar("T")


class Command:
    """A `tillstream` command that runs."""

    def __init__(self, home: Path, process: subprocess.Popen[bytes], output: Path) -> None:
        self.home, self.process, self.output = home, process, output

    def text(self) -> str:
        return self.output.read_text()

    def state(self) -> StackState:
        state = read_state(self.home)
        assert state is not None, self.text()
        return state

    def control(self) -> ControlClient:
        """Return the simulator's control once its address is told."""
        return ControlClient(self.wait_for(lambda: self._addresses().get("simulator_url"), "the simulator"))

    def wait_until_printed(self, text: str, *, within: float = 60.0) -> None:
        self.wait_for(lambda: text in self.text() or None, repr(text), within=within)

    def wait_for(self, find: Callable[[], T | None], what: str, *, within: float = 60.0) -> T:
        """Return what `find` gives once that is something; fail when the command ends before."""
        deadline = time.monotonic() + within
        while (found := find()) is None:
            assert self.process.poll() is None, f"It ended before {what}: {self.text()}"
            assert time.monotonic() < deadline, f"{within:g} s have passed before {what}: {self.text()}"
            time.sleep(POLL_INTERVAL)
        return found

    def wait(self, *, within: float) -> int:
        """Return the exit code."""
        return self.process.wait(within)

    def kill_all(self) -> None:
        """End every process of this home at once; one that its parent's death has ended already is fine."""
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()

    def processes(self) -> list[psutil.Process]:
        """Return every process of this home, the command's own included."""
        return [process for process in psutil.process_iter() if _belongs_to(process, self.home)]

    def _addresses(self) -> dict[str, str]:
        state = read_state(self.home)
        return state.addresses if state else {}


def _belongs_to(process: psutil.Process, home: Path) -> bool:
    try:
        named = any(str(home) in part for part in process.cmdline())
        return process.status() != psutil.STATUS_ZOMBIE and (
            named or process.environ().get("TILLSTREAM_HOME") == str(home)
        )
    except psutil.Error:
        return False


@contextmanager
def started(home: Path, *arguments: str) -> Iterator[Command]:
    """Run `tillstream …` until the block ends; whatever is left of it then is killed."""
    home.mkdir(exist_ok=True)
    output = home.with_suffix(".out")
    environ = os.environ | {"TILLSTREAM_HOME": str(home), "COLUMNS": "200", "PYTHONPATH": str(REPOSITORY)}
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "services", *arguments],
            env=environ,
            cwd=REPOSITORY,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    command = Command(home, process, output)
    try:
        yield command
    finally:
        command.kill_all()
        process.kill()
        process.wait()
