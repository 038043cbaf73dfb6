"""A double click acts once."""

from __future__ import annotations

import re

from playwright.async_api import Locator, Page, expect

from tests.browser.managed import Managed
from tests.browser.test_connect import give_key
from tests.browser.test_key_dialog import open_dialog, type_key, update_button
from tests.browser.visit import wait_until_live

ACTIONS = "SELECT count(*) FROM audit_log WHERE action = $1"


async def press_twice(button: Locator) -> None:
    """Press with the mouse twice, as quickly as a hand does, whatever becomes of the button in between."""
    box = await button.bounding_box()
    assert box
    await button.page.mouse.dblclick(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, delay=5)


async def count(managed: Managed, action: str) -> int:
    return int(await managed.pool.fetchval(ACTIONS, action))


async def choose(page: Page, entry: str) -> None:
    await page.get_by_role("button", name="Actions for").click()
    await page.get_by_role("menuitem", name=entry).click()


async def test_update_key_swaps_once(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look() as page:
        await open_dialog(page)
        await type_key(page, managed.make_key())
        await page.get_by_role("button", name="Check").click()
        await expect(update_button(page)).to_be_enabled()
        await press_twice(update_button(page))
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(page.locator("#toast")).to_have_text("The key is updated. Syncing picks back up.")
    assert (await managed.connection(connection.id)).key_version == 2
    assert await count(managed, "connection.key_updated") == 1


async def test_continue_begins_one_set_up(managed: Managed) -> None:
    async with managed.look(f"/connect/key?destination_id={managed.stage.destination_id}") as page:
        await page.get_by_label("Restricted key", exact=True).fill(managed.key)
        await page.get_by_role("button", name="Check", exact=True).click()
        await expect(page.get_by_role("button", name="Continue")).to_be_enabled()
        await press_twice(page.get_by_role("button", name="Continue"))
        await page.wait_for_url(re.compile(r"/connect/set_"))
    assert await count(managed, "setup.begun") == 1


async def test_verify_is_queued_once(managed: Managed) -> None:
    await managed.connected()
    async with managed.look() as page:
        await wait_until_live(page)
        await choose(page, "Verify rows")
        await press_twice(page.get_by_role("button", name="Verify", exact=True))
        await page.wait_for_url(re.compile(r"/syncs/syn_"))
    assert await count(managed, "connection.verify_requested") == 1


async def test_sync_now_is_asked_once(managed: Managed) -> None:
    await managed.connected()
    async with managed.look() as page:
        await wait_until_live(page)
        for _ in range(2):
            await choose(page, "Sync now")
        await expect(page.locator("#toast")).to_have_text("A comparison with Stripe has begun. Show it")
        await page.reload()
        await wait_until_live(page)
    assert await count(managed, "connection.sync_requested") == 1


async def test_back_after_connect_leads_to_the_account(managed: Managed) -> None:
    async with managed.look(f"/connect/key?destination_id={managed.stage.destination_id}") as page:
        await give_key(page, managed.key)
        await page.get_by_role("button", name="Connect", exact=True).click()
        await page.wait_for_url(re.compile(r"#con_"))
        await page.go_back()
        await page.wait_for_url(re.compile(r"#con_"))
        await expect(page.locator("article:target")).to_contain_text("Till Shop")
