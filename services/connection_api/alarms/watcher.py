"""Looks at every connection each ten seconds, and queues what the rule finds due. One process does so at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlencode

from services.connection_api.alarms.channel import Channel, Event
from services.connection_api.alarms.folding import Letter, Told, fold
from services.connection_api.alarms.rule import Memory, decide
from services.connection_api.alarms.sentences import look_at, owed_of
from services.connection_api.alarms.store import AlarmStore, New, Remembered
from services.connection_api.debts import read_owed
from services.connection_api.status import Word
from services.connection_api.views.standings import stand
from shared.crypto import make_id
from shared.db import Pool, Row
from shared.heartbeat import beat

INTERVAL = 10.0  # seconds between two looks
PAGE = 200  # connections that are looked at together
NOTHING = Memory()
# Which accounts the page shows that a message about several leads to; all of them, where it is not named.
SHOWN_BY = {
    Event.ACTION_REQUIRED: Word.ACTION_REQUIRED,
    Event.RECORDS_FAILED: Word.ACTION_REQUIRED,
    Event.DIFFERENCES_FOUND: Word.ACTION_REQUIRED,
    Event.DELAYED: Word.DELAYED,
}


@dataclass(slots=True)
class Seen:
    """What connections have changed, and what channels are due of them."""

    remembered: list[Remembered] = field(default_factory=list)
    due: list[Told] = field(default_factory=list)
    told: list[Remembered] = field(default_factory=list)  # noted together with the messages, when all were looked at


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
        seen, after = Seen(), ""
        while channels and await self._store.take_lease(self._owner):
            beat()
            now = self._now()
            rows = await self._store.situations(after=after, limit=PAGE, now=now)
            await self._look_at(rows, channels, now, seen)
            if len(rows) < PAGE:
                return await self._tell(seen)
            after = rows[-1]["id"]
        return 0  # what is due is found again by whoever looks now

    async def _tell(self, seen: Seen) -> int:
        letters = fold(seen.due)
        if letters:
            await self._store.note(seen.told, [self._new(letter) for letter in letters])
            self._wake()
        return len(letters)

    def _new(self, letter: Letter) -> New:
        return New(letter.channel_id, letter.connection_ids, letter.event, letter.sentence, self._page_of(letter))

    async def _look_at(self, rows: Sequence[Row], channels: Sequence[Channel], now: datetime, seen: Seen) -> None:
        memories = await self._store.memories([row["id"] for row in rows])
        owed = await read_owed(self._pool, [row["id"] for row in rows if row["may_owe"]], now=now)
        for row in rows:
            standing = stand(row, owed.get(row["id"], ()), now=now)
            look = look_at(standing, row["backfilled_at"])
            if look is None:
                continue
            for channel in channels:
                before = memories.get((channel.id, row["id"]), NOTHING)
                after, due = decide(before, look, channel=channel, now=now)
                if after != before:
                    (seen.told if due else seen.remembered).append(Remembered(channel.id, row["id"], after))
                seen.due += [Told(channel.id, row["id"], row["name"], one, owed_of(one, standing)) for one in due]
        if seen.remembered:
            await self._store.note(seen.remembered, ())
            seen.remembered.clear()

    def _page_of(self, letter: Letter) -> str | None:
        if not self._dashboard_url:
            return None
        if len(letter.connection_ids) == 1:
            return f"{self._dashboard_url}/connections/{letter.connection_ids[0]}"
        word = SHOWN_BY.get(letter.event)
        return f"{self._dashboard_url}/?{urlencode({'status': word})}" if word else f"{self._dashboard_url}/"
