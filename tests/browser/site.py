"""The dashboard in a real browser: its routes on a free port, without sign-in, and a Chromium to look at them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from playwright.async_api import Browser, async_playwright

from services.connection_api.access.auth import add_security_headers
from services.connection_api.dashboard.dashboard import add_dashboard
from shared.db import Pool
from shared.http import make_app

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


def make_dashboard(pool: Pool) -> web.Application:
    """Return an app of the dashboard alone."""
    app = make_app(ready={})
    app.on_response_prepare.append(add_security_headers)
    add_dashboard(app, lambda: pool)
    return app


@asynccontextmanager
async def serve(app: web.Application) -> AsyncIterator[str]:
    """Serve on a free port and lend the address."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """Lend the Chromium that `scripts/browser` saw to."""
    path = next((found for name in CHROMIUMS if (found := shutil.which(name))), None)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()
