"""Records of running children, by which the next start finds what a kill -9 of the supervisor left behind.

On Linux the kernel ends the children with the supervisor; elsewhere, and for what outlived that, the
records are swept. A process is ended only if its start time and its command line are the recorded ones,
so a stranger who got the same process id is never touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

START_TOLERANCE = 2.0  # seconds; the clock behind start times may be corrected meanwhile
GRACE = 3.0  # seconds


def record(folder: Path, name: str, pid: int, argv: Iterable[str]) -> None:
    """Note that child `name` runs `argv` as process `pid`."""
    with suppress(psutil.Error):
        started = psutil.Process(pid).create_time()
        text = json.dumps({"pid": pid, "started": started, "argv": list(argv)})
        (folder / f"{name}.json").write_text(text)


def forget(folder: Path, name: str) -> None:
    """Drop the note of child `name`."""
    (folder / f"{name}.json").unlink(missing_ok=True)


def sweep(folder: Path) -> list[str]:
    """End every recorded child that still runs; return the names of those that did. Takes up to 3 s."""
    found = {file.stem: process for file in folder.glob("*.json") if (process := _recorded(file))}
    end(found.values())
    for file in folder.glob("*.json"):
        file.unlink(missing_ok=True)
    return sorted(found)


def end(processes: Iterable[psutil.Process]) -> None:
    """End processes: ask first, and after 3 s insist."""
    asked = list(processes)
    for process in asked:
        with suppress(psutil.Error):
            process.terminate()
    _, remaining = psutil.wait_procs(asked, timeout=GRACE)
    kill(remaining)


def kill(processes: Iterable[psutil.Process]) -> None:
    """End processes at once, and return when they are gone."""
    doomed = list(processes)
    for process in doomed:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(doomed, timeout=GRACE)


def _recorded(file: Path) -> psutil.Process | None:
    try:
        noted = json.loads(file.read_text())
        process = psutil.Process(noted["pid"])
        same_start = abs(process.create_time() - noted["started"]) <= START_TOLERANCE
        # The launcher's own command line ends with the child's.
        same_command = process.cmdline()[-len(noted["argv"]) :] == noted["argv"]
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    return process if same_start and same_command else None
