"""The broker's jars: which ones (`kafka.lock`), whether they are the right ones (sha256), and where they lie.

Downloads run in a process of their own (`local_stack.download`), so that Ctrl-C ends them at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from local_stack.storage import make_folder, translated_disk_errors
from shared.errors import ConfigError

LOCK = Path(__file__).with_name("kafka.lock")
KAFKA = "org.apache.kafka:kafka_2.13:4.4.0"
# Kafka logs through slf4j 1.7 and leaves the choice of a writer to the one who installs it.
LOG_BRIDGE = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5"
DOWNLOADED = b"downloaded "  # begins a line of the downloading process that is no error


@dataclass(frozen=True, slots=True)
class Jar:
    """A jar by its Maven coordinates, with the digest that it must have."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name that repositories give to the file."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def coordinates(self) -> str:
        """The coordinates in Maven's short form."""
        return f"{self.group}:{self.artifact}:{self.version}"

    def is_intact(self, folder: Path) -> bool:
        """Return whether `folder` holds this jar, whole and unchanged."""
        with suppress(OSError), (folder / self.file_name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        return False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long step is; `str()` makes it a phrase for people."""

    step: str
    done: int
    total: int

    def __str__(self) -> str:
        """Return for example "Downloading Apache Kafka 12/45"."""
        return f"{self.step} {self.done}/{self.total}"


OnProgress = Callable[[Progress], None]


def read_lock(text: str) -> list[Jar]:
    """Return the jars that the text of a lock file lists, one `group:artifact:version sha256:…` a line."""
    jars = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        coordinates, digest = line.split()
        group, artifact, version = coordinates.split(":")
        jars.append(Jar(group, artifact, version, digest.removeprefix("sha256:")))
    return jars


def write_lock(jars: Sequence[Jar]) -> str:
    """Return the text of a lock file that lists `jars`."""
    lines = sorted(f"{jar.coordinates} sha256:{jar.sha256}" for jar in jars)
    return "\n".join(["# Written by `make lock`; every start checks the jars against it.", *lines, ""])


async def ensure_jars(cache: Path, on_progress: OnProgress, *, lock: Path = LOCK) -> list[Path]:
    """Return the paths of all jars of `lock`, after downloading those that `cache` lacks or that are broken.

    Raises ConfigError when the repository can't be reached, a jar is not the right one, or the disk is full.
    """
    folder = make_folder(cache / "jars")
    jars, intact = await asyncio.to_thread(_inspect, folder, lock)
    with translated_disk_errors(folder):
        if not all(intact):
            await _download(folder, lock, sum(intact), len(jars), on_progress)
    return [folder / jar.file_name for jar in jars]


def _inspect(folder: Path, lock: Path) -> tuple[list[Jar], list[bool]]:
    jars = read_lock(lock.read_text())
    return jars, [jar.is_intact(folder) for jar in jars]


async def _download(folder: Path, lock: Path, done: int, total: int, on_progress: OnProgress) -> None:
    # The folder for what is not yet checked is ours, so that it goes even when the other process is killed.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as aside:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "local_stack.download", str(folder), str(lock), aside),
            cwd=Path(__file__).parent.parent,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            await _follow(process, done, total, on_progress)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _follow(process: asyncio.subprocess.Process, done: int, total: int, on_progress: OnProgress) -> None:
    """Tell the progress of a download until it ends; raises ConfigError with its last words if it failed."""
    assert process.stdout is not None
    last_words = "The download of Apache Kafka failed."
    on_progress(Progress("Downloading Apache Kafka", done, total))
    async for line in process.stdout:
        if line.startswith(DOWNLOADED):
            done += 1
            on_progress(Progress("Downloading Apache Kafka", done, total))
        else:
            last_words = line.decode(errors="replace").strip()
    if await process.wait():
        raise ConfigError(last_words)
