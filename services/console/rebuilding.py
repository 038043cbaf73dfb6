"""`destinations rebuild`: the consent, and the progress of the backfills until all have ended."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from services.console.client import ApiClient, ApiUnavailableError
from services.console.consent import consent, tell
from services.console.options import AsJson, DestinationName, Yes
from services.console.picking import pick_destination
from services.console.progress import is_open, sync_view
from services.console.screen import OUT, amount, show_done, show_json
from services.console.task import FAILED, with_api

POLL_INTERVAL = 0.5  # seconds
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Whether to go on until all has been read.")]


def rebuild(destination: DestinationName, wait: Wait = True, yes: Yes = False, as_json: AsJson = False) -> None:
    """Fill a destination again from Stripe; rows that are there are replaced only by newer ones.

    With --json the syncs are printed once they have ended. Exits with 1 if one of them fails.
    """

    async def run(api: ApiClient) -> int:
        found = await pick_destination(api, destination)
        if not yes:
            tell(f"Everything that is delivered to {found['name']} is read from Stripe again.")
        consent("Rebuild it?", yes=yes)
        syncs = (await api.post(f"/v1/destinations/{found['id']}/rebuild"))["syncs"]
        if wait:
            syncs = await _until_ended(api, syncs, is_shown=not as_json)
        if as_json:
            show_json(syncs)
        else:
            accounts = amount(len(syncs), "account", "accounts")
            show_done(f"{found['name']}: {accounts} {'read' if wait else 'queued'}.")
        return FAILED if any(sync["status"] == "failed" for sync in syncs) else 0

    with_api(run, as_json=as_json)


async def _until_ended(api: ApiClient, syncs: list[dict[str, Any]], *, is_shown: bool) -> list[dict[str, Any]]:
    if not is_shown:
        while any(map(is_open, syncs)):
            await asyncio.sleep(POLL_INTERVAL)
            syncs = [await _again(api, sync) for sync in syncs]
        return syncs
    with Live(_view(syncs), console=OUT, refresh_per_second=4, vertical_overflow="visible") as live:
        while any(map(is_open, syncs)):
            await asyncio.sleep(POLL_INTERVAL)
            syncs = [await _again(api, sync) for sync in syncs]
            live.update(_view(syncs))
    return syncs


def _view(syncs: list[dict[str, Any]]) -> RenderableType:
    parts: list[RenderableType] = []
    for sync in syncs:
        parts += [sync_view(sync, datetime.now(UTC)), Text()]
    return Group(*parts)


async def _again(api: ApiClient, sync: dict[str, Any]) -> dict[str, Any]:
    """Return the sync as it is now, or as it was known while a part of Tillstream is being restarted."""
    try:
        found: dict[str, Any] = await api.get(f"/v1/syncs/{sync['id']}")
    except ApiUnavailableError:
        return sync
    return found
