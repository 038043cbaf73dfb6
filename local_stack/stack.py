"""Postgres and Kafka for one home folder: started together, kept alive, stopped together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from local_stack.children import Child, ChildEvent
from local_stack.concurrency import together
from local_stack.jars import OnProgress
from local_stack.kafka import LocalKafka
from local_stack.postgres import LocalPostgres
from local_stack.state import ChildStatus, StackState, locked, write_state
from local_stack.storage import cache_folder, make_folder, make_private_folder, require_space
from local_stack.supervisor import Supervisor


class LocalStack:
    """What one machine needs: an async context that starts a database and a broker, unless given, and stops them.

    `supervisor` is running inside the context: further children can be started with it.
    """

    def __init__(
        self,
        home: Path,
        *,
        database_url: str | None = None,
        kafka_bootstrap_servers: str | None = None,
        on_progress: OnProgress = lambda progress: None,
        on_event: Callable[[ChildEvent], None] = lambda event: None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """Take the home folder, the addresses that replace ours, and who wants to hear of progress and children."""
        self.home = home
        self.database_url = database_url or ""
        self.kafka_bootstrap_servers = kafka_bootstrap_servers or ""
        self.supervisor = Supervisor(home, on_event=self._note)
        self._cache = cache_folder(environ, Path.home())
        self._environ = environ
        self._on_progress = on_progress
        self._on_event = on_event
        self._published: dict[str, str] = {}
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start what was not given, and return when both can be used.

        Raises ConfigError, with the fix, when the home is in use, the disk full, or something can't start.
        """
        async with AsyncExitStack() as exits:
            # Of root, the database's user has to pass through; what lies below is closed anyway.
            (make_folder if os.geteuid() == 0 else make_private_folder)(self.home)
            require_space(self.home)
            exits.enter_context(locked(self.home))
            await exits.enter_async_context(self.supervisor)
            await self.supervisor.start(await self._prepare())
            self._write_state()
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything that was started."""
        await self._exits.aclose()

    def publish(self, **addresses: str) -> None:
        """Tell other programs of this machine further addresses, under names of the caller's choice."""
        self._published.update(addresses)
        self._write_state()

    async def _prepare(self) -> list[Child]:
        """Make both ready to be started, at the same time, and learn their addresses."""
        steps = []
        if not self.database_url:
            steps.append(self._prepare_postgres())
        if not self.kafka_bootstrap_servers:
            steps.append(self._prepare_kafka())
        return await together(*steps)

    async def _prepare_postgres(self) -> Child:
        postgres = LocalPostgres(self.home / "postgres")
        child = await postgres.prepare()
        self.database_url = postgres.url
        return child

    async def _prepare_kafka(self) -> Child:
        kafka = LocalKafka(self.home / "kafka", self._cache, self._environ)
        child = await kafka.prepare(self._on_progress)
        self.kafka_bootstrap_servers = kafka.bootstrap_servers
        return child

    def _note(self, event: ChildEvent) -> None:
        self._write_state()
        self._on_event(event)

    def _write_state(self) -> None:
        addresses = {
            "database_url": self.database_url,
            "kafka_bootstrap_servers": self.kafka_bootstrap_servers,
            **self._published,
        }
        children = tuple(
            ChildStatus(keeper.child.name, keeper.pid, keeper.restarts, str(keeper.log))
            for keeper in self.supervisor.keepers
        )
        write_state(self.home, StackState(os.getpid(), addresses, children))
