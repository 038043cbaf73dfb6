"""Commands as a shell and as a person run them."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from services.console.app import cli
from tests.infrastructure import REPOSITORY

PATIENCE = 30.0  # seconds
IMPATIENCE = 3.0  # seconds
STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def problem(self) -> Any:
        return json.loads(self.err)


def run(*arguments: str, input: str = "") -> Ended:
    """Run a command in this process, as a shell without a terminal does."""
    result = CliRunner().invoke(cli, list(arguments), input=input)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)


class Terminal:
    """A command in a process of its own, on a terminal that a person sits at."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str], *, columns: int = 100) -> None:
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "services", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=REPOSITORY,
            env={**os.environ, **environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": str(columns), "TERM": "xterm"},
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)
        self.text = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE)

    def wait_for(self, text: str) -> None:
        """Read until the text stands there."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.text:
            assert time.monotonic() < deadline, self.text
            assert self._read(), f"It ended before {text!r}: {self.text}"

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self._ours, text.encode())

    def interrupt(self) -> int:
        """Press Ctrl-C, and again if nothing happens, as people do; return the exit code.

        A signal that comes in the instant before Python's `input` begins to wait is seen at the next key.
        """
        deadline = time.monotonic() + PATIENCE
        while self._process.poll() is None:
            assert time.monotonic() < deadline, self.text
            self.type("\x03")
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(IMPATIENCE)
        return self.end()

    def end(self) -> int:
        """Return the exit code once it has ended."""
        deadline = time.monotonic() + PATIENCE
        while self._read():
            assert time.monotonic() < deadline, self.text
        code = self._process.wait(PATIENCE)
        os.close(self._ours)
        return code

    def _read(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], 1.0)
        if not ready:
            return self._process.poll() is None
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the other side is closed
            return False
        self.text += STEERING.sub("", data.decode("utf-8", "replace")).replace("\r\n", "\n")
        return bool(data)


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
