"""The reference of the REST API as a person reads it: with and without scripts, at every width."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests.browser.visit import Theme, axe_violations, visit


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_reference_is_for_everyone(site: str, browser: Browser, theme: Theme) -> None:
    async with visit(browser, f"{site}/reference", theme=theme) as page:
        assert await axe_violations(page) == []


async def test_a_link_shows_the_operation_and_the_object_without_scripts(site: str, browser: Browser) -> None:
    async with visit(browser, f"{site}/reference", java_script_enabled=False) as page:
        await page.get_by_role("navigation", name="Operations").get_by_text("/connections/{id}/pause").click()
        operation = page.locator("#pause_connection")
        await expect(operation).to_be_in_viewport()
        await operation.get_by_role("link", name="ConnectionAnswer").click()
        await expect(page.locator("#object-ConnectionAnswer")).to_be_in_viewport()


@pytest.mark.parametrize("width", [320, 768, 1280])
async def test_nothing_runs_out_of_the_page(site: str, browser: Browser, width: int) -> None:
    async with visit(browser, f"{site}/reference", width=width) as page:
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
