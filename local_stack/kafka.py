"""A single-node Apache Kafka (KRaft) of our own.

Promises: it listens on the loopback address alone; it starts again by itself after a kill -9, with what
it had acknowledged; it is ready only when a client gets an answer.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.coordination import FindCoordinatorRequest

from local_stack.children import Child, Ready
from local_stack.commands import run
from local_stack.jars import OnProgress, ensure_jars
from local_stack.java import bundled_java, find_java
from local_stack.ports import LOOPBACK, choose_ports
from local_stack.readiness import tcp_ready
from local_stack.storage import make_private_folder, translated_disk_errors

LOG_CONFIGURATION = Path(__file__).with_name("log4j2.properties")
LARGEST_MESSAGE = 4 * 1024 * 1024  # bytes; a webhook of 1 MiB with room for its envelope
REQUEST_TIMEOUT = 5_000  # milliseconds
# The quick compiler alone starts faster and is cheaper until a JVM is warm.
JVM = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
JVM_EXIT = ("-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true")
SINGLE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "BROKER",
    "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "message.max.bytes": str(LARGEST_MESSAGE),
    "replica.fetch.max.bytes": str(LARGEST_MESSAGE),
    # A broker that was killed is let in again only when the controller has given up its predecessor.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    # By default half of our heap.
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    "num.network.threads": "2",
    "num.io.threads": "4",
    "default.replication.factor": "1",
    **{
        f"{topic}.{setting}": value
        for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
        for setting, value in (("replication.factor", "1"), ("num.partitions", "4"))
    },
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.min.isr": "1",
}


class LocalKafka:
    """A broker whose data and ports live in one folder, and whose jars live in the shared cache."""

    def __init__(self, folder: Path, cache: Path, environ: Mapping[str, str]) -> None:
        """Take the folders, and the environment to look for Java in; nothing is touched before `prepare`."""
        self._folder = folder
        self._cache = cache
        self._environ = environ
        self._port = 0

    @property
    def bootstrap_servers(self) -> str:
        """The address for clients; valid after `prepare`."""
        return f"{LOOPBACK}:{self._port}"

    async def prepare(self, on_progress: OnProgress) -> Child:
        """Get Java and the jars, format the folder once, choose ports, and return the broker for a supervisor.

        Raises ConfigError when Java or the jars can't be had, or the disk is full or closed.
        """
        java = (await asyncio.to_thread(find_java, self._environ, bundled_java())).program
        jars = await ensure_jars(self._cache, on_progress)
        make_private_folder(self._folder)
        with translated_disk_errors(self._folder):
            ports = choose_ports(self._folder / "ports.json", ("broker", "controller"))
            self._port = ports["broker"]
            configuration = self._folder / "server.properties"
            configuration.write_text(render_properties(self._folder / "data", **ports))
        command = [str(java), *JVM, *JVM_EXIT, f"-Dlog4j2.configurationFile={LOG_CONFIGURATION}"]
        command += ["-cp", ":".join(map(str, jars))]
        await self._format(command, configuration)
        return Child(name="kafka", argv=(*command, "kafka.Kafka", str(configuration)), ready=self._check_ready())

    async def _format(self, command: list[str], configuration: Path) -> None:
        data = self._folder / "data"
        if (data / "meta.properties").exists():
            return
        # What a kill during an earlier attempt left; without meta.properties no broker ever used it.
        shutil.rmtree(data, ignore_errors=True)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        arguments = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster}"]
        await run([*command, *arguments, f"--config={configuration}"], task="Formatting Kafka's data folder")

    def _check_ready(self) -> Ready:
        listening = tcp_ready(LOOPBACK, self._port)

        async def check() -> bool:
            return await listening() and await coordinates_groups(self.bootstrap_servers)

        return check


def render_properties(data: Path, *, broker: int, controller: int) -> str:
    """Return the broker's configuration for a data folder and two ports."""
    settings = SINGLE_NODE | {
        "log.dirs": str(data),
        "listeners": f"BROKER://{LOOPBACK}:{broker},CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": f"BROKER://{LOOPBACK}:{broker}",
        # Not the dynamic quorum: that keeps the address in the log, and ours may change from start to start.
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


async def coordinates_groups(bootstrap_servers: str) -> bool:
    """Return whether the broker answers a client and has a coordinator for consumer groups.

    Asking makes the broker create its offsets topic; a consumer's first join would otherwise fail while
    that is going on.
    """
    client = AIOKafkaClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=REQUEST_TIMEOUT)
    try:
        await client.bootstrap()
        node = client.get_random_node()
        if node is None:
            return False
        answer = await client.send(node, FindCoordinatorRequest("tillstream-ready", 0))
        return bool(answer.error_code == 0)
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await client.close()
