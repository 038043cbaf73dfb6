"""A Stripe of a few lines: lists that are empty, an account, and keys that lack what a test wants them to lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from shared.stripe_api import StripeApi, Unlimited

ACCOUNT = {
    "id": "acct_1",
    "object": "account",
    "business_profile": {"name": "Corner Shop Ltd"},
    "settings": {"dashboard": {"display_name": "Corner Shop"}},
}
KEY = SecretStr("rk_live_" + "a" * 40)


def refusal(permission: str) -> tuple[int, str]:
    """Return the answer to a key that lacks `permission`."""
    return 403, (
        "The provided key 'rk_live_***aaaa' does not have the required permissions for this endpoint on account "
        f"'acct_1'. Having the '{permission}' permission would allow this request to continue."
    )


@dataclass(slots=True)
class FakeStripe:
    """Answers every list, but for the paths in `answers`: status and message. `everything` answers all of them."""

    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    everything: tuple[int, str] | None = None
    calls: Counter[str] = field(default_factory=Counter)
    account: dict[str, object] = field(default_factory=lambda: dict(ACCOUNT))

    async def answer(self, request: web.Request) -> web.Response:
        self.calls[request.path] += 1
        refused = self.everything or self.answers.get(request.path)
        if refused:
            return web.json_response({"error": {"message": refused[1]}}, status=refused[0])
        if request.path == "/v1/account":
            return web.json_response(self.account)
        return web.json_response({"object": "list", "data": [], "has_more": False})


@asynccontextmanager
async def calling(stripe: FakeStripe) -> AsyncIterator[StripeApi]:
    """Lend a client of `stripe` that does not wait between its attempts."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stripe.answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield StripeApi(session, base=str(server.make_url("")), key=KEY, budget=Unlimited(), sleep=no_wait)


async def no_wait(_seconds: float) -> None:
    """Pass the time at once."""
