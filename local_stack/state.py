"""What a running stack tells other programs of the machine, and the lock that says that it runs."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from local_stack.storage import translated_disk_errors, write_private
from shared.errors import ConfigError

STATE_FILE = "stack.json"
LOCK_FILE = "lock"


@dataclass(frozen=True, slots=True)
class ChildStatus:
    """One supervised process; `pid` is None while it is being restarted."""

    name: str
    pid: int | None
    restarts: int
    log: str


@dataclass(frozen=True, slots=True)
class StackState:
    """A stack: its supervisor, where its servers listen (passwords included), and its processes."""

    pid: int
    addresses: dict[str, str]
    children: tuple[ChildStatus, ...]


def write_state(home: Path, state: StackState) -> None:
    """Replace the state of `home`; only its owner can read it."""
    write_private(home / STATE_FILE, json.dumps(asdict(state), indent=2) + "\n")


def read_state(home: Path) -> StackState | None:
    """Return the state of the stack that runs in `home`; None if none does."""
    try:
        with (home / LOCK_FILE).open("r+") as file:
            if _lock(file):
                return None
        found = json.loads((home / STATE_FILE).read_text())
    except FileNotFoundError:
        return None
    children = tuple(ChildStatus(**child) for child in found["children"])
    return StackState(found["pid"], found["addresses"], children)


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the home folder; raises ConfigError when another stack does."""
    with translated_disk_errors(home):
        file = (home / LOCK_FILE).open("a+")
    with file:
        if not _lock(file):
            file.seek(0)
            raise ConfigError(
                f"Tillstream already runs in {home} (process {file.read() or 'unknown'}): stop it first, "
                "or set TILLSTREAM_HOME to another folder to run a second one.",
                field="TILLSTREAM_HOME",
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            (home / STATE_FILE).unlink(missing_ok=True)


def _lock(file: IO[str]) -> bool:
    """Take the lock for as long as `file` is open; return whether it was free."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
