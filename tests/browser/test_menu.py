"""The ⋮ menu of a card, by mouse and by keyboard."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from shared.db import Pool
from tests.browser.sample import add_connection, add_destination
from tests.browser.visit import axe_violations, visit, wait_until_live

ENTRIES = [
    "Update API Key",
    "View syncs",
    "Set sync start date",
    "What is synced",
    "Sync now",
    "Sync again",
    "Verify rows",
    "Pause",
    "Rotate webhook secret",
    "Rename",
    "Copy ID",
    "Remove connection",
]


@pytest_asyncio.fixture(loop_scope="session")
async def page(pool: Pool, site: str, browser: Browser) -> AsyncIterator[Page]:
    await add_destination(pool)
    await add_connection(pool, "con_1", "Halcyon Coffee")
    await add_connection(pool, "con_2", "Orchard Row", state="paused", live_by="polling")
    async with visit(browser, site) as page:
        await wait_until_live(page)
        yield page


def button(page: Page, name: str = "Halcyon Coffee") -> Locator:
    return page.get_by_role("button", name=f"Actions for {name}")


def entry(page: Page, name: str) -> Locator:
    return page.get_by_role("menuitem", name=name)


async def test_it_holds_every_action_and_removal_is_last_and_red(page: Page) -> None:
    await button(page).click()

    await expect(page.get_by_role("menu", name="Actions for Halcyon Coffee")).to_be_visible()
    await expect(page.get_by_role("menuitem")).to_have_text([re.compile(f"^\\s*{name}\\s*$") for name in ENTRIES])
    await expect(entry(page, "Remove connection")).to_have_class("danger")
    assert await axe_violations(page) == []


@pytest.mark.parametrize(
    ("key", "name"),
    [("Enter", ENTRIES[0]), (" ", ENTRIES[0]), ("ArrowDown", ENTRIES[0]), ("ArrowUp", ENTRIES[-1])],
)
async def test_keys_open_it(page: Page, key: str, name: str) -> None:
    await button(page).press(key)

    await expect(entry(page, name)).to_be_focused()
    await expect(button(page)).to_have_attribute("aria-expanded", "true")


async def test_arrows_go_round(page: Page) -> None:
    await button(page).press("ArrowDown")
    for key, name in (
        ("ArrowDown", "View syncs"),
        ("End", "Remove connection"),
        ("ArrowDown", "Update API Key"),
        ("ArrowUp", "Remove connection"),
        ("Home", "Update API Key"),
    ):
        await page.keyboard.press(key)
        await expect(entry(page, name)).to_be_focused()


async def test_letters_find_an_entry(page: Page) -> None:
    await button(page).press("Enter")
    for letters, name in (("ro", "Rotate webhook secret"), ("s", "Set sync start date"), ("sy", "Sync now")):
        await page.wait_for_timeout(600)  # letters that follow each other fast are one word
        await page.keyboard.type(letters)
        await expect(entry(page, name)).to_be_focused()


@pytest.mark.parametrize("key", ["Escape", "Tab"])
async def test_it_closes_and_the_focus_goes_back(page: Page, key: str) -> None:
    await button(page, "Orchard Row").press("Enter")
    await expect(entry(page, "Update API Key")).to_be_focused()
    await page.keyboard.press(key)

    await expect(page.get_by_role("menu")).to_have_count(0)
    if key == "Escape":
        await expect(button(page, "Orchard Row")).to_be_focused()
    else:
        await expect(page.get_by_role("button", name="Resume")).to_be_focused()  # of the same card, what comes next


async def test_a_click_elsewhere_closes_it(page: Page) -> None:
    await button(page).click()
    await page.get_by_role("heading", name="Accounts").click()

    await expect(page.get_by_role("menu")).to_have_count(0)


async def test_another_card_has_a_menu_of_its_own(page: Page) -> None:
    await button(page, "Orchard Row").click()
    await button(page).press("Enter")  # by key, since the open menu may lie over it
    await expect(page.get_by_role("menu")).to_have_count(1)
    await expect(entry(page, "Pause")).to_be_visible()
    await button(page).press("Enter")
    await expect(page.get_by_role("menu")).to_have_count(0)
    await button(page, "Orchard Row").click()

    await expect(page.get_by_role("menu")).to_have_count(1)
    await expect(entry(page, "Resume")).to_be_visible()
    await expect(page.get_by_role("menuitem", name="Pause", exact=True)).to_have_count(0)
    await expect(entry(page, "Sync now")).to_contain_text("it is paused")
    await expect(entry(page, "Sync now")).to_have_attribute("aria-disabled", "true")
    await expect(entry(page, "Sync again")).to_have_attribute("aria-disabled", "true")
    await expect(entry(page, "Rotate webhook secret")).to_contain_text("changes are found by polling")
    await expect(entry(page, "Rotate webhook secret")).to_have_attribute("aria-disabled", "true")


async def test_what_can_not_be_done_does_nothing(page: Page) -> None:
    await button(page, "Orchard Row").click()
    await entry(page, "Rotate webhook secret").click(force=True)

    await expect(page.get_by_role("menu")).to_be_visible()
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_news_leave_an_open_menu_alone(page: Page, pool: Pool) -> None:
    await button(page).press("Enter")
    await page.keyboard.press("ArrowDown")
    await pool.execute("UPDATE connections SET account_name = 'Halcyon Roasters' WHERE id = 'con_1'")
    await expect(page.get_by_role("heading", name="Halcyon Roasters")).to_be_visible()

    await expect(entry(page, "View syncs")).to_be_focused()
    await expect(button(page, "Halcyon Roasters")).to_have_attribute("aria-expanded", "true")


async def test_the_id_is_copied(page: Page) -> None:
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await button(page).click()
    await entry(page, "Copy ID").click()

    await expect(page.locator("#toast")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == "con_1"


async def test_syncs_are_viewed_for_this_connection_alone(page: Page) -> None:
    await button(page).click()

    await expect(entry(page, "View syncs")).to_have_attribute("href", "/connections/con_1/syncs")
