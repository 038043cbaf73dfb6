"""A broker of a test's own, that is killed, emptied and started again."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from local_stack.children import Child
from local_stack.kafka import LocalKafka
from local_stack.storage import cache_folder

READY_WITHIN = 120.0  # seconds
POLL_INTERVAL = 0.3  # seconds: a look costs as much as a client


class OwnBroker:
    """A Kafka in a folder; its address stays the same."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kafka = LocalKafka(folder, cache_folder(os.environ, Path.home()), os.environ)
        self._child: Child | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return self._kafka.bootstrap_servers

    def start(self) -> None:
        """Start it, formatted where its folder is empty, and return when it can be used."""
        self._child = asyncio.run(self._kafka.prepare(lambda progress: None))
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._child.argv, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + READY_WITHIN
        while not self.is_ready():
            assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the broker was not ready in time"
            time.sleep(POLL_INTERVAL)

    def is_ready(self) -> bool:
        assert self._child is not None
        assert self._child.ready is not None
        return asyncio.run(self._child.ready())

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Let it take connections and answer nobody."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def empty(self) -> None:
        """Take all data of one that does not run: it comes back under another cluster id."""
        shutil.rmtree(self._folder / "data")

    def empty_but_keep_its_id(self) -> None:
        """Take all data of one that does not run but what says who it is."""
        data = self._folder / "data"
        [line] = [one for one in (data / "meta.properties").read_text().splitlines() if one.startswith("cluster.id=")]
        self.empty()
        assert self._child is not None
        *java, _, configuration = self._child.argv
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={line.removeprefix('cluster.id=')}"]
        subprocess.run([*java, *tool, f"--config={configuration}"], check=True, capture_output=True)

    def delete_topics(self, *names: str) -> None:
        asyncio.run(self._administer("delete_topics", list(names)))

    def delete_records(self, *names: str) -> None:
        """Let everything go that the topics hold, as retention does: where they end stays the same."""
        everything = RecordsToDelete(before_offset=-1)  # up to the end
        places = asyncio.run(self._places(names))
        asyncio.run(self._administer("delete_records", dict.fromkeys(places, everything)))

    async def _places(self, names: tuple[str, ...]) -> list[TopicPartition]:
        topics = await self._administer("describe_topics", list(names))
        return [TopicPartition(one["topic"], part["partition"]) for one in topics for part in one["partitions"]]

    async def _administer(self, what: str, argument: object) -> list[dict[str, list[dict[str, int]]]]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
        await admin.start()
        try:
            return await getattr(admin, what)(argument)  # type: ignore[no-any-return]
        finally:
            await admin.close()
