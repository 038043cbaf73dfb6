from __future__ import annotations

import re
from datetime import UTC, datetime

from playwright.async_api import Browser, expect

from shared.db import Pool
from tests.browser.sample import add_backfill, add_business, add_connection, add_destination, add_stop, cursor_at
from tests.browser.site import make_dashboard, serve
from tests.browser.visit import Look, axe_violations, visit, wait_until_live

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


async def add_backfilling(pool: Pool) -> str:
    await add_destination(pool)
    await add_connection(pool, "con_1", "Halcyon Coffee", rows_today=1234, synced_at=datetime.now(UTC))
    return await add_backfill(pool, "con_1", {"charge": (0.5, 1000), "customer": (1, 400)})


async def test_a_card_shows_the_account_and_its_backfill(pool: Pool, site: str, browser: Browser) -> None:
    await add_backfilling(pool)
    async with visit(browser, site) as page:
        card = page.get_by_role("article", name="Halcyon Coffee")
        await expect(card).to_contain_text("1,234")
        await expect(card).to_contain_text("Backfilling")
        await expect(card.get_by_role("row", name="Charges")).to_contain_text("49 %")
        await expect(card.get_by_role("row", name="Customers")).to_contain_text("Done")


async def test_progress_arrives_without_a_reload(pool: Pool, site: str, browser: Browser) -> None:
    sync_id = await add_backfilling(pool)
    async with visit(browser, site) as page:
        await wait_until_live(page)
        row = page.get_by_role("row", name="Charges")
        await expect(row).to_contain_text("49 %")
        await page.evaluate("window.isSamePage = true")
        sql = "UPDATE slices SET cursor_created = $2, records = 1700 WHERE sync_id = $1 AND resource = 'charge'"
        await pool.execute(sql, sync_id, cursor_at(0.9))

        await expect(row).to_contain_text("88 %")
        await expect(row).to_contain_text("1,700")
        assert await page.evaluate("window.isSamePage")


async def test_news_leave_focus_and_what_was_closed_alone(pool: Pool, site: str, browser: Browser) -> None:
    await add_backfilling(pool)
    async with visit(browser, site) as page:
        await wait_until_live(page)
        summary = page.locator("summary")
        await summary.click()
        await pool.execute("UPDATE connections SET account_name = 'Halcyon Roasters'")

        await expect(page.get_by_role("heading", name="Halcyon Roasters")).to_be_visible()
        await expect(page.get_by_role("table")).to_be_hidden()
        await expect(summary).to_be_focused()


async def test_a_new_account_appears_and_a_removed_one_goes(pool: Pool, site: str, browser: Browser) -> None:
    async with visit(browser, site) as page:
        await expect(page.get_by_role("heading", name="No Stripe account is connected yet")).to_be_visible()
        await add_backfilling(pool)
        await add_connection(pool, "con_0", "Northwind Bicycles")
        await expect(page.get_by_role("article")).to_have_count(2)
        await pool.execute("DELETE FROM connections WHERE id = 'con_1'")

        await expect(page.get_by_role("heading", level=2)).to_have_text(["Northwind Bicycles"])


async def test_the_words_change_with_the_state(pool: Pool, site: str, browser: Browser) -> None:
    sync_id = await add_backfilling(pool)
    async with visit(browser, site) as page:
        await wait_until_live(page)
        await pool.execute("UPDATE syncs SET status = 'succeeded', finished_at = now() WHERE id = $1", sync_id)
        await expect(page.locator(".status")).to_have_text(re.compile(r"Live$|Live\s*$"))
        await pool.execute("UPDATE connections SET state = 'action_required', cause = 'API Key is invalid.'")

        await expect(page.locator(".status")).to_contain_text("Action required")
        await expect(page.get_by_text("API Key is invalid.")).to_be_visible()


async def test_markup_in_a_name_stays_text(pool: Pool, site: str, browser: Browser) -> None:
    await add_destination(pool)
    await add_connection(pool, "con_1", "<img src=x onerror=alert(1)>")
    async with visit(browser, site) as page:
        await wait_until_live(page)

        await expect(page.get_by_role("heading", name="<img src=x onerror=alert(1)>")).to_be_visible()
        assert await page.locator("main img").count() == 0


async def test_pages_follow_each_other(pool: Pool, site: str, browser: Browser) -> None:
    await add_destination(pool)
    for number in range(52):
        await add_connection(pool, f"con_{number:02}", f"Account {number:02}")
    async with visit(browser, site) as page:
        rows = page.get_by_role("rowheader").get_by_role("link")
        await expect(rows).to_have_count(50)
        await page.get_by_role("link", name="Next page").click()
        await wait_until_live(page)

        await expect(rows).to_have_text(["Account 50", "Account 51"])
        await page.get_by_role("link", name="Cards", exact=True).click()
        await expect(page.get_by_role("article")).to_have_count(25)


async def test_the_chosen_theme_holds_after_a_reload(site: str, browser: Browser) -> None:
    async with visit(browser, site, theme="light") as page:
        await page.get_by_role("button", name="Switch to the dark theme").click()
        await page.reload()

        await expect(page.get_by_role("button", name="Switch to the light theme")).to_be_visible()
        assert await page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"


async def test_everyone_can_use_every_page(pool: Pool, site: str, browser: Browser) -> None:
    for path, is_refused in (("/", False), ("/sign-in", False), ("/nowhere", True)):
        async with visit(browser, site + path, refused=is_refused) as page:
            assert await axe_violations(page) == []
    await add_business(pool)
    async with visit(browser, site, reduced_motion="reduce") as page:
        await wait_until_live(page)
        assert await axe_violations(page) == []


