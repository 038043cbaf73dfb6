"""Commands from Kafka. The rows in `syncs` are the truth; a command only ends a pause early."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import ConsumerRecord

from services.sync_worker.completion import Completion
from shared.messages import parse_command


class Handlers:
    """One method per topic."""

    def __init__(self, completion: Completion, wake: asyncio.Event) -> None:
        self._completion = completion
        self._wake = wake

    async def take_commands(self, messages: Sequence[ConsumerRecord]) -> None:
        """Start the syncs that are asked for; raise `MessageError` for a command that can't be read."""
        for message in messages:
            parse_command(message.value or b"")
        await self._completion.start_queued()
        self._wake.set()
