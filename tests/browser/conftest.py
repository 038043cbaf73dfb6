"""The database, the site and the browser of the page tests.

All of them share one event loop for each worker, since one Chromium serves them all: to start one takes longer than
most tests. A test's page has a context of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from playwright.async_api import Browser, Page

from services.connection_api.access.sessions import COOKIE
from services.connection_api.app import create_app
from shared.db import Pool, make_pool
from tests.browser.managed import Managed, make_session, manage
from tests.browser.site import make_dashboard, open_browser, serve
from tests.browser.visit import Look, visit
from tests.eventually import eventually
from tests.fakes import FakeProducer
from tests.unit.connection_api.serving import make_settings


@pytest.hookimpl(tryfirst=True)  # before xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of this folder run in the loop of their browser, of which there is one."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("browser"))
            if pytest_asyncio.is_async_test(item):
                item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(loop_scope="session")
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """A pool of a migrated database of the test's own."""
    pool = await make_pool(database_url)
    yield pool
    pool.terminate()


@pytest_asyncio.fixture(loop_scope="session")
async def site(pool: Pool) -> AsyncIterator[str]:
    """The address of the dashboard."""
    async with serve(make_dashboard(pool)) as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A Chromium."""
    async with open_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def managed(database_url: str, browser: Browser) -> AsyncIterator[Managed]:
    """The whole service beside a simulated Stripe, and a person who is signed in."""
    async with manage(database_url, browser) as managed:
        yield managed


@pytest_asyncio.fixture(loop_scope="session")
async def look(database_url: str, pool: Pool, browser: Browser) -> AsyncIterator[Look]:
    """Opens a page of the whole service, signed in as a person is."""
    app = create_app(make_settings(database_url=database_url), producer=FakeProducer())
    async with serve(app) as url, ClientSession() as session:

        async def is_ready() -> bool:
            async with session.get(f"{url}/readyz") as answer:
                return answer.status == 200

        await eventually(is_ready, what="the service is ready")
        cookie = {"name": COOKIE, "value": await make_session(pool), "url": url}

        def open_page(path: str, **options: Any) -> AbstractAsyncContextManager[Page]:
            return visit(browser, url + path, storage_state={"cookies": [cookie], "origins": []}, **options)

        yield open_page
