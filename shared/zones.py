"""Time zones by the names of the IANA database, such as `Europe/Berlin`."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

LONGEST_ZONE = 64  # characters


def find_zone(name: str) -> ZoneInfo | None:
    """Return the zone with this name; `None` for one that nobody knows. https://www.iana.org/time-zones"""
    if not name or len(name) > LONGEST_ZONE:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
