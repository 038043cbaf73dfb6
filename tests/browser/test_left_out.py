"""Fields to leave out: found in a tree, ticked, suggested and typed."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.managed import Managed
from tests.browser.test_life_dialogs import OVERFLOW, has_said, open_dialog
from tests.browser.visit import axe_violations


async def test_fields_to_leave_out_are_found_in_a_tree_and_ticked_by_keyboard(managed: Managed) -> None:
    connection = await managed.connected(omitted_fields={"charge": ["metadata.vat"]})
    async with managed.look() as page:
        await open_dialog(page, "What is synced")
        charges = page.locator("#fields-charge")
        await expect(charges).to_contain_text("1 left out")
        await expect(page.locator("#fields-setup_intent")).to_be_hidden()
        await charges.locator("summary").first.press("Enter")
        search = page.get_by_role("searchbox", name="Search fields of Charges")
        await expect(charges.locator("summary").first).to_be_focused()
        await expect(page.get_by_role("checkbox", name="metadata.vat")).to_be_checked()
        city = page.get_by_role("checkbox", name="billing_details.address.city", exact=True)
        await expect(city).to_be_hidden()

        await search.press_sequentially("no such field")
        await expect(charges.get_by_role("status")).to_have_text("No field is called like this.")
        await search.fill("billing details.address.c")
        await expect(page.get_by_role("checkbox", name="receipt_email")).to_be_hidden()
        await search.press("Enter")
        await city.press("Space")
        await search.fill("")
        await expect(city).to_be_visible()
        await expect(page.get_by_role("checkbox", name="receipt_email")).to_be_visible()
        await expect(charges).to_contain_text("2 left out")
        await expect(page.locator(".consequences")).to_contain_text("Charges: billing_details.address.city are never")
        assert await axe_violations(page) == []
        await page.get_by_role("button", name="Save").click()
        await has_said(page, "The choice is saved.")

    changed = await managed.connection(connection.id)
    assert changed.omitted_fields == {"charge": ["billing_details.address.city", "metadata.vat"]}


async def test_a_field_that_can_not_be_left_out_says_so_beside_it(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look(refused=True) as page:
        await open_dialog(page, "What is synced")
        other = page.get_by_label("Another field")
        await other.fill("customer: id")
        await other.press("Enter")
        await expect(page.locator("#omitted-problem")).to_contain_text("`id` of customer can't be left out")
        await expect(other).to_be_focused()
        await other.fill("just words")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#omitted-problem")).to_contain_text("“just words” can't be read")
        await expect(other).to_have_attribute("aria-invalid", "true")
        await expect(other).to_have_value("just words")
        await expect(page.locator("#problem")).to_be_empty()
        await other.fill("customer: metadata.vat")
        await other.press("Enter")
        await has_said(page, "The choice is saved.")

    assert (await managed.connection(connection.id)).omitted_fields == {"customer": ["metadata.vat"]}


async def test_fields_are_left_out_without_scripts(managed: Managed) -> None:
    connection = await managed.connected(omitted_fields={"charge": ["metadata.vat"]})
    async with managed.look(f"/connections/{connection.id}/choice", java_script_enabled=False) as page:
        await page.get_by_role("checkbox", name="Disputes").uncheck()
        await page.get_by_role("button", name="Payment methods billing_details").click()
        await expect(page.get_by_role("checkbox", name="billing_details", exact=True)).to_be_checked()
        await page.locator("#fields-customer summary").first.click()
        await page.locator("#fields-customer").get_by_role("button", name="Show all fields").click()
        await page.get_by_role("checkbox", name="email", exact=True).check()
        await expect(page.get_by_role("checkbox", name="Disputes")).not_to_be_checked()
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#notice")).to_have_text("The choice is saved.")

    changed = await managed.connection(connection.id)
    assert "dispute" not in changed.resources
    assert changed.omitted_fields == {
        "charge": ["metadata.vat"],
        "customer": ["email"],
        "payment_method": ["billing_details"],
    }


@pytest.mark.parametrize("width", [320, 768, 1920])
async def test_nothing_of_the_tree_is_cut(managed: Managed, width: int) -> None:
    await managed.connected(omitted_fields={"charge": ["payment_method_details.card.checks.address_line1_check"]})
    async with managed.look(width=width) as page:
        await open_dialog(page, "What is synced")
        await page.locator("#fields-charge summary").first.click()
        await expect(page.get_by_role("searchbox", name="Search fields of Charges")).to_be_visible()
        assert await page.evaluate(OVERFLOW) == 0
        for part in ("#dialog", "#fields-charge .field-branches"):
            assert await page.locator(part).evaluate("(e) => e.scrollWidth <= e.clientWidth")
