"""Jars from a Maven repository of the test's own."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from local_stack.jars import Jar, Progress, ensure_jars, write_lock
from shared.errors import ConfigError

BODY = b"not really a jar"
JAR = Jar("org.example", "hello", "1.0", hashlib.sha256(BODY).hexdigest())


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a Maven repository on a loopback port serves."""
    root = tmp_path / "repository"
    root.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(root))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        monkeypatch.setenv("TILLSTREAM_MAVEN_REPOSITORY", f"http://127.0.0.1:{server.server_port}/")
        yield root
        server.shutdown()
        thread.join()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    file = tmp_path / "kafka.lock"
    file.write_text(write_lock([JAR]))
    return file


def publish(repository: Path, body: bytes) -> None:
    file = repository / "org" / "example" / "hello" / "1.0" / "hello-1.0.jar"
    file.parent.mkdir(parents=True)
    file.write_bytes(body)


async def test_jar_is_downloaded_once_and_progress_is_told(repository: Path, lock: Path, tmp_path: Path) -> None:
    publish(repository, BODY)
    told: list[Progress] = []

    paths = await ensure_jars(tmp_path, told.append, lock=lock)
    again = await ensure_jars(tmp_path, told.append, lock=lock)

    assert [path.read_bytes() for path in paths] == [BODY]
    assert again == paths
    assert [str(progress) for progress in told] == [
        "Downloading Apache Kafka 0/1",
        "Downloading Apache Kafka 1/1",
    ]


async def test_damaged_jar_in_the_cache_is_replaced(repository: Path, lock: Path, tmp_path: Path) -> None:
    publish(repository, BODY)
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / JAR.file_name).write_bytes(b"half of a j")

    [path] = await ensure_jars(tmp_path, lambda progress: None, lock=lock)

    assert path.read_bytes() == BODY


async def test_changed_jar_is_refused_and_not_kept(repository: Path, lock: Path, tmp_path: Path) -> None:
    publish(repository, b"something else")

    with pytest.raises(ConfigError, match=r"org.example:hello:1.0 is not the file that was expected"):
        await ensure_jars(tmp_path, lambda progress: None, lock=lock)
    assert list((tmp_path / "jars").iterdir()) == []


async def test_repository_without_the_jar_is_said_with_the_fix(repository: Path, lock: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no org.example:hello:1.0; set TILLSTREAM_MAVEN_REPOSITORY"):
        await ensure_jars(tmp_path, lambda progress: None, lock=lock)


async def test_repository_that_does_not_answer_is_said_with_the_fix(
    lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLSTREAM_MAVEN_REPOSITORY", "http://127.0.0.1:1/")

    with pytest.raises(ConfigError, match=r"does not answer. Check the network and its proxy"):
        await ensure_jars(tmp_path, lambda progress: None, lock=lock)
