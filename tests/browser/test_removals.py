from __future__ import annotations

from playwright.async_api import expect

from shared.cleanups import CleanupStore
from shared.db import Pool
from tests.browser.history_sample import add_history, add_removal
from tests.browser.managed import Managed
from tests.browser.visit import OVERFLOW, Look, axe_violations
from tests.integration.connection_api.stage import BY

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


async def test_rows_in_a_destination_that_is_gone_are_left(managed: Managed) -> None:
    connection = await managed.connected()
    removals, cleanups = managed.stage.use_cases().removals, CleanupStore(managed.pool)
    removal_id = await removals.request(connection.id, account_name="Till Shop", delete_rows=True, by=BY)
    [cleanup] = await cleanups.of_connection(connection.id)
    for _ in range(2):
        away = {"code": "destination_unavailable", "cause": "The destination does not answer."}
        await cleanups.postpone(cleanup.id, seconds=600, **away)
    sql = "UPDATE removals SET cause = 'Rows are being taken out of one destination. The destination does not answer.'"
    await managed.pool.execute(sql)
    async with managed.look(f"/removals/{removal_id}") as page:
        await expect(page.get_by_role("list", name="Steps")).to_contain_text("tried 2 times")
        assert await axe_violations(page) == []
        await page.get_by_role("link", name="Leave the rows").click()
        await expect(page.get_by_role("dialog")).to_contain_text("The removal goes on")
        await page.get_by_role("button", name="Leave the rows").click()
        await expect(page.get_by_role("link", name="Leave the rows")).to_have_count(0)
    [left] = await cleanups.of_connection(connection.id)
    assert left.is_done
    assert left.cause == f"A person gave up taking rows out of {cleanup.destination_id}, so they were left there."
