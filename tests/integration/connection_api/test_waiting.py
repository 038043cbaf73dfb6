"""What waits for a destination, and what of a sync is tried again: in REST, on the pages and on the terminal."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from services.console.destinations import destinations_table
from shared.db import Pool
from shared.delays import Work
from shared.syncs import Kind, SyncStore
from tests.integration.connection_api.serving import ready
from tests.integration.connection_api.test_owed import delayed, park, pool
from tests.unit.connection_api.serving import BEARER

__all__ = ["pool"]  # the fixture


async def test_a_destination_and_a_sync_tell_what_is_tried_again(database_url: str, pool: Pool) -> None:
    sync_id = await SyncStore(pool).create("con_1", Kind.MANUAL, trigger="test", resources=["charge"])
    await park(pool)
    await delayed(Work.DESTINATION, "Run: ALTER TABLE.", destination_id="dst_1")(pool)
    await delayed(Work.SLICE, None, connection_id="con_1", sync_id=sync_id)(pool)

    async with ready(database_url) as api:
        destination, sync = [
            await (await api.get(path, headers=BEARER)).json()
            for path in ("/v1/destinations/dst_1", f"/v1/syncs/{sync_id}")
        ]
        listed = await (await api.get("/v1/destinations", headers=BEARER)).json()
        pages = [
            (await (await api.get(path, headers=BEARER)).text()).replace("&#39;", "'")
            for path in ("/destinations/dst_1", "/destinations", f"/syncs/{sync_id}")
        ]

    for told in (destination, listed["data"][0], sync):
        [delay] = told["delays"]
        assert (delay["cause"], delay["attempts"]) == ("The table charges belongs to postgres.", 12)
        assert delay["next_try_at"]
    assert destination["delays"][0]["fix"] == "Run: ALTER TABLE."
    assert (destination["parked"], listed["data"][0]["parked"]) == (5, 5)
    for page in pages:
        assert "The table charges belongs to postgres." in page
    assert "5 records: The table charges belongs" in told_by_listing(listed["data"])


def told_by_listing(rows: list[dict[str, Any]]) -> str:
    console = Console(file=io.StringIO(), width=10_000)
    console.print(destinations_table(rows))
    return str(console.file.getvalue())  # type: ignore[attr-defined]
