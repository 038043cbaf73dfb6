"""The services as processes that a test starts, pauses and ends one by one, beside a simulator."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import asyncpg

from services.console.judge import Verdict, judge
from shared.crypto import make_encryption_key
from simulator.client import ControlClient
from tests.infrastructure import REPOSITORY

PATIENCE = 90.0  # seconds for one step
POLL_INTERVAL = 0.05  # seconds
TIMEOUT = 10.0  # seconds for one answer
TOKEN = "tst_" + "a1" * 20
SCHEMA = "rows"
WAITING = """
SELECT (SELECT count(*) FROM parked_records) + (SELECT count(*) FROM refetches)
     + (SELECT count(*) FROM syncs WHERE status IN ('queued', 'running') AND kind <> 'live')
"""


class Part:
    """A process of the deployment."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], address: Path, log: Path) -> None:
        self.name, self.process, self._address, self._log = name, process, address, log

    @property
    def url(self) -> str:
        """Where it listens; waits until it does."""
        until(self._address.exists, f"{self.name} listens", because=self.text)
        return str(json.loads(self._address.read_text())["url"])

    def text(self) -> str:
        return self._log.read_text()[-4000:]

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self, *, within: float = 30.0) -> tuple[int, float]:
        """Ask it to end; return its exit code and how many seconds it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(within)
        return code, time.monotonic() - began

    def probe(self, path: str = "/readyz") -> int | None:
        """Return the status of a probe; None when nobody answers."""
        try:
            with urlopen(self.url + path, timeout=TIMEOUT) as answer:
                return int(answer.status)
        except HTTPError as error:
            error.close()
            return error.code
        except (URLError, OSError):
            return None

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        with urlopen(self.url + "/metrics", timeout=TIMEOUT) as answer:
            lines = [line for line in answer.read().decode().splitlines() if line.startswith(name)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


class Deployment:
    """Services over a database and a broker, and the account that they sync."""

    def __init__(self, folder: Path, database_url: str, kafka: str, **settings: str) -> None:
        self._folder, self.database_url = folder, database_url
        self._gateway_port = free_port()
        self._parts: list[Part] = []
        self._settings = {
            "database_url": database_url,
            "kafka_bootstrap_servers": kafka,
            "topic_partitions": "4",
            "encryption_keys": make_encryption_key("test"),
            "api_token": TOKEN,
            "public_url": f"http://127.0.0.1:{self._gateway_port}",
            "reconcile_seconds": "86400",  # nothing heals by the way
            "write_deadline_seconds": "5",
            **settings,
        }
        self.control = ControlClient("http://127.0.0.1:1")
        self.connection: dict[str, Any] = {}

    def start(self, service: str, **settings: str) -> Part:
        """Start a process of a service."""
        number = len(self._parts)
        name = f"{service}-{number}"
        address, log = self._folder / f"{name}.json", self._folder / f"{name}.log"
        own = {**self._settings, **settings, "address_file": str(address), "instance": settings.get("instance", name)}
        own["port"] = str(self._gateway_port) if service == "webhook-gateway" else "0"
        environ = {f"TILLSTREAM_{key.upper()}": value for key, value in own.items()}
        return self._launch(name, ["services", service], address, log, environ)

    def start_simulator(self, *arguments: str) -> Part:
        """Start the simulator, and let the services that are started from now on call it."""
        address, log = self._folder / "simulator.json", self._folder / "simulator.log"
        part = self._launch(
            "simulator", ["simulator", "--port", "0", "--url-file", str(address), *arguments], address, log
        )
        self._settings["stripe_api_base"] = part.url
        self.control = ControlClient(part.url)
        return part

    def connect(self, api: Part) -> None:
        """Connect the simulated account to a schema of the same database."""
        key = self.control.get("state")["api_key"]
        wanted = {"name": "Rows", "url": self.database_url, "schema": SCHEMA}
        destination = call(f"{api.url}/v1/destinations", wanted)
        self.connection = call(f"{api.url}/v1/connections", {"api_key": key, "destination_ids": [destination["id"]]})

    def query(self, sql: str, *values: Any) -> list[Any]:
        """Return what the state database says: the first column of each row."""
        return asyncio.run(self._query(sql, values))

    def value(self, sql: str, *values: Any) -> Any:
        return self.query(sql, *values)[0]

    def settle(self) -> None:
        """Let no more changes happen, and return when all of them have arrived and nothing is left to do."""
        self.control.post("business", {"changes_per_second": 0})
        until(lambda: self.control.get("state")["deliveries_pending"] == 0, "all webhooks are delivered")
        until(self.is_idle, "nothing is left to do")

    def is_idle(self) -> bool:
        return bool(self.value(WAITING) == 0) and not self.unwritten()

    def unwritten(self) -> set[str]:
        """Return the events that Stripe's feed names and no destination has seen."""
        told: set[str] = set()
        since = 0
        while True:
            page = self.control.get("events", since=since, limit=5000)
            if not page["events"]:
                return told - set(self.query("SELECT event_id FROM event_log"))
            told |= {event["id"] for event in page["events"] if event["attempts"] and not _is_left_out(event["type"])}
            since = page["next"]

    def verdicts(self) -> list[Verdict]:
        """Compare the tables with the truth; return those that differ.

        The balance is left out: it changes with most of what happens, and is told of by nothing.
        """
        names = [name for name in self.connection["resources"] if name != "balance"]
        account, livemode = self.connection["account_id"], self.connection["livemode"]
        found = asyncio.run(judge(self.database_url, SCHEMA, self.control, names, account=account, livemode=livemode))
        assert sum(verdict.rows for verdict in found) > 100
        return [verdict for verdict in found if not verdict.is_equal]

    def end(self) -> None:
        for part in self._parts:
            part.process.kill()
            part.process.wait()

    async def _query(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        connection = await asyncpg.connect(self.database_url, server_settings={"search_path": "tillstream"})
        try:
            return [row[0] for row in await connection.fetch(sql, *values)]
        finally:
            await connection.close()

    def _launch(
        self, name: str, arguments: list[str], address: Path, log: Path, environ: dict[str, str] | None = None
    ) -> Part:
        address.unlink(missing_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), **(environ or {})},
                cwd=REPOSITORY,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._parts.append(Part(name, process, address, log))
        return self._parts[-1]


@contextmanager
def deployed(folder: Path, database_url: str, kafka: str, **settings: str) -> Iterator[Deployment]:
    """Lend a deployment without parts; whatever is started ends with the block."""
    folder.mkdir(exist_ok=True)
    deployment = Deployment(folder, database_url, kafka, **settings)
    try:
        yield deployment
    finally:
        deployment.end()


def _is_left_out(event_type: str) -> bool:
    """Tell whether Stripe's feed never names such an event: a lost one is made up for by a list."""
    return event_type.startswith("refund.")


def until(
    condition: Callable[[], bool], what: str, *, within: float = PATIENCE, because: Callable[[], str] = lambda: ""
) -> float:
    """Return after how many seconds the condition was true; fail the test when it isn't in time."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within, f"{within:g} s have passed before {what}. {because()}"
        time.sleep(POLL_INTERVAL)
    return time.monotonic() - began


def call(url: str, body: dict[str, Any] | None = None) -> Any:
    """Return the API's JSON answer."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = Request(url, json.dumps(body).encode() if body is not None else None, headers)
    try:
        with urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except HTTPError as error:
        raise AssertionError(error.read().decode()) from error


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])
