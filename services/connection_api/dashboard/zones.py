"""The zone in which a browser shows times: its script says it in a cookie; without scripts it is UTC, and says so."""

from __future__ import annotations

from datetime import UTC, tzinfo

from aiohttp import web

from shared.zones import find_zone

COOKIE = "tillstream_zone"  # static/theme.js sets it


def zone_of(request: web.Request) -> tzinfo:
    """Return the browser's zone, UTC where it is not known."""
    return find_zone(request.cookies.get(COOKIE, "")) or UTC
