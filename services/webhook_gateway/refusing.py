"""Counts what is accepted and refused at our endpoints, and notes it beside the requests, never in the path of one."""

from __future__ import annotations

import asyncio

from services.webhook_gateway.signature import UnverifiedError
from shared.db import Pool, RowInUseError
from shared.errors import TransientError
from shared.heartbeat import beat, heart
from shared.log import get_logger
from shared.refusals import Cause, Refused, note_refusals

INTERVAL = 30.0  # seconds between two notes
SOON = 2.0  # seconds until the first refusal of an endpoint is noted, and with it those that follow at once


class Counts:
    """What became of the webhooks of each endpoint since the last note; only endpoints that exist are counted."""

    def __init__(self) -> None:
        self._refused: dict[str, Refused] = {}  # since the last acceptance
        self._accepted: set[str] = set()
        self._noted: set[str] = set()  # of which a refusal was noted that no acceptance has followed
        self._is_urgent = asyncio.Event()

    def refuse(self, endpoint_id: str, error: UnverifiedError) -> None:
        """Count a webhook that was refused."""
        self.add(endpoint_id, Refused(error.cause, 1, error.skew_seconds))

    def refuse_unreadable(self, endpoint_id: str) -> None:
        """Count a webhook that nothing could verify."""
        self.add(endpoint_id, Refused(Cause.UNREADABLE, 1, None))

    def accept(self, endpoint_id: str) -> None:
        """Count a webhook that was accepted: what was refused before no longer matters."""
        self._accepted.add(endpoint_id)
        self._refused.pop(endpoint_id, None)
        self._noted.discard(endpoint_id)

    def add(self, endpoint_id: str, refused: Refused) -> None:
        """Add to what was refused."""
        before = self._refused.get(endpoint_id)
        count = refused.count + (before.count if before else 0)
        # What a stranger sends does not hide that the clock differs.
        told = before if before and before.cause is Cause.CLOCK and refused.cause is not Cause.CLOCK else refused
        self._refused[endpoint_id] = Refused(told.cause, count, told.skew_seconds)
        if endpoint_id not in self._noted:
            self._is_urgent.set()

    async def note(self, pool: Pool) -> None:
        """Note what was counted; keep it where the database is away, which raises `DatabaseUnavailableError`."""
        refused, accepted = self._refused, self._accepted
        self._refused, self._accepted = {}, set()
        self._is_urgent.clear()
        if not refused and not accepted:
            return
        try:
            await note_refusals(pool, refused, accepted)
        except TransientError:
            self._put_back(refused, accepted)
            raise
        self._noted |= refused.keys() - self._accepted

    def _put_back(self, refused: dict[str, Refused], accepted: set[str]) -> None:
        since, self._refused = self._refused, refused
        for endpoint_id in self._accepted:
            self._refused.pop(endpoint_id, None)
        self._accepted |= accepted
        for endpoint_id, one in since.items():
            self.add(endpoint_id, one)

    async def run(self, pool: Pool) -> None:
        """Note, for ever: the first refusal of an endpoint at once, the rest twice a minute."""
        with heart("notes of refused webhooks"):
            while True:
                beat()
                try:
                    async with asyncio.timeout(INTERVAL):
                        await self._is_urgent.wait()
                    await asyncio.sleep(SOON)
                except TimeoutError:
                    pass
                try:
                    await self.note(pool)
                except (TransientError, RowInUseError) as error:
                    get_logger().warning("refusals_unnoted", reason=error.message)
                    await asyncio.sleep(SOON)
