"""Finding an account among many: search and status live in the address."""

from __future__ import annotations

import re

from playwright.async_api import Browser, expect

from shared.db import Pool
from tests.browser.sample import add_business, add_connection, add_destination
from tests.browser.visit import visit, wait_until_live


async def test_what_is_typed_narrows_the_cards_and_the_address(pool: Pool, site: str, browser: Browser) -> None:
    await add_business(pool)
    async with visit(browser, site) as page:
        await wait_until_live(page)
        await page.keyboard.press("/")
        await expect(page.get_by_role("searchbox")).to_be_focused()
        await page.keyboard.type("orchard")

        await expect(page.locator("#cards").get_by_role("heading", level=2)).to_have_text(["Orchard Row"])
        await expect(page).to_have_url(f"{site}/?q=orchard")
        await expect(page.get_by_role("searchbox")).to_be_focused()


async def test_a_slash_in_a_field_is_a_slash(pool: Pool, site: str, browser: Browser) -> None:
    await add_business(pool)
    async with visit(browser, site) as page:
        await page.keyboard.press("/")
        await page.keyboard.type("a/b")

        await expect(page.get_by_role("searchbox")).to_have_value("a/b")


async def test_the_address_brings_the_same_accounts_back(pool: Pool, site: str, browser: Browser) -> None:
    await add_business(pool)
    async with visit(browser, f"{site}/?status=Action+required") as page:
        await wait_until_live(page)

        await expect(page.locator("#cards").get_by_role("heading", level=2)).to_have_text(["Fieldnotes Studio"])
        await expect(page.get_by_role("combobox", name="Status")).to_have_value("Action required")


async def test_each_status_finds_its_accounts(pool: Pool, site: str, browser: Browser) -> None:
    await add_business(pool)
    async with visit(browser, site) as page:
        for word, count in (("Live", 2), ("Backfilling", 1), ("Delayed", 1), ("Paused", 1), ("Setting up", 1)):
            await page.get_by_role("combobox", name="Status").select_option(word)
            await expect(page).to_have_url(re.compile("status=" + word.replace(" ", r"\+")))
            await expect(page.get_by_role("article")).to_have_count(count)
            await expect(page.locator(".status")).to_contain_text([word] * count)


async def test_a_search_stays_live(pool: Pool, site: str, browser: Browser) -> None:
    await add_business(pool)
    async with visit(browser, site) as page:
        await page.get_by_role("searchbox").fill("halcyon")
        await expect(page.get_by_role("article")).to_have_count(2)
        await add_connection(pool, "con_h1", "Halcyon Bakery")
        await add_connection(pool, "con_h2", "Meridian Tools")

        await expect(page.get_by_role("article")).to_have_count(3)
        await expect(page.get_by_role("article", name="Halcyon Bakery")).to_be_visible()


async def test_nothing_found_leads_back(pool: Pool, site: str, browser: Browser) -> None:
    await add_business(pool)
    async with visit(browser, f"{site}/?q=zebra&status=Paused") as page:
        await expect(page.get_by_role("heading", name="No account matches")).to_be_visible()
        await page.get_by_role("link", name="Clear filters").click()

        await expect(page.get_by_role("article")).to_have_count(7)


async def test_pages_keep_the_filter_and_the_order_of_names(pool: Pool, site: str, browser: Browser) -> None:
    await add_destination(pool)
    for number in range(60):
        state = "paused" if number % 2 else "active"
        await add_connection(pool, f"con_{(number * 7) % 60:02}", f"Café {number:02}", state=state)
    async with visit(browser, f"{site}/?status=Paused&q=café&view=cards") as page:
        await expect(page.get_by_role("article")).to_have_count(25)
        await page.get_by_role("link", name="Next page").click()

        names = ["Café 51", "Café 53", "Café 55", "Café 57", "Café 59"]
        await expect(page.get_by_role("heading", level=2)).to_have_text(names)
        await page.get_by_role("link", name="First page").click()
        await expect(page).to_have_url(re.compile(r"status=Paused"))
        await expect(page.get_by_role("article")).to_have_count(25)
