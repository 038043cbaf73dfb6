from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from local_stack.children import BackOff, ChildEvent, ChildState, User, is_open_to_all, launch_command


def test_pauses_double_up_to_five_seconds() -> None:
    back_off = BackOff()

    assert [back_off.delay_after(0) for _ in range(7)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_pause_is_short_again_after_a_healthy_run() -> None:
    back_off = BackOff()
    for _ in range(5):
        back_off.delay_after(1)

    assert back_off.delay_after(31) == 0.2


@pytest.mark.parametrize(
    ("state", "code", "phrase"),
    [
        (ChildState.RESTARTED, None, "restarted destination-writer"),
        (ChildState.EXITED, 3, "destination-writer ended with exit code 3"),
        (ChildState.EXITED, -signal.SIGKILL, "destination-writer was ended by SIGKILL"),
        (ChildState.EXITED, -200, "destination-writer was ended by signal 200"),
    ],
)
def test_event_reads_as_a_phrase(state: ChildState, code: int | None, phrase: str) -> None:
    assert str(ChildEvent("destination-writer", state, pid=1, exit_code=code)) == phrase


def test_launch_command_tells_the_launcher_who_its_parent_is() -> None:
    command = launch_command(["sleep", "1"], user=User(65534, 65534, True), death_signal=signal.SIGQUIT)

    assert command[0] == sys.executable
    assert command[-3:] == [f"{os.getpid()},{int(signal.SIGQUIT)},65534,65534,1", "sleep", "1"]


def test_folder_closed_to_others_is_noticed_from_below(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)

    assert not is_open_to_all(inner)
    assert is_open_to_all(Path("/usr/bin"))
