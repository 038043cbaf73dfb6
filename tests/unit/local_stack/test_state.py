from __future__ import annotations

from pathlib import Path

import pytest

from local_stack.state import ChildStatus, StackState, locked, read_state, write_state
from shared.errors import ConfigError

STATE = StackState(7, {"database_url": "postgresql://u:secret@h/d"}, (ChildStatus("kafka", None, 2, "/x/kafka.log"),))


def test_state_of_a_running_stack_comes_back_as_written(tmp_path: Path) -> None:
    with locked(tmp_path):
        write_state(tmp_path, STATE)

        assert read_state(tmp_path) == STATE
        assert (tmp_path / "stack.json").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "stack.json").exists()


def test_state_that_a_killed_stack_left_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    write_state(tmp_path, STATE)

    assert read_state(tmp_path) is None


def test_home_without_a_stack_has_no_state(tmp_path: Path) -> None:
    assert read_state(tmp_path / "none") is None


def test_home_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(ConfigError, match="already runs"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
