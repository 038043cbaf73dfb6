"""What the supervisor is told about a child, what it tells in return, and how patient it is."""

from __future__ import annotations

import os
import pwd
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from local_stack import launch

Ready = Callable[[], Awaitable[bool]]
"""Answers whether a child can be used; it is asked again and again, and never raises."""

FIRST_DELAY = 0.2  # seconds
LONGEST_DELAY = 5.0  # seconds
HEALTHY_AFTER = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class User:
    """An ordinary user that a child of root runs as."""

    uid: int
    gid: int
    enter_closed_folders: bool


@dataclass(frozen=True, slots=True)
class Child:
    """A program that the supervisor keeps alive."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    ready: Ready | None = None
    ready_timeout_seconds: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    user: User | None = None
    clean_up: Callable[[], None] | None = None
    """Runs before each start, in a thread: removes what a crash may have left."""


class ChildState(StrEnum):
    """What has just happened to a child."""

    STARTED = "started"
    READY = "ready"
    EXITED = "exited"
    RESTARTED = "restarted"
    STOPPED = "stopped"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class ChildEvent:
    """A fact about a child; `str()` makes it a phrase for people."""

    name: str
    state: ChildState
    pid: int
    exit_code: int | None = None

    def __str__(self) -> str:
        """Return for example "restarted destination-writer"."""
        if self.state is ChildState.EXITED and self.exit_code is not None:
            return f"{self.name} {describe_exit(self.exit_code)}"
        return f"{self.state} {self.name}"


def describe_exit(code: int) -> str:
    """Return what an exit code (negative: a signal) says in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


class BackOff:
    """Pauses before each restart: they double, and start again after a healthy run."""

    def __init__(self) -> None:
        """Begin with the shortest pause."""
        self._next = FIRST_DELAY

    def delay_after(self, ran_seconds: float) -> float:
        """Return the pause in seconds before the restart of a child that ran for `ran_seconds`."""
        if ran_seconds >= HEALTHY_AFTER:
            self._next = FIRST_DELAY
        delay = self._next
        self._next = min(delay * 2, LONGEST_DELAY)
        return delay


def launch_command(
    argv: Iterable[str], *, user: User | None = None, death_signal: signal.Signals = signal.SIGKILL
) -> list[str]:
    """Return the command that runs `argv` as `user` and ends it with `death_signal` if we die."""
    uid, gid, closed = (user.uid, user.gid, user.enter_closed_folders) if user else (-1, -1, False)
    orders = f"{os.getpid()},{int(death_signal)},{uid},{gid},{int(closed)}"
    return [sys.executable, "-I", "-S", str(Path(launch.__file__)), orders, *argv]


def ordinary_user(*paths: Path) -> User | None:
    """Return the user for programs that refuse to run as root and need `paths`; None if we aren't root."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    closed = not all(is_open_to_all(path) for path in paths)
    return User(nobody.pw_uid, nobody.pw_gid, enter_closed_folders=closed)


def is_open_to_all(path: Path) -> bool:
    """Return whether every user can pass through the folders above `path`."""
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)
