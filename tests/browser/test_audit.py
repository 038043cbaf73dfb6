from __future__ import annotations

import pytest
from playwright.async_api import expect

from shared.audit import Actor, append
from shared.db import Pool, transaction
from tests.browser.visit import OVERFLOW, Look, axe_violations

PAGES = ("/audit", "/audit?subject=con_9", "/audit/verification")


async def note(pool: Pool, action: str, subject: str) -> None:
    async with transaction(pool) as db:
        await append(db, Actor("session", "req_1"), action, subject, key_version=2)


async def test_who_changed_what_is_found_by_what_it_was_done_to(pool: Pool, look: Look) -> None:
    await note(pool, "connection.key_updated", "con_1")
    await note(pool, "sync.paused", "syn_1")
    async with look("/syncs") as page:
        await page.get_by_role("link", name="audit log").click()
        await page.get_by_role("searchbox").fill("con_1")
        await page.keyboard.press("Enter")

        await expect(page.get_by_role("row")).to_have_count(2)
        for text in ("Connection key updated", "con_1", "session", "req_1", "key version: 2"):
            await expect(page.get_by_role("row").nth(1)).to_contain_text(text)
        assert page.url.endswith("/audit?subject=con_1")


async def test_several_things_are_told_as_people_write_them(pool: Pool, look: Look) -> None:
    async with transaction(pool) as db:
        await append(db, Actor("session"), "connection.delivery_resumed", "con_1", destination_ids=["dst_1", "dst_2"])
    async with look("/audit") as page:
        await expect(page.get_by_role("row").nth(1)).to_contain_text("destination ids: dst_1, dst_2")


@pytest.mark.parametrize("has_scripts", [True, False])
async def test_a_changed_entry_is_found(pool: Pool, look: Look, has_scripts: bool) -> None:
    await note(pool, "connection.key_updated", "con_1")
    await note(pool, "sync.paused", "syn_1")
    async with look("/audit", java_script_enabled=has_scripts) as page:
        await page.get_by_role("button", name="Verify").click()
        await expect(page.get_by_text("The chain holds")).to_be_visible()
        # As the table's owner could: the trigger that keeps the services from it is off.
        change = "UPDATE audit_log SET actor = 'somebody' WHERE subject = 'syn_1'"
        await pool.execute(f"SET session_replication_role = replica; {change}; RESET session_replication_role")
        await page.goto(page.url.partition("/audit")[0] + "/audit")
        await page.get_by_role("button", name="Verify").click()

        await expect(page.get_by_text("The chain breaks")).to_be_visible()


async def test_everyone_can_use_the_audit_log_also_on_a_phone(pool: Pool, look: Look) -> None:
    await note(pool, "connection.webhook_secret_rotated", "con_1Qh9xK2mT4bVwL7e")
    for path in PAGES:
        async with look(path, width=320, reduced_motion="reduce") as page:
            assert await axe_violations(page) == [], path
            assert await page.evaluate(OVERFLOW) == 0, path
