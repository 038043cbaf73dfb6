"""A real Postgres and a real Kafka for tests: the given addresses, else containers, else the local stack.

`TILLSTREAM_TEST_DATABASE_URL` and `TILLSTREAM_TEST_KAFKA_BOOTSTRAP_SERVERS` give addresses. Otherwise a
process of its own holds the servers: the first worker that needs them starts it, all workers share it, and
it is stopped when the session ends, or by itself when the test run dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.databases import Databases, empty_database, execute, run

REPOSITORY = Path(__file__).parent.parent
START_TIMEOUT = 180.0  # seconds; the first start downloads the broker
STOP_TIMEOUT = 20.0  # seconds
POLL_INTERVAL = 0.05  # seconds
# Of the servers that we start ourselves: their data is thrown away.
NOT_KEPT = ("fsync", "full_page_writes", "synchronous_commit")
RELOAD = "SELECT pg_reload_conf()"


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the servers of this test run listen."""

    database_url: str
    kafka_bootstrap_servers: str


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Servers:
    """Both servers; they are started if their addresses are not given."""
    url = os.environ.get("TILLSTREAM_TEST_DATABASE_URL", "")
    kafka = os.environ.get("TILLSTREAM_TEST_KAFKA_BOOTSTRAP_SERVERS", "")
    if url and kafka:
        return Servers(url, kafka)
    started = _share_holder(_session_folder(tmp_path_factory))
    return Servers(url or started.database_url, kafka or started.kafka_bootstrap_servers)


@pytest.fixture(scope="session")
def postgres_url(servers: Servers) -> str:
    """The address of a database whose user may create others."""
    return servers.database_url


@pytest.fixture(scope="session")
def kafka_bootstrap_servers(servers: Servers) -> str:
    """The address of the broker."""
    return servers.kafka_bootstrap_servers


@pytest.fixture(scope="session")
def databases(postgres_url: str) -> Iterator[Databases]:
    """The databases of this worker's tests."""
    made = Databases(postgres_url)
    yield made
    made.close()


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """A database of this test's own, with all migrations."""
    with databases.lend() as url:
        yield url


@pytest.fixture(scope="module")
def module_database_url(databases: Databases) -> Iterator[str]:
    """A database that the tests of a module share, with all migrations."""
    with databases.lend() as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A database of this test's own, with nothing in it."""
    with empty_database(postgres_url) as url:
        yield url


@pytest.fixture
def topic_prefix() -> str:
    """A prefix that makes the names of topics and groups this test's own."""
    return f"test-{uuid.uuid4().hex[:12]}."


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the servers once all workers have finished."""
    if hasattr(session.config, "workerinput"):
        return
    factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]
    if factory._basetemp is not None and (state := factory.getbasetemp() / "servers.json").exists():
        _stop(json.loads(state.read_text())["pid"])
        # Hundreds of megabytes that nobody looks at; the logs stay.
        for part in ("postgres", "kafka"):
            shutil.rmtree(state.parent / "stack" / part, ignore_errors=True)


def _session_folder(factory: pytest.TempPathFactory) -> Path:
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def _share_holder(folder: Path) -> Servers:
    state = folder / "servers.json"
    with (folder / "servers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not state.exists():
            state.write_text(json.dumps(_start_holder(folder)))
    known = json.loads(state.read_text())
    return Servers(known["database_url"], known["kafka_bootstrap_servers"])


def _start_holder(folder: Path) -> dict[str, str | int]:
    output, log = folder / "servers.out", folder / "servers.log"
    follow = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    module = "tests.containers" if _docker_answers() else "local_stack"
    command = [sys.executable, "-m", module, f"--home={folder / 'stack'}", f"--follow={follow}"]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    # Not Popen: it warns when it is collected while the process, which outlives this worker, still runs.
    pid = os.posix_spawn(
        command[0],
        command,
        os.environ | {"PYTHONPATH": str(REPOSITORY)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 1, str(output), flags, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, str(log), flags, 0o600),
        ],
        setsid=True,
    )
    deadline = time.monotonic() + START_TIMEOUT
    while not (text := output.read_text() if output.exists() else "").endswith("\n"):
        if time.monotonic() > deadline or _has_ended(pid):
            pytest.exit(f"The servers for the tests did not start: {log.read_text().strip()[-2000:]}", 3)
        time.sleep(POLL_INTERVAL)
    addresses: dict[str, str | int] = json.loads(text)
    run(execute(str(addresses["database_url"]), *(f"ALTER SYSTEM SET {name} = off" for name in NOT_KEPT), RELOAD))
    return addresses | {"pid": pid}


def _stop(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT
    while not _has_ended(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_INTERVAL)


def _has_ended(pid: int) -> bool:
    """Return whether a process is gone, be it our child or, under xdist, a finished worker's."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def _docker_answers() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    return subprocess.run([docker, "info"], capture_output=True, timeout=20, check=False).returncode == 0