async def test_a_phone_needs_no_sideways_scrolling(pool: Pool, site: str, browser: Browser) -> None:
    await add_business(pool)
    for path, is_refused in (("/", False), ("/sign-in", False), ("/nowhere", True)):
        async with visit(browser, site + path, width=320, refused=is_refused) as page:
            assert await page.evaluate(OVERFLOW) == 0


async def test_the_service_stops_while_a_page_is_open(pool: Pool, browser: Browser) -> None:
    async with serve(make_dashboard(pool)) as url:
        page = await browser.new_page()
        await page.goto(url)
        await wait_until_live(page)
        started = datetime.now(UTC)

    assert (datetime.now(UTC) - started).total_seconds() < 3


async def test_delivery_that_has_stopped_says_why_and_goes_on_by_one_button(pool: Pool, look: Look) -> None:
    await add_destination(pool)
    await add_connection(pool, "con_1", "Halcyon Coffee")
    await add_stop(pool, "con_1")
    async with look("/?status=Action+required") as page:
        card = page.locator(".card")
        await expect(card).to_contain_text("Warehouse refused 131 of the last 500 records")
        assert await axe_violations(page) == []
        await card.get_by_role("button", name="Deliver again").click()
        await expect(page.locator("#toast")).to_contain_text("Delivery goes on")
    assert await pool.fetchval("SELECT count(*) FROM delivery_stops") == 0


async def add_many(pool: Pool) -> None:
    """Add the business, and accounts enough for a list."""
    await add_business(pool)
    for number in range(8):
        await add_connection(pool, f"con_m{number}", f"Merchant {number}", rows_today=number * 10_000)
    await pool.execute(
        "INSERT INTO event_hours (connection_id, hour, events, delays) SELECT 'con_b4m7',"
        " date_trunc('hour', now()) - n * interval '1 hour', 10 + n % 24, '{}' FROM generate_series(0, 160) n"
    )


async def test_who_needs_somebody_is_seen_at_once_on_a_phone(pool: Pool, site: str, browser: Browser) -> None:
    await add_many(pool)
    async with visit(browser, site, width=375, height=667) as page:
        needs = page.get_by_role("region", name="Needs you")
        first = needs.get_by_role("listitem").first
        await expect(first).to_contain_text("Fieldnotes Studio")
        box = await first.get_by_role("link", name="Update API Key").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 667


async def test_the_list_follows_what_changes(pool: Pool, site: str, browser: Browser) -> None:
    await add_many(pool)
    async with visit(browser, site) as page:
        await wait_until_live(page)
        row = page.locator("#con_m3")
        await expect(row).to_contain_text("Live")
        await page.evaluate("window.isSamePage = true")
        await pool.execute(
            "UPDATE connections SET state = 'action_required', cause = 'It is over.' WHERE id = 'con_m3'"
        )

        await expect(row).to_contain_text("Action required")
        await expect(page.get_by_role("region", name="Needs you")).to_contain_text("It is over.")
        await expect(page.get_by_role("link", name="2 need you")).to_be_visible()
        assert await page.evaluate("window.isSamePage")


async def test_the_list_is_sorted_by_keyboard_and_keeps_its_menu(pool: Pool, site: str, browser: Browser) -> None:
    await add_many(pool)
    async with visit(browser, site) as page:
        await page.get_by_role("columnheader").get_by_role("link", name="Rows").focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("columnheader", name="Rows")).to_have_attribute("aria-sort", "descending")
        await expect(page.get_by_role("rowheader").get_by_role("link").first).to_have_text("Merchant 7")
        await page.get_by_role("button", name="Actions for Merchant 7").focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("menuitem", name="Update API Key")).to_be_focused()


async def test_the_list_needs_no_scripts(pool: Pool, site: str, browser: Browser) -> None:
    await add_many(pool)
    async with visit(browser, site, java_script_enabled=False) as page:
        await page.get_by_role("columnheader").get_by_role("link", name="Account").click()
        await expect(page.get_by_role("rowheader").get_by_role("link").first).to_have_text("Fieldnotes Studio")
        await page.get_by_role("link", name="Cards", exact=True).click()
        await page.goto(site)
        await expect(page.get_by_role("article")).to_have_count(15)


async def test_nothing_that_needs_anybody_is_one_line(pool: Pool, site: str, browser: Browser) -> None:
    await add_destination(pool)
    for number in range(2):
        await add_connection(pool, f"con_{number}", f"Account {number}")
    async with visit(browser, site) as page:
        await expect(page.get_by_text("Nothing needs you.")).to_be_visible()


async def test_everyone_can_use_the_list_at_any_width(pool: Pool, site: str, browser: Browser) -> None:
    await add_many(pool)
    for view in ("list", "cards"):
        async with visit(browser, f"{site}/?view={view}") as page:
            await wait_until_live(page)
            assert await axe_violations(page) == [], view
        for width in (320, 375, 768, 1280, 1920):
            async with visit(browser, f"{site}/?view={view}", width=width) as page:
                assert await page.evaluate(OVERFLOW) == 0, (view, width)
                cut = await page.evaluate(
                    "[...document.querySelectorAll('.account-table :is(td, th), .need, .home-state')]"
                    ".filter(e => e.getClientRects().length && e.scrollWidth > e.clientWidth + 1).map(e => e.outerHTML)"
                )
                assert cut == [], (view, width)
