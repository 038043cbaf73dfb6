"""The whole service in a browser: signed in, with a simulated Stripe and a database that is also the destination."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Browser, Page

from services.connection_api.access.sessions import COOKIE, Credentials
from services.connection_api.app import create_app
from shared.audit import Actor
from shared.connections import Connection
from shared.db import Pool
from simulator.resources import PERMISSIONS
from tests.browser.site import serve
from tests.browser.visit import visit
from tests.eventually import eventually
from tests.integration.connection_api.stage import PUBLIC_URL, Stage, set_up


@dataclass
class Managed:
    """The service, its Stripe, and a person who is signed in."""

    stage: Stage
    url: str
    session: str
    browser: Browser

    @property
    def pool(self) -> Pool:
        return self.stage.pool

    @property
    def key(self) -> str:
        """A key that may do everything."""
        return self.stage.simulator.simulation.first_key

    def make_key(self, *missing: str) -> str:
        """Return a new key that may do everything but `missing`."""
        granted = PERMISSIONS - set(missing) | ({"rak_webhook_read"} if "rak_webhook_write" in missing else set())
        return self.stage.simulator.simulation.keys.create(granted).secret

    async def connected(self, **changes: Any) -> Connection:
        """Connect the simulated account."""
        return await self.stage.connected(**changes)

    async def connection(self, connection_id: str) -> Connection:
        return await self.stage.connection(connection_id)

    def look(self, path: str = "/", **options: Any) -> AbstractAsyncContextManager[Page]:
        """Open a page of the service."""
        cookie = {"name": COOKIE, "value": self.session, "url": self.url}
        state = {"cookies": [cookie], "origins": []}
        return visit(self.browser, self.url + path, storage_state=state, **options)


@asynccontextmanager
async def manage(database_url: str, browser: Browser, **simulated: Any) -> AsyncIterator[Managed]:
    """Lend the running service; `simulated` are settings of the simulator."""
    async with set_up(database_url, **simulated) as stage:
        settings = stage.settings.model_copy(update={"public_url": PUBLIC_URL})
        async with serve(create_app(settings, producer=stage.producer)) as url:

            async def is_ready() -> bool:
                async with stage.simulator.session.get(f"{url}/readyz") as answer:
                    return answer.status == 200

            await eventually(is_ready, what="the service is ready")
            yield Managed(stage, url, await make_session(stage.pool), browser)


async def make_session(pool: Pool) -> str:
    """Return the secret of a new session."""
    credentials = Credentials(lambda: pool)
    link, _ = await credentials.make_link(by=Actor("test"))
    return await credentials.redeem(link, request_id="req_test", person="Ada")
