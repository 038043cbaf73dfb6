"""The first minutes of an account: its rows arrive while one looks, and the end is a question answered."""

from __future__ import annotations

import pytest
from playwright.async_api import TimeoutError, expect

from tests.browser.managed import Managed
from tests.browser.test_ask import with_rows
from tests.browser.visit import OVERFLOW, THEMES, axe_violations

RUNNING = """
UPDATE syncs SET status = 'running', started_at = now() - interval '20 seconds', share = 0.4
WHERE connection_id = $1 AND kind = 'backfill'
"""
MORE = "UPDATE delivery_hours SET inserted = 2345 WHERE connection_id = $1"
DONE = """
UPDATE syncs SET status = 'succeeded', finished_at = now(), share = 1 WHERE connection_id = $1 AND kind = 'backfill'
"""


async def test_rows_arrive_while_one_looks_and_the_end_is_an_answer(managed: Managed) -> None:
    connection = await with_rows(managed)
    await managed.pool.execute(RUNNING, connection.id)
    async with managed.look(f"/connections/{connection.id}") as page:
        panel = page.get_by_role("region", name="Copying the history")
        await expect(panel).to_contain_text("1,234 rows in 1 table")
        await managed.pool.execute(MORE, connection.id)
        await expect(panel).to_contain_text("2,345 rows in 1 table")

        await managed.pool.execute(DONE, connection.id)
        done = page.get_by_role("region", name="History copied")
        await expect(done).to_contain_text("2,345 rows in 1 table")
        await expect(done.get_by_role("heading", name="Revenue by day")).to_be_visible()
        await expect(done.locator("#arrival-answer")).to_contain_text("no row fits this question")
        with pytest.raises(TimeoutError):  # nobody asks any more
            async with page.expect_request(f"**/connections/{connection.id}", timeout=3000):
                pass
        await done.get_by_role("link", name="Connect a BI tool").click()
        await expect(page.get_by_role("heading", name="Connect a BI tool")).to_be_visible()


async def test_a_form_keeps_the_key_by_which_it_acts_once_while_rows_arrive(managed: Managed) -> None:
    connection = await with_rows(managed)
    await managed.pool.execute(RUNNING, connection.id)
    async with managed.look(f"/connections/{connection.id}") as page:
        key = page.locator("form.actions input[name=once]").first
        before = await key.get_attribute("value")
        await managed.pool.execute(MORE, connection.id)
        await expect(page.get_by_role("region", name="Copying the history")).to_contain_text("2,345 rows")
        assert before
        await expect(key).to_have_attribute("value", before)


async def test_the_answer_is_a_link_without_scripts(managed: Managed) -> None:
    connection = await with_rows(managed)
    await managed.pool.execute(RUNNING, connection.id)
    await managed.pool.execute(DONE, connection.id)
    async with managed.look(f"/connections/{connection.id}", java_script_enabled=False) as page:
        await page.get_by_role("link", name="Show the answer").click()
        await expect(page.get_by_role("region", name="Revenue by day")).to_contain_text("no row fits this question")


@pytest.mark.parametrize("theme", THEMES)
async def test_everybody_can_watch(managed: Managed, theme: str) -> None:
    connection = await with_rows(managed)
    for sql in (RUNNING, DONE):
        await managed.pool.execute(sql, connection.id)
        async with managed.look(f"/connections/{connection.id}", theme=theme) as page:
            assert await axe_violations(page) == []
        for width in (320, 375, 768, 1280):
            async with managed.look(f"/connections/{connection.id}", theme=theme, width=width) as page:
                assert await page.evaluate(OVERFLOW) <= 0, width
