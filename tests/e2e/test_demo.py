"""The whole product through its processes: the demo judges every row, whatever is killed meanwhile."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from tests.e2e.commands import Command, started

# One stack at a time: each has a broker, a database and six processes of its own.
pytestmark = pytest.mark.xdist_group("stack")

CHECK = ("demo", "--check", "--objects", "4000")
EQUAL = "0 missing, 0 extra, 0 different"
VICTIMS = ("destination-writer", "sync-worker")
MOST_IN_FLIGHT = 16  # calls that the simulator still answers to a worker that is gone
SLOW = {"latency_before_ms": 150}  # of each call, so that a crash finds the backfill under way


def test_every_row_equals_stripe_after_a_backfill_under_change(tmp_path: Path) -> None:
    with started(tmp_path / "demo", *CHECK) as command:
        assert command.wait(within=120) == 0, command.text()
        assert EQUAL in command.text()
        assert command.processes() == []


def test_every_row_equals_stripe_although_writer_and_worker_are_killed(tmp_path: Path) -> None:
    """Both are killed in the backfill and again while live; each slice that was open fetches at most one page again.

    Counted are the answered calls of the backfill: a page is a slice and its cursor.
    """
    with started(tmp_path / "demo", *CHECK) as command:
        control = command.control()
        control.post("faults", SLOW)
        command.wait_for(lambda: len(pages(command)) >= 15 or None, "the backfill is under way")
        command.kill(*VICTIMS)
        under_way = len(pages(command)) + MOST_IN_FLIGHT
        command.wait_for(lambda: len(pages(command)) > under_way or None, "the backfill goes on")
        control.delete("faults")
        command.wait_until_printed("Live for", within=90)
        backfill = Counter(pages(command))
        command.kill(*VICTIMS)
        assert command.wait(within=120) == 0, command.text()
        assert EQUAL in command.text()
    assert max(backfill.values()) <= 2
    again = Counter((path, walk, end) for (path, walk, end, _), times in backfill.items() if times > 1)
    assert max(again.values(), default=0) <= 1


def pages(command: Command) -> list[tuple[str, str, str, str]]:
    """Return the pages that slices have fetched so far: path, walk, and end of the slice's range, then the cursor.

    Only slices name the end of a range, and no two slices of a walk end at the same second.
    """
    found = []
    for request in command.control().get("requests")["requests"]:
        query = dict(parse_qsl(request["query"]))
        if request["method"] == "GET" and request["status"] == 200 and "created[lt]" in query:
            end, cursor = query.pop("created[lt]"), query.pop("starting_after", "")
            query.pop("created[gte]", None)  # a split moves it
            found.append((request["path"], str(sorted(query.items())), end, cursor))
    return found


def test_ctrl_c_stops_everything_within_ten_seconds(tmp_path: Path) -> None:
    with started(tmp_path / "demo", "demo", "--objects", "1000") as command:
        command.wait_until_printed("Dashboard")
        assert len(command.processes()) > len(VICTIMS)
        began = time.monotonic()
        os.kill(command.process.pid, signal.SIGINT)
        assert command.wait(within=20) == 130
        assert time.monotonic() - began <= 10
        assert command.processes() == []


def test_second_start_works_after_everything_was_killed(tmp_path: Path) -> None:
    with started(tmp_path / "demo", "demo", "--objects", "1000") as first:
        first.wait_until_printed("Dashboard")
        first.kill_all()
        first.wait(within=10)
    with started(tmp_path / "demo", *CHECK[:2], "--objects", "1000") as second:
        second.wait_until_printed("Live for")
        os.kill(second.process.pid, signal.SIGINT)
        assert second.wait(within=20) == 130
