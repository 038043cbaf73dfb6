"""The whole product through its processes: the demo judges every row, stops at once and starts again."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.commands import started

# One stack at a time: each has a broker, a database and six processes of its own.
pytestmark = pytest.mark.xdist_group("stack")

CHECK = ("demo", "--check", "--objects", "4000")
EQUAL = "0 missing, 0 extra, 0 different"


def test_every_row_equals_stripe_after_a_backfill_under_change(tmp_path: Path) -> None:
    with started(tmp_path / "demo", *CHECK) as command:
        assert command.wait(within=120) == 0, command.text()
        assert EQUAL in command.text()
        assert command.processes() == []


def test_second_start_works_after_everything_was_killed_and_ctrl_c_stops_it_within_ten_seconds(tmp_path: Path) -> None:
    with started(tmp_path / "demo", "demo", "--objects", "1000") as first:
        first.wait_until_printed("Dashboard")
        first.kill_all()
        first.wait(within=10)
    with started(tmp_path / "demo", *CHECK[:2], "--objects", "1000") as second:
        second.wait_until_printed("Live for")
        assert len(second.processes()) > 2
        began = time.monotonic()
        os.kill(second.process.pid, signal.SIGINT)
        assert second.wait(within=20) == 130
        assert time.monotonic() - began <= 10
        assert second.processes() == []
