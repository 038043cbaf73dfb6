"""The zone in which a browser shows times: its script says it in a cookie; without scripts it is UTC, and says so."""

from __future__ import annotations

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aiohttp import web

COOKIE = "tillstream_zone"  # static/theme.js sets it
LONGEST = 64  # characters


def zone_of(request: web.Request) -> tzinfo:
    """Return the browser's zone, UTC where it is not known."""
    name = request.cookies.get(COOKIE, "")
    if not name or len(name) > LONGEST:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
