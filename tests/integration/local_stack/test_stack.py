"""The whole stack: real Postgres and real Kafka, killed in every way."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from local_stack.children import Child
from local_stack.postgres import LocalPostgres
from local_stack.stack import LocalStack
from local_stack.state import read_state
from local_stack.supervisor import Supervisor
from shared.errors import ConfigError
from tests.eventually import eventually

REPOSITORY = Path(__file__).parents[3]
TOPIC = "kept"


async def store(database_url: str, kafka: str) -> None:
    """Put one row and one message where they have to be found again."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("CREATE TABLE kept (word text)")
        await connection.execute("INSERT INTO kept VALUES ('row')")
    finally:
        await connection.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer:
        await producer.send_and_wait(TOPIC, b"message")


async def assert_kept(database_url: str, kafka: str) -> None:
    """Find the row and the message."""
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT word FROM kept") == "row"
    finally:
        await connection.close()
    async with AIOKafkaConsumer(TOPIC, bootstrap_servers=kafka, auto_offset_reset="earliest") as consumer:
        async with asyncio.timeout(20):
            assert (await consumer.getone()).value == b"message"


@asynccontextmanager
async def served(home: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, str]]]:
    """The stack in a process of its own, and its addresses."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "local_stack", "--home", str(home)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=REPOSITORY,
    )
    assert process.stdout is not None
    try:
        yield process, json.loads(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@contextmanager
def occupied(*ports: int) -> Iterator[None]:
    with ExitStack() as exits:
        for port in ports:
            exits.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


def pids_in(home: Path) -> list[int]:
    state = read_state(home)
    assert state is not None
    return [child.pid for child in state.children if child.pid is not None]


async def test_servers_that_are_killed_come_back_with_their_data(tmp_path: Path) -> None:
    heard: list[str] = []
    async with LocalStack(tmp_path, on_event=lambda event: heard.append(str(event))) as stack:
        await store(stack.database_url, stack.kafka_bootstrap_servers)
        for pid in pids_in(tmp_path):
            os.kill(pid, signal.SIGKILL)
        await eventually(lambda: {"restarted postgres", "restarted kafka"} <= set(heard), within=30)

        await assert_kept(stack.database_url, stack.kafka_bootstrap_servers)
        folders = [tmp_path / name for name in ("kafka", "logs", "run", "postgres/data")]
        assert {folder.stat().st_mode & 0o077 for folder in folders} == {0}, "others of the machine can look in"


async def test_everything_killed_and_every_port_lost_starts_again_with_its_data(tmp_path: Path) -> None:
    async with served(tmp_path) as (process, addresses):
        await store(addresses["database_url"], addresses["kafka_bootstrap_servers"])
        pids = pids_in(tmp_path)
        process.kill()
        await process.wait()
    await eventually(lambda: not any(map(psutil.pid_exists, pids)), what="the servers' end")

    with occupied(*all_ports(tmp_path)):
        async with served(tmp_path) as (_, again):
            assert again["kafka_bootstrap_servers"] != addresses["kafka_bootstrap_servers"]
            await assert_kept(again["database_url"], again["kafka_bootstrap_servers"])


def all_ports(home: Path) -> list[int]:
    files = [home / "postgres" / "ports.json", home / "kafka" / "ports.json"]
    return [port for file in files for port in json.loads(file.read_text()).values()]


async def test_ctrl_c_stops_all_in_time_and_leaves_no_process(tmp_path: Path) -> None:
    async with served(tmp_path) as (process, _):
        pids = pids_in(tmp_path)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0

    assert time.monotonic() - started < 10
    assert not any(map(psutil.pid_exists, pids))


async def test_ctrl_c_while_starting_leaves_no_process(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "local_stack", "--home", str(tmp_path)),
        stderr=asyncio.subprocess.DEVNULL,
        cwd=REPOSITORY,
    )
    await eventually(lambda: len(list((tmp_path / "run").glob("*.json"))) == 2, within=30)
    pids = [json.loads(file.read_text())["pid"] for file in (tmp_path / "run").glob("*.json")]
    process.send_signal(signal.SIGINT)

    assert await process.wait() == 0
    assert not any(map(psutil.pid_exists, pids))


async def test_second_stack_in_one_home_is_refused(tmp_path: Path) -> None:
    given = {"database_url": "postgresql://db/x", "kafka_bootstrap_servers": "kafka:9092"}
    async with LocalStack(tmp_path, **given):
        with pytest.raises(ConfigError, match=rf"already runs in .* \(process {os.getpid()}\): stop it first"):
            async with LocalStack(tmp_path, **given):
                pass
    async with LocalStack(tmp_path, **given):
        pass


async def test_running_stack_is_found_by_other_programs(tmp_path: Path) -> None:
    given = {"database_url": "postgresql://db/x", "kafka_bootstrap_servers": "kafka:9092"}
    assert read_state(tmp_path) is None

    async with LocalStack(tmp_path, **given) as stack:
        await stack.supervisor.start([Child("sleeper", ("sleep", "60"))])
        stack.publish(api_url="http://127.0.0.1:8000")
        state = read_state(tmp_path)

    assert state is not None
    assert state.pid == os.getpid()
    assert state.addresses == given | {"api_url": "http://127.0.0.1:8000"}
    assert [(child.name, child.restarts) for child in state.children] == [("sleeper", 0)]
    assert read_state(tmp_path) is None


async def test_given_addresses_start_nothing(tmp_path: Path) -> None:
    async with LocalStack(tmp_path, database_url="postgresql://db/x", kafka_bootstrap_servers="kafka:9092") as stack:
        assert stack.database_url == "postgresql://db/x"
        assert stack.kafka_bootstrap_servers == "kafka:9092"
        assert stack.supervisor.keepers == []


async def test_database_that_dies_under_a_busy_session_is_back_within_seconds(tmp_path: Path) -> None:
    """A session that computes doesn't notice the end of its server, and keeps a new one from starting."""
    heard: list[str] = []
    async with LocalStack(
        tmp_path, kafka_bootstrap_servers="kafka:9092", on_event=lambda event: heard.append(str(event))
    ) as stack:
        connection = await asyncpg.connect(stack.database_url)
        busy = asyncio.create_task(connection.fetch("SELECT count(*) FROM generate_series(1, 1e11)"))
        await asyncio.wait({busy}, timeout=0.2)
        [pid] = pids_in(tmp_path)
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: "restarted postgres" in heard, within=8)

        await asyncio.gather(busy, return_exceptions=True)
        connection.terminate()
    assert heard.count("started postgres") == 2


