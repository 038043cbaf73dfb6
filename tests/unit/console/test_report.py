"""What the demo shows of its account, against an API that is played."""

from __future__ import annotations

import io

from rich.console import Console

from services.console.client import connected
from services.console.report import REMOVED, account_now
from tests.unit.console.answers import EVENT, RUNNING, connection
from tests.unit.console.playing import TOKEN, PlayedApi, page, playing


async def shown(api: PlayedApi) -> str:
    console = Console(file=io.StringIO(), width=200)
    async with connected(api.url, TOKEN) as client:
        console.print(await account_now(client))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def test_backfill_is_shown_and_then_the_events() -> None:
    async with playing() as api:
        api.give("list_connections", page(connection()))
        api.give("list_syncs", page(RUNNING))
        api.give("get_sync", RUNNING, RUNNING | {"status": "succeeded", "outcome": "succeeded"})
        api.give("list_events", page(EVENT))
        assert "6,345" in await shown(api)
        assert "charge.refunded" in await shown(api)


async def test_removed_account_does_not_end_the_demo() -> None:
    async with playing() as api:
        api.give("list_connections", page(connection()), page())
        assert "Nothing here." in await shown(api)  # it went away between two questions
        assert REMOVED in await shown(api)
