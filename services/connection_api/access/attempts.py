"""Wrong tokens and links, counted by where they come from.

A token or session that is good passes, whatever others try from the same address: only refusals are counted, and only
what was refused is slowed down. Tokens have 160 random bits, so the limit guards the database and the log, and each
replica may have one of its own.
"""

from __future__ import annotations

import ipaddress
import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from aiohttp import hdrs, web

from shared.audit import Actor
from shared.errors import AuthError, TransientError
from shared.http import REQUEST_ID
from shared.log import get_logger

BAD_TOKENS = 10  # from one address within the window
WINDOW = 60.0  # seconds
ADDRESSES_KEPT = 10_000
IPV6_PREFIX = 64  # bits; whoever has one address of such a network has all of them
FORWARDED_FOR = "X-Forwarded-For"

MOST_REPORTED = 20  # addresses within a window: strangers must not fill the audit log
STRANGER = "stranger"

Report = Callable[[Actor], Awaitable[None]]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TooManyAttemptsError(TransientError):
    """Too many wrong tokens came from this address; try again later."""

    code = "too_many_attempts"
    status = 429


class Attempts:
    """Counts wrong tokens by address, in a sliding window."""

    def __init__(
        self, now: Callable[[], float], trusted_proxies: Sequence[Network] = (), report: Report | None = None
    ) -> None:
        """`now` counts seconds, from any beginning; `trusted_proxies` tell the truth about who they speak for.

        `report` is told of an address that has used up its attempts.
        """
        self._now = now
        self._proxies = trusted_proxies
        self._report = report
        self._reported: deque[float] = deque(maxlen=MOST_REPORTED)
        self._failed: dict[str, deque[float]] = {}

    def address_of(self, request: web.Request) -> str:
        """Return the address from which a request comes, as the nearest proxy that is not ours tells it."""
        hops = [hop.strip() for value in request.headers.getall(FORWARDED_FOR, []) for hop in value.split(",")]
        address = request.remote or ""
        while hops and self._is_proxy(address):
            address = hops.pop()
        return address[:64]

    @asynccontextmanager
    async def counted(self, request: web.Request) -> AsyncIterator[None]:
        """Count an `AuthError` of the block; raise `TooManyAttemptsError` in its place where there were too many."""
        try:
            yield
        except AuthError:
            address = self.address_of(request)
            self.require_room(address)
            if self.note(address):
                get_logger().warning("attempts_refused", address=address)
                await self._tell(Actor(STRANGER, request[REQUEST_ID], address=address))
            raise

    async def _tell(self, stranger: Actor) -> None:
        now, told = self._now(), self._reported
        if self._report is None or (len(told) == MOST_REPORTED and told[0] > now - WINDOW):
            return
        told.append(now)
        with suppress(TransientError):
            await self._report(stranger)

    def require_room(self, address: str) -> None:
        """Raise `TooManyAttemptsError` while the address has used up its attempts."""
        failed = self._recent(_network(address))
        if len(failed) >= BAD_TOKENS:
            raise TooManyAttemptsError(retry_after_seconds=math.ceil(failed[0] + WINDOW - self._now()))

    def note(self, address: str) -> bool:
        """Count a wrong token; tell whether the address has used up its attempts by it."""
        network = _network(address)
        failed = self._recent(network)
        failed.append(self._now())
        self._failed[network] = failed
        while len(self._failed) > ADDRESSES_KEPT:
            self._failed.pop(next(iter(self._failed)))
        return len(failed) == BAD_TOKENS

    def _recent(self, network: str) -> deque[float]:
        failed = self._failed.pop(network, None) or deque(maxlen=BAD_TOKENS)
        while failed and failed[0] <= self._now() - WINDOW:
            failed.popleft()
        if failed:
            self._failed[network] = failed
        return failed

    def _is_proxy(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._proxies)


def forwarded_proto(request: web.Request) -> str:
    """Return the protocol that a proxy says the browser speaks; empty without a proxy."""
    return request.headers.get(hdrs.X_FORWARDED_PROTO, "").partition(",")[0].strip().lower()


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    mapped = found.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((found, IPV6_PREFIX), strict=False))
