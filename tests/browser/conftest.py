"""The database, the site and the browser of the page tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from shared.db import Pool, make_pool
from tests.browser.managed import Managed, manage
from tests.browser.site import make_dashboard, open_browser, serve


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """A pool of a migrated database of the test's own."""
    pool = await make_pool(database_url)
    yield pool
    pool.terminate()


@pytest.fixture
async def site(pool: Pool) -> AsyncIterator[str]:
    """The address of the dashboard."""
    async with serve(make_dashboard(pool)) as url:
        yield url


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A Chromium."""
    async with open_browser() as browser:
        yield browser


@pytest.fixture
async def managed(database_url: str, browser: Browser) -> AsyncIterator[Managed]:
    """The whole service beside a simulated Stripe, and a person who is signed in."""
    async with manage(database_url, browser) as managed:
        yield managed
