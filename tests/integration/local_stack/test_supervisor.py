"""The supervisor with real, small processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from local_stack import leftovers
from local_stack.children import Child, ChildEvent, ChildState
from local_stack.supervisor import Supervisor, cancelled_by_signals
from shared.errors import ConfigError
from tests.eventually import eventually

SLEEPER = (sys.executable, "-c", "import time; time.sleep(60)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
)


class Heard(list[ChildEvent]):
    """The events that a supervisor told, in order."""

    def states_of(self, name: str) -> list[ChildState]:
        return [event.state for event in self if event.name == name]


async def never() -> bool:
    return False


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def supervisor(tmp_path: Path, heard: Heard) -> AsyncIterator[Supervisor]:
    async with Supervisor(tmp_path, on_event=heard.append) as running:
        yield running


async def test_killed_child_is_back_and_said_to_be(supervisor: Supervisor, heard: Heard) -> None:
    await supervisor.start([Child("sleeper", SLEEPER)])
    keeper = supervisor.keepers[0]
    first = keeper.pid
    assert first is not None

    os.kill(first, signal.SIGKILL)
    await eventually(lambda: "restarted" in heard.states_of("sleeper"))

    assert keeper.pid not in {None, first}
    assert keeper.restarts == 1
    assert [str(event) for event in heard] == [
        *("started sleeper", "ready sleeper", "sleeper was ended by SIGKILL"),
        *("started sleeper", "restarted sleeper"),
    ]


async def test_start_waits_until_the_child_is_ready(supervisor: Supervisor, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = f"import pathlib, time; pathlib.Path({str(mark)!r}).touch(); time.sleep(60)"

    async def marked() -> bool:
        return mark.exists()

    await supervisor.start([Child("marker", (sys.executable, "-c", script), ready=marked)])

    assert mark.exists()


async def test_output_goes_to_a_log_without_prefix(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start([Child("talker", (sys.executable, "-c", "print('hello'); input()"))])

    await eventually(lambda: (tmp_path / "logs" / "talker.log").read_text().startswith("hello\n"))


async def test_child_that_dies_at_once_is_given_up_with_its_last_words(supervisor: Supervisor) -> None:
    script = "raise ValueError('no such thing')"

    with pytest.raises(ConfigError, match=r"broken did not start \(ended with exit code 1\): .*no such thing"):
        await supervisor.start([Child("broken", (sys.executable, "-c", script), ready=never)])


async def test_log_that_cannot_be_written_is_said(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "logs" / "sleeper.log").mkdir()

    with pytest.raises(ConfigError, match=r"sleeper did not start \(could not be started: Is a directory\)"):
        await supervisor.start([Child("sleeper", SLEEPER)])


async def test_missing_program_is_named(supervisor: Supervisor) -> None:
    with pytest.raises(ConfigError, match="no-such-program can't be run"):
        await supervisor.start([Child("missing", ("no-such-program",), ready=never)])


async def test_child_that_is_never_ready_is_given_up(supervisor: Supervisor) -> None:
    with pytest.raises(ConfigError, match=r"idle did not start \(was not ready within 0 s\)"):
        await supervisor.start([Child("idle", SLEEPER, ready=never, ready_timeout_seconds=0.3)])


async def test_waves_stop_in_reverse_order(supervisor: Supervisor, heard: Heard) -> None:
    await supervisor.start([Child("database", SLEEPER)])
    await supervisor.start([Child("writer", SLEEPER)])

    await supervisor.stop()

    stopped = [event.name for event in heard if event.state is ChildState.STOPPED]
    assert stopped == ["writer", "database"]
    assert supervisor.keepers == []


async def test_child_that_ignores_the_signal_is_killed_within_the_budget(
    supervisor: Supervisor, heard: Heard, tmp_path: Path
) -> None:
    await supervisor.start([Child("stubborn", STUBBORN), Child("sleeper", SLEEPER)])
    await eventually(lambda: "up" in (tmp_path / "logs" / "stubborn.log").read_text())
    started = time.monotonic()

    await supervisor.stop(budget_seconds=0.5)

    assert time.monotonic() - started < 3
    assert heard.states_of("stubborn")[-1] is ChildState.KILLED
    assert heard.states_of("sleeper")[-1] is ChildState.STOPPED


async def test_child_has_a_process_group_of_its_own(supervisor: Supervisor) -> None:
    """Ctrl-C on a terminal goes to the foreground group: only the supervisor must get it."""
    await supervisor.start([Child("sleeper", SLEEPER)])
    pid = supervisor.keepers[0].pid
    assert pid is not None

    assert os.getpgid(pid) == pid


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
async def test_signal_cancels_and_is_told_from_a_failure(number: signal.Signals) -> None:
    async def wait_for_signal() -> bool:
        with cancelled_by_signals() as signalled:
            try:
                os.kill(os.getpid(), number)
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                return signalled.is_set()
        return False

    assert await asyncio.create_task(wait_for_signal())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start sweeps")
async def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    child = await start_and_kill_supervisor(tmp_path)

    await eventually(lambda: not psutil.pid_exists(child), what="the child's end")


async def start_and_kill_supervisor(home: Path) -> int:
    """Run a supervisor with one child in a process, kill -9 it, and return the child's process id."""
    script = f"""
import asyncio, pathlib, sys
from local_stack.children import Child
from local_stack.supervisor import Supervisor

async def main():
    async with Supervisor(pathlib.Path({str(home)!r})) as supervisor:
        await supervisor.start([Child("sleeper", (sys.executable, "-c", "import time; time.sleep(60)"))])
        print(supervisor.keepers[0].pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    process.kill()
    await process.wait()
    return pid


@pytest.fixture
async def recorded(tmp_path: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A process as a killed supervisor leaves it behind: running, with its record in `tmp_path`."""
    with subprocess.Popen(SLEEPER) as process:  # noqa: ASYNC220 - it returns at once
        leftovers.record(tmp_path, "sleeper", process.pid, SLEEPER)
        # For a moment after the start its command line is still empty.
        await eventually(lambda: psutil.Process(process.pid).cmdline() == list(SLEEPER))
        yield process
        process.kill()


def test_leftover_of_an_earlier_start_is_ended(tmp_path: Path, recorded: subprocess.Popen[bytes]) -> None:
    assert leftovers.sweep(tmp_path) == ["sleeper"]
    assert recorded.poll() is not None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [{"started": 1.0}, {"argv": ["something", "else"]}, {"pid": "x"}])
def test_stranger_with_a_recorded_process_id_is_left_alone(
    tmp_path: Path, recorded: subprocess.Popen[bytes], change: dict[str, object]
) -> None:
    file = tmp_path / "sleeper.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))

    assert leftovers.sweep(tmp_path) == []
    assert recorded.poll() is None
