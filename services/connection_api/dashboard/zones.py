"""The zone in which times are shown: the one that was chosen for all, else the browser's.

A browser's script says its zone in a cookie; without scripts it is UTC. What was chosen is looked up at most once a
second, so that every page knows it before it is made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, tzinfo
from functools import cache, partial
from zoneinfo import ZoneInfo, available_timezones

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from services.connection_api.installation import Installation
from shared.db import Pool
from shared.errors import TransientError
from shared.http import Handler
from shared.zones import find_zone

COOKIE = "tillstream_zone"  # static/theme.js sets it
INTERVAL = 1.0  # seconds between two looks
OTHERS = ("Etc/", "posix", "right/", "SystemV/")  # what is no place


class ChosenZone:
    """Knows the zone that was chosen for all, as it was a moment ago."""

    def __init__(self, pool_of: Callable[[], Pool], *, clock: Callable[[], float] = time.monotonic) -> None:
        """`pool_of` raises `DatabaseUnavailableError` while there is no pool."""
        self._pool_of = pool_of
        self._clock = clock
        self._looked_at = float("-inf")
        self.zone: ZoneInfo | None = None

    @property
    def kept_current(self) -> Middleware:
        """The middleware that looks before a page is made."""
        return web.middleware(partial(ChosenZone._answer, self))

    def forget(self) -> None:
        """Look again at once: it was changed here."""
        self._looked_at = float("-inf")

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if "text/html" in request.headers.get(hdrs.ACCEPT, "") and self._clock() - self._looked_at >= INTERVAL:
            try:
                self.zone = find_zone(await Installation(self._pool_of()).time_zone() or "")
                self._looked_at = self._clock()
            except TransientError:
                pass  # the page itself says that the database is away
        return await handler(request)


CHOSEN: web.AppKey[ChosenZone] = web.AppKey("chosen_zone", ChosenZone)


def zone_of(request: web.Request) -> tzinfo:
    """Return the zone in which a browser is shown times, UTC where it is not known."""
    chosen = request.app.get(CHOSEN)
    return (chosen and chosen.zone) or find_zone(request.cookies.get(COOKIE, "")) or UTC


@cache
def offered_zones() -> Sequence[str]:
    """Return the zones that can be chosen, by name."""
    places = {name for name in available_timezones() if "/" in name and not name.startswith(OTHERS)}
    return ["UTC", *sorted(places)]