@pytest.fixture
async def postgres(tmp_path: Path) -> tuple[LocalPostgres, Path]:
    """A prepared server that does not run."""
    server = LocalPostgres(tmp_path / "postgres")
    await server.prepare()
    return server, tmp_path


async def test_process_id_of_a_dead_server_may_belong_to_a_stranger_by_now(
    postgres: tuple[LocalPostgres, Path],
) -> None:
    server, home = postgres
    data = home / "postgres" / "data"
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n1\n1\n\n127.0.0.1\n0 0\nready\n")

    async with Supervisor(home) as supervisor:
        await supervisor.start([await server.prepare()])
        connection = await asyncpg.connect(server.url)
        await connection.close()


@pytest.fixture
def closed_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that only its owner may enter, and that is still closed afterwards."""
    tmp_path.chmod(0o700)
    yield tmp_path
    assert tmp_path.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
async def test_server_of_root_runs_as_nobody_even_in_a_closed_folder(closed_folder: Path) -> None:
    server = LocalPostgres(closed_folder / "postgres")

    async with Supervisor(closed_folder) as supervisor:
        await supervisor.start([await server.prepare()])

        assert psutil.Process(supervisor.keepers[0].pid).username() == "nobody"


async def test_password_is_needed(postgres: tuple[LocalPostgres, Path]) -> None:
    server, home = postgres
    async with Supervisor(home) as supervisor:
        await supervisor.start([await server.prepare()])

        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(server.url, password="guess")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", tmp_path], check=False)
    if mounted.returncode:
        pytest.skip("making a tiny disk takes the rights of root")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


async def test_full_disk_is_said_with_the_fix(tiny_disk: Path) -> None:
    with pytest.raises(ConfigError, match="Making PostgreSQL's data folder failed: the disk is full; free"):
        await LocalPostgres(tiny_disk / "postgres").prepare()
    with pytest.raises(ConfigError, match=r"The disk of .* is full: free at least 2 GB"):
        async with LocalStack(tiny_disk):
            pass
