from __future__ import annotations

from playwright.async_api import expect

from shared.db import Pool
from tests.browser.history_sample import add_history, add_removal
from tests.browser.visit import OVERFLOW, Look, axe_violations

PAGES = ("/removals", "/removals/rmv_done", "/removals/rmv_open", "/removals/rmv_kept")
FINISH = """
UPDATE removals SET status = 'done', finished_at = now(), cause = NULL,
    steps = steps || jsonb_build_array(
        jsonb_build_object('name', 'rows', 'at', now(), 'counts', jsonb_build_object('charges', 7), 'note', NULL),
        jsonb_build_object('name', 'history', 'at', now(), 'counts', jsonb_build_object('syncs', 2), 'note', NULL))
"""


async def test_a_removal_shows_each_step_and_becomes_its_receipt(pool: Pool, look: Look) -> None:
    await add_removal(pool, "rmv_1", done=("endpoint", "key"), deletes_rows=True)
    async with look("/removals/rmv_1") as page:
        steps = page.get_by_role("list", name="Steps").locator("> li")
        await expect(steps.nth(1)).to_contain_text("Done")
        await expect(steps.nth(2)).to_contain_text("Running")
        await expect(steps.nth(3)).to_contain_text("To come")
        await pool.execute("UPDATE removals SET cause = 'Warehouse does not answer.'")
        await expect(steps.nth(2)).to_contain_text("Warehouse does not answer. It is tried again by itself.")
        await pool.execute(FINISH)

        await expect(page.get_by_role("heading", name="Removal receipt")).to_be_visible()
        await expect(steps.nth(2)).to_contain_text("charges 7")
        await expect(page.get_by_text("7 deleted")).to_be_visible()


async def test_a_receipt_says_what_is_left_to_do_by_hand(pool: Pool, look: Look) -> None:
    note = "The endpoint we_1 is still there. Delete it at https://dashboard.stripe.com/webhooks."
    await add_removal(pool, "rmv_1", done=("endpoint", "key", "history"), endpoint_note=note)
    async with look("/removals/rmv_1") as page:
        await expect(page.get_by_role("note")).to_contain_text(note)
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Finish by hand")
        await expect(page.get_by_text("Kept, by choice")).to_be_visible()


async def test_a_printed_receipt_is_the_receipt_alone(pool: Pool, look: Look) -> None:
    await add_removal(pool, "rmv_1", done=("endpoint", "key", "rows", "history"), deletes_rows=True)
    async with look("/removals/rmv_1", theme="dark") as page:
        await page.emulate_media(media="print", color_scheme="dark")

        await expect(page.get_by_role("banner")).to_be_hidden()
        await expect(page.get_by_role("button", name="Print")).to_be_hidden()
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


async def test_receipts_are_found_from_the_syncs(pool: Pool, look: Look) -> None:
    await add_removal(pool, "rmv_1", done=("endpoint", "key", "rows", "history"), deletes_rows=True)
    async with look("/syncs") as page:
        await page.get_by_role("link", name="Removals").click()
        await page.get_by_role("row").nth(1).get_by_role("link").click()

        await expect(page.get_by_role("heading", name="Removal receipt")).to_be_visible()
        await expect(page.get_by_role("link", name="As JSON")).to_have_attribute("href", "/v1/removals/rmv_1")


async def test_no_removal_yet_says_what_will_be_here(look: Look) -> None:
    async with look("/removals") as page:
        await expect(page.get_by_role("heading", name="No connection was removed yet")).to_be_visible()


async def test_everyone_can_use_the_pages_about_removals(pool: Pool, look: Look) -> None:
    await add_history(pool)
    for path in PAGES:
        async with look(path, reduced_motion="reduce") as page:
            assert await axe_violations(page) == [], path


async def test_a_phone_shows_removals_without_sideways_scrolling(pool: Pool, look: Look) -> None:
    await add_history(pool)
    for path in PAGES:
        async with look(path, width=320) as page:
            assert await page.evaluate(OVERFLOW) == 0, path
