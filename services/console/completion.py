"""What a shell offers after Tab: ids of what there is, with their names beside them."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from typing import Any

from services.console.client import connected, find_api
from services.console.running import homes
from shared.errors import AppError

PATIENCE = 2.0  # seconds that a person waits for Tab
OFFERED = 100  # rows
# A shell evaluates what it is offered, and an account may have any name.
UNSAFE = re.compile(r"[^\w .,@+-]")
Offers = list[tuple[str, str]]


def connections(incomplete: str) -> Offers:
    """Offer connections by id."""
    return _offers("/v1/connections", incomplete, lambda row: row["name"])


def destinations(incomplete: str) -> Offers:
    """Offer destinations by id."""
    return _offers("/v1/destinations", incomplete, lambda row: row["name"])


def syncs(incomplete: str) -> Offers:
    """Offer the newest syncs by id."""
    return _offers("/v1/syncs", incomplete, lambda row: f"{row['kind']}, {row['status']}")


def tokens(incomplete: str) -> Offers:
    """Offer tokens by id."""
    return _offers("/v1/tokens", incomplete, lambda row: row["name"])


def alarms(incomplete: str) -> Offers:
    """Offer alarms by id."""
    return _offers("/v1/alarms", incomplete, lambda row: f"{row['kind']} {row['shown']}")


def removals(incomplete: str) -> Offers:
    """Offer removals by id."""
    return _offers("/v1/removals", incomplete, lambda row: row["account_id"])


def _offers(path: str, incomplete: str, describe: Callable[[dict[str, Any]], str]) -> Offers:
    """Return ids that begin as typed; nothing, when the API can't be asked: a shell has no place for an error."""
    try:
        rows = asyncio.run(_rows(path))
    except (AppError, TimeoutError):
        return []
    return [(row["id"], UNSAFE.sub(" ", describe(row))) for row in rows if row["id"].startswith(incomplete)]


async def _rows(path: str) -> list[dict[str, Any]]:
    async with asyncio.timeout(PATIENCE), connected(*find_api(os.environ, homes(os.environ))) as api:
        return (await api.list(path, at_most=OFFERED)).data
