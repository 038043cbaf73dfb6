"""Verify on a schedule: from its dialog to what its runs have found."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.managed import Managed
from tests.browser.visit import OVERFLOW, THEMES, axe_violations, wait_until_live

RUNS = """
WITH run AS (
    INSERT INTO syncs (id, connection_id, kind, trigger, status, resources, created_at, started_at, finished_at)
    SELECT 'syn_night' || n, $1, 'verify', 'daily', 'succeeded', '{charge}', t, t, t
    FROM generate_series(1, 30) AS n CROSS JOIN LATERAL (SELECT now() - n * interval '1 day') AS m (t) RETURNING id
)
INSERT INTO comparisons (sync_id, destination_id, resource, compared, equal)
SELECT id, 'dst_1', 'charge', 1200, 1200 FROM run
"""
SCHEDULE = "INSERT INTO verify_schedules VALUES ($1, 'daily', 2, 'Europe/Berlin', 2, now() + interval '1 hour')"


async def test_a_schedule_is_chosen_from_the_dialog_that_verifies(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look(refused=True) as page:
        await wait_until_live(page)
        await page.get_by_role("button", name="Actions for").click()
        await page.get_by_role("menuitem", name="Verify rows").click()
        await page.get_by_role("link", name="Verify on a schedule").click()
        dialog = page.get_by_role("dialog", name="Verify on a schedule")
        await expect(dialog.get_by_role("radio", name="Never")).to_be_checked()
        await expect(dialog.get_by_label("Most reads of a run")).to_contain_text(re.compile(r"\d+ calls: 2 pages"))
        await dialog.get_by_text("Every day", exact=True).click()
        await dialog.get_by_label("Hour of the day").select_option("03:00")
        await dialog.get_by_label("Time zone").fill("Europe/Bielefeld")
        await dialog.get_by_role("button", name="Save").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("time zone is not known")
        await dialog.get_by_label("Time zone").fill("Europe/Berlin")
        await dialog.get_by_label("Most reads of a run").select_option("5")
        await dialog.get_by_role("button", name="Save").click()
        await page.wait_for_url(f"**/connections/{connection.id}")
        await expect(page.locator(".account-facts")).to_contain_text("Change the schedule")
    kept = await managed.pool.fetchrow("SELECT how_often, hour, zone, pages FROM verify_schedules")
    assert tuple(kept) == ("daily", 3, "Europe/Berlin", 5)


async def test_an_account_tells_how_many_nights_had_no_difference(managed: Managed) -> None:
    connection = await managed.connected()
    await managed.pool.execute(SCHEDULE, connection.id)
    await managed.pool.execute(RUNS, connection.id)
    async with managed.look(f"/connections/{connection.id}") as page:
        facts = page.locator(".account-facts")
        await expect(facts).to_contain_text("30 nights, 0 differences")
        await expect(facts).to_contain_text("1,200 rows, 0 differences")
    async with managed.look("/") as page:
        badge = page.locator(".card").get_by_role("link", name="Verified")
        await expect(badge).to_have_attribute("href", "/syncs/syn_night1")


async def test_a_badge_never_hides_a_difference(managed: Managed) -> None:
    connection = await managed.connected()
    await managed.pool.execute(RUNS, connection.id)
    await managed.pool.execute("UPDATE comparisons SET different = 3 WHERE sync_id = 'syn_night1'")
    async with managed.look("/") as page:
        card = page.locator(".card")
        await expect(card.get_by_role("link", name="3 differences")).to_be_visible()
        await expect(card.get_by_role("link", name="Verified")).to_have_count(0)


@pytest.mark.parametrize("theme", THEMES)
async def test_everybody_can_use_the_schedule(managed: Managed, theme: str) -> None:
    connection = await managed.connected()
    await managed.pool.execute(SCHEDULE, connection.id)
    await managed.pool.execute(RUNS, connection.id)
    base = f"/connections/{connection.id}"
    for number, path in enumerate(("/", base, f"{base}/verify-schedule", f"{base}/verify")):
        for width in (1280, 375, 320):
            async with managed.look(path, theme=theme, width=width) as page:
                assert await axe_violations(page) == [], path
                assert await page.evaluate(OVERFLOW) <= 0, (path, width)
                if seen := os.environ.get("SEEN"):
                    await page.screenshot(path=Path(seen) / f"{number}-{theme}-{width}.png")
