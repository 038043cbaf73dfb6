"""Sync again: resources or one object, from the ⋮ menu to the page of the new sync."""

from __future__ import annotations

import re

from playwright.async_api import Page, expect

from shared.syncs import Kind, Sync
from tests.browser.managed import Managed
from tests.browser.visit import OVERFLOW, axe_violations, wait_until_live

SYNC_PAGE = re.compile(r"/syncs/(syn_\w+)")


async def shown(managed: Managed, page: Page, connection_id: str) -> Sync:
    """Return the sync whose page is shown, which has to be the newest."""
    await page.wait_for_url(SYNC_PAGE)
    newest, *_ = await managed.stage.syncs(connection_id)
    assert page.url.endswith(newest.id)
    return newest


async def test_resources_are_read_again(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look() as page:
        await wait_until_live(page)
        await page.get_by_role("button", name="Actions for").click()
        await page.get_by_role("menuitem", name="Sync again").click()
        dialog = page.get_by_role("dialog", name="Sync again")
        await expect(dialog.get_by_role("radio", name="Resources")).to_be_checked()
        await expect(dialog.get_by_label("Object ID")).to_be_hidden()
        await dialog.get_by_role("checkbox", name="Invoices").check()
        await dialog.get_by_role("checkbox", name="Customers").check()
        await dialog.get_by_role("button", name="Sync again").click()
        sync = await shown(managed, page, connection.id)

    assert (sync.kind, sync.object_id, set(sync.resources)) == (Kind.MANUAL, None, {"customer", "invoice"})


async def test_one_object_is_read_again_by_keyboard_alone(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look() as page:
        await wait_until_live(page)
        await page.get_by_role("button", name="Actions for").press("Enter")
        await page.keyboard.type("sy")
        await page.keyboard.press("ArrowDown")
        await expect(page.get_by_role("menuitem", name="Sync again")).to_be_focused()
        await page.keyboard.press("Enter")
        await page.get_by_role("radio", name="Resources").press("ArrowDown")
        await expect(page.get_by_role("group", name="Resources")).to_be_hidden()
        await page.keyboard.press("Tab")
        await expect(page.get_by_label("Resource", exact=True)).to_be_focused()
        await page.keyboard.type("Invoices")
        await page.keyboard.press("Tab")
        await page.keyboard.type(" in_1Qh9xK2mT4bVwL1")
        await page.keyboard.press("Enter")
        sync = await shown(managed, page, connection.id)

    assert (sync.kind, sync.object_id, sync.resources) == (Kind.MANUAL, "in_1Qh9xK2mT4bVwL1", ("invoice",))


async def test_what_is_missing_is_said_beside_its_field(managed: Managed) -> None:
    connection = await managed.connected()
    before = await managed.stage.syncs(connection.id)
    async with managed.look(refused=True) as page:
        await wait_until_live(page)
        await page.get_by_role("button", name="Actions for").click()
        await page.get_by_role("menuitem", name="Sync again").click()
        dialog = page.get_by_role("dialog", name="Sync again")
        await dialog.get_by_role("button", name="Sync again").click()
        await expect(page.locator("#problem")).to_have_text("Choose at least one resource.")
        await expect(dialog.get_by_role("checkbox").first).to_be_focused()
        await dialog.get_by_text("One object").click()
        await dialog.get_by_label("Object ID").fill(" ")
        await dialog.get_by_role("button", name="Sync again").click()
        await expect(page.locator("#problem")).to_contain_text("Give the id of one object")
        await expect(dialog.get_by_label("Object ID")).to_be_focused()
        await expect(dialog.get_by_label("Object ID")).to_have_attribute("aria-invalid", "true")

    assert await managed.stage.syncs(connection.id) == before


async def test_only_what_the_connection_syncs_is_offered(managed: Managed) -> None:
    connection = await managed.connected(resources=("charge", "balance"))
    async with managed.look(f"/connections/{connection.id}/sync-again") as page:
        boxes = page.get_by_role("group", name="Resources")
        await expect(boxes.get_by_role("checkbox")).to_have_count(2)
        await page.get_by_text("One object").click()

        await expect(page.get_by_label("Resource", exact=True).get_by_role("option")).to_have_text(["Charges"])


async def test_it_goes_without_scripts_and_keeps_what_was_chosen(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look(f"/connections/{connection.id}", java_script_enabled=False, refused=True) as page:
        await page.get_by_role("link", name="Sync again").click()
        await page.get_by_text("One object").click()
        await page.get_by_label("Resource", exact=True).select_option("Invoices")
        await page.get_by_role("button", name="Sync again").click()
        await expect(page.locator("#problem")).to_contain_text("Give the id of one object")
        await expect(page.get_by_label("Resource", exact=True)).to_have_value("invoice")
        await page.get_by_label("Object ID").fill("in_1")
        await page.get_by_role("button", name="Sync again").click()
        sync = await shown(managed, page, connection.id)

    assert (sync.object_id, sync.resources) == ("in_1", ("invoice",))


async def test_a_paused_connection_is_not_synced(managed: Managed) -> None:
    connection = await managed.connected()
    await managed.pool.execute("UPDATE connections SET state = 'paused'")
    async with managed.look(f"/connections/{connection.id}/sync-again", refused=True) as page:
        await page.get_by_role("checkbox", name="Customers").check()
        await page.get_by_role("button", name="Sync again").click()

        await expect(page.locator("#problem")).to_contain_text("Only an active connection can be synced.")


async def test_everyone_can_ask_for_one_object(managed: Managed) -> None:
    connection = await managed.connected()
    for width in (1280, 320):
        async with managed.look(f"/connections/{connection.id}/sync-again", width=width) as page:
            await page.get_by_text("One object").click()
            await expect(page.get_by_label("Object ID")).to_be_visible()
            assert await axe_violations(page) == []
            assert await page.evaluate(OVERFLOW) == 0
