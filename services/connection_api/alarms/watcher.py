"""Looks at every connection each ten seconds, and queues what the rule finds due. One process does so at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from services.connection_api.alarms.channel import Channel
from services.connection_api.alarms.rule import Memory, decide
from services.connection_api.alarms.sentences import look_at, say
from services.connection_api.alarms.store import AlarmStore, New, Remembered
from services.connection_api.debts import read_owed
from services.connection_api.standing import standing_of
from shared.crypto import make_id
from shared.db import Pool, Row
from shared.heartbeat import beat

INTERVAL = 10.0  # seconds between two looks
PAGE = 200  # connections that are looked at together
NOTHING = Memory()


class Watcher:
    """The loop's step; it sends nothing, so that no receiver keeps it waiting."""

    def __init__(
        self,
        pool: Pool,
        store: AlarmStore,
        *,
        dashboard_url: str | None,
        now: Callable[[], datetime],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`now` gives the time with its zone; `wake` is called when messages were queued."""
        self._pool = pool
        self._store = store
        self._dashboard_url = dashboard_url.rstrip("/") if dashboard_url else None
        self._now = now
        self._wake = wake
        self._owner = make_id("api")

    async def look(self) -> int:
        """Look at every connection, if there is a channel and nobody else looks; return how many messages were queued.

        Raises `DatabaseUnavailableError`.
        """
        channels = await self._store.list_channels()
        queued, after = 0, ""
        while channels and await self._store.take_lease(self._owner):
            beat()
            now = self._now()
            rows = await self._store.situations(after=after, limit=PAGE, now=now)
            queued += await self._look_at(rows, channels, now)
            if len(rows) < PAGE:
                break
            after = rows[-1]["id"]
        if queued:
            self._wake()
        return queued

    async def _look_at(self, rows: Sequence[Row], channels: Sequence[Channel], now: datetime) -> int:
        memories = await self._store.memories([row["id"] for row in rows])
        owed = await read_owed(self._pool, [row["id"] for row in rows if row["may_owe"]], now=now)
        remembered: list[Remembered] = []
        messages: list[New] = []
        for row in rows:
            share = 0.0 if row["is_backfilling"] else None
            standing = standing_of(row, owed.get(row["id"], ()), backfill_share=share, now=now)
            look = look_at(standing, row["backfilled_at"])
            if look is None:
                continue
            for channel in channels:
                before = memories.get((channel.id, row["id"]), NOTHING)
                after, due = decide(before, look, channel=channel, now=now)
                if after != before:
                    remembered.append(Remembered(channel.id, row["id"], after))
                messages += [
                    New(channel.id, row["id"], one.event, say(one, row["name"], standing), self._page_of(row["id"]))
                    for one in due
                ]
        if remembered:
            await self._store.note(remembered, messages)
        return len(messages)

    def _page_of(self, connection_id: str) -> str | None:
        return f"{self._dashboard_url}/connections/{connection_id}" if self._dashboard_url else None
