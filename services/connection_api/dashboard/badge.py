"""How many causes dead letters have, for the navigation of every page: looked up at most once a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from services.connection_api.letters.letters import Letters
from shared.db import Pool
from shared.errors import TransientError
from shared.http import Handler

INTERVAL = 1.0  # seconds between two looks


class Badge:
    """Knows the number as it was a moment ago."""

    def __init__(self, pool_of: Callable[[], Pool], *, clock: Callable[[], float] = time.monotonic) -> None:
        """`pool_of` raises `DatabaseUnavailableError` while there is no pool."""
        self._pool_of = pool_of
        self._clock = clock
        self._causes = 0
        self._looked_at = float("-inf")

    @property
    def kept_current(self) -> Middleware:
        """The middleware that looks before a page is made."""
        return web.middleware(partial(Badge._answer, self))

    def causes(self) -> int:
        """Return how many causes there are; of very many a thousand."""
        return self._causes

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if "text/html" in request.headers.get(hdrs.ACCEPT, "") and self._clock() - self._looked_at >= INTERVAL:
            try:
                self._causes = await Letters(self._pool_of()).count_causes()
                self._looked_at = self._clock()
            except TransientError:
                pass  # the page itself says that the database is away
        return await handler(request)
