"""The pages about dead letters, as a person uses them."""

from __future__ import annotations

import re

from playwright.async_api import Page, expect

from shared.db import Pool
from tests.browser.history_sample import add_causes, add_history, add_letters
from tests.browser.sample import add_connection, add_destination
from tests.browser.visit import OVERFLOW, Look, axe_violations
from tests.eventually import eventually


async def add_account(pool: Pool) -> None:
    await add_destination(pool)
    await add_connection(pool, "con_1", "Halcyon Coffee")


async def test_causes_lead_to_their_letters_and_to_the_body_of_one(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_letters(pool, 30)
    await add_letters(pool, 2, "Another reason.")
    async with look("/") as page:
        await expect(page.get_by_role("navigation", name="Main")).to_contain_text("2 causes")
        await page.get_by_role("link", name=re.compile("Failed records")).click()
        await expect(page.locator(".issue")).to_have_count(2)
        await page.get_by_role("link", name=re.compile("30 records failed: column amount is of type")).click()
        await expect(page.get_by_role("heading", name="30 records failed")).to_be_visible()
        await expect(page.get_by_role("row")).to_have_count(26)
        await page.get_by_role("link", name="Older").click()
        await expect(page.get_by_role("row")).to_have_count(6)
        await page.get_by_role("row").nth(1).get_by_role("link").click()
        await expect(page.locator("pre")).to_contain_text('"amount": "12,90"')
        await expect(page.get_by_text("partition 5, offset 90,005")).to_be_visible()


async def test_nothing_failed_is_said_and_no_badge_is_shown(pool: Pool, look: Look) -> None:
    async with look("/dead-letters") as page:
        await expect(page.get_by_role("heading", name="Nothing failed")).to_be_visible()
        await expect(page.locator(".badge")).to_have_count(0)


async def test_letters_of_a_cause_are_discarded_after_a_question(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_letters(pool, 3)
    await add_letters(pool, 2, "Another reason.")
    async with look("/dead-letters") as page:
        await page.get_by_role("link", name="Discard 3 records").click()
        await expect(page.get_by_role("heading", name="Discard 3 failed records?")).to_be_visible()
        await page.get_by_role("button", name="Discard", exact=True).click()
        await expect(page.get_by_text("The failed records are discarded.")).to_be_visible()
        await expect(page.locator(".issue")).to_have_count(1)
    assert await pool.fetchval("SELECT count(*) FROM dead_letters") == 2
    assert (
        await pool.fetchval("SELECT details->>'letters' FROM audit_log WHERE action = 'dead_letters.discarded'") == "3"
    )


async def test_replay_shows_how_far_it_is_until_it_is_done(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_letters(pool, 3)
    async with look("/dead-letters") as page:
        await page.get_by_role("link", name="Replay all").click()
        await page.get_by_role("button", name="Replay", exact=True).click()
        await expect(page.get_by_text("Replaying 3 failed records")).to_be_visible()
        await expect(page.get_by_text("3 to come")).to_be_visible()
        await pool.execute("DELETE FROM dead_letters")
        await pool.execute("UPDATE dead_letter_replays SET status = 'done', is_walked = true, written = 3")
        await expect(page.get_by_text("Replayed", exact=True)).to_be_visible()
        await expect(page.get_by_text("3 written")).to_be_visible()
        await expect(page.get_by_role("heading", name="Nothing failed")).to_be_visible()


async def test_letter_is_replayed_without_scripts(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_letters(pool, 1)
    letter = await pool.fetchval("SELECT 'dlt_' || id FROM dead_letters")
    async with look(f"/dead-letters/{letter}", java_script_enabled=False) as page:
        await page.get_by_role("link", name="Replay").click()
        await expect(page.get_by_role("heading", name="Replay 1 failed record?")).to_be_visible()
        await page.get_by_role("button", name="Replay").click()
        # Its record tells no stamp, so there is nothing that could be published, and its object is asked for.
        await expect(page.get_by_text("Replaying 1 failed record")).to_be_visible()
    assert await pool.fetchval("SELECT chosen->'ids'->>0 FROM dead_letter_replays") == letter


async def test_letter_that_can_not_be_replayed_says_why_in_the_dialog(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_letters(pool, 1, stage="commands", object_id=None)
    letter = await pool.fetchval("SELECT 'dlt_' || id FROM dead_letters")
    async with look(f"/dead-letters/{letter}", refused=True) as page:
        await page.get_by_role("link", name="Replay").click()
        await page.get_by_role("button", name="Replay").click()
        await expect(page.get_by_role("alert")).to_contain_text("can't be read, and does not tell which object")


async def addresses(pool: Pool) -> list[str]:
    row = await pool.fetchrow("SELECT 'dlt_' || min(id), min(group_id) FROM dead_letters WHERE resource = 'charge'")
    letter, group = row
    return [
        "/dead-letters",
        "/dead-letters?connection_id=con_c1q8",
        f"/dead-letters/groups/{group}",
        f"/dead-letters/{letter}",
        f"/dead-letters/replay?group_id={group}",
        f"/dead-letters/discard?ids={letter}",
    ]


async def opens_dialog(page: Page) -> None:
    await page.get_by_role("link", name="Replay all").click()
    await eventually(lambda: page.is_visible("#dialog[open]"))


async def test_everyone_can_use_the_pages_about_dead_letters(pool: Pool, look: Look) -> None:
    async with look("/dead-letters") as page:
        assert await axe_violations(page) == []
    await add_history(pool)
    await add_causes(pool)
    for path in await addresses(pool):
        async with look(path, reduced_motion="reduce") as page:
            assert await axe_violations(page) == [], path
    async with look("/dead-letters", reduced_motion="reduce") as page:
        await opens_dialog(page)
        assert await axe_violations(page) == []


async def test_a_phone_shows_dead_letters_without_sideways_scrolling(pool: Pool, look: Look) -> None:
    await add_history(pool)
    await add_causes(pool)
    for path in await addresses(pool):
        async with look(path, width=320) as page:
            assert await page.evaluate(OVERFLOW) == 0, path
