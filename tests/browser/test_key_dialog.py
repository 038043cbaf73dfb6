"""Update API Key: from the ⋮ menu to a key that has been replaced."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from shared.api_keys import parse_api_key
from shared.errors import KeyRefusedError
from simulator.resources import PERMISSIONS
from tests.browser.managed import Managed
from tests.browser.visit import axe_violations, wait_until_live


async def open_dialog(page: Page) -> None:
    await wait_until_live(page)
    await page.get_by_role("button", name="Actions for").click()
    await page.get_by_role("menuitem", name="Update API Key").click()
    await expect(page.get_by_role("dialog", name="Update API Key")).to_be_visible()


async def type_key(page: Page, key: str) -> None:
    await page.get_by_label("Restricted key", exact=True).fill(key)


def update_button(page: Page):  # type: ignore[no-untyped-def]
    return page.get_by_role("button", name="Update Key")


async def test_a_key_is_replaced(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look() as page:
        await open_dialog(page)
        await expect(page.get_by_label("Restricted key", exact=True)).to_be_focused()
        await expect(update_button(page)).to_be_disabled()
        await type_key(page, managed.make_key())
        await expect(page.get_by_text("It looks like a whole key")).to_be_visible()
        await page.get_by_role("button", name="Check").click()
        for group in ("All Core resources", "All Connect resources", "All Billing resources", "Webhook Endpoints"):
            await expect(page.locator(".grants summary", has_text=group)).to_contain_text("Passed:")
        await update_button(page).click()

        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(page.locator("#toast")).to_have_text("The key is updated. Syncing picks back up.")
        await expect(page.get_by_role("button", name="Actions for")).to_be_focused()
    assert (await managed.connection(connection.id)).key_version == 2


async def test_it_goes_by_keyboard_alone(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look() as page:
        await wait_until_live(page)
        await page.get_by_role("button", name="Actions for").press("Enter")
        await page.keyboard.press("Enter")
        await expect(page.get_by_label("Restricted key", exact=True)).to_be_focused()
        await page.keyboard.type(managed.make_key())
        await page.keyboard.press("Enter")
        await expect(update_button(page)).to_be_enabled()
        await update_button(page).press("Enter")

        await expect(page.get_by_role("dialog")).to_have_count(0)
    assert (await managed.connection(connection.id)).key_version == 2


async def test_a_missing_permission_is_named_with_its_toggle(managed: Managed) -> None:
    await managed.connected()
    async with managed.look() as page:
        await open_dialog(page)
        await type_key(page, managed.make_key("rak_charge_read", "rak_webhook_write"))
        await page.get_by_role("button", name="Check").click()

        await expect(page.locator(".verdict")).to_contain_text("Missing permissions")
        await expect(page.locator(".grant", has_text="rak_charge_read")).to_contain_text("Charges and Refunds")
        await expect(page.locator(".grant", has_text="rak_charge_read")).to_contain_text("Missing: set it to Read")
        await expect(page.locator(".grant", has_text="rak_webhook_write")).to_contain_text("Missing: set it to Write")
        await expect(update_button(page)).to_be_disabled()


async def test_a_pasted_key_is_checked_and_updated_in_one_press(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look(refused=True) as page:
        await open_dialog(page)
        await type_key(page, managed.make_key("rak_charge_read"))
        await update_button(page).click()
        await expect(page.locator("#problem")).to_contain_text("Missing permissions: Charges and Refunds")
        await type_key(page, managed.make_key())
        await update_button(page).click()
        await expect(page.get_by_role("dialog")).to_have_count(0)
    assert (await managed.connection(connection.id)).key_version == 2


async def test_eighteen_missing_permissions_are_three_and_a_list_to_copy(managed: Managed) -> None:
    await managed.connected()
    missing = sorted(one for one in PERMISSIONS if one.endswith("_read"))[:18]
    async with managed.look() as page:
        await open_dialog(page)
        await type_key(page, managed.make_key(*missing))
        await page.get_by_role("button", name="Check").click()
        await expect(page.locator(".verdict")).to_contain_text(" more. ")
        assert (await page.locator(".verdict").inner_text()).count("rak_") == 3
        await expect(page.locator(".grant:visible")).to_have_count(0)
        await expect(page.get_by_role("button", name="Copy the list")).to_be_visible()
        await expect(page.get_by_role("link", name="Open in Stripe")).to_be_visible()


async def test_another_key_needs_another_check(managed: Managed) -> None:
    await managed.connected()
    async with managed.look() as page:
        await open_dialog(page)
        await type_key(page, managed.make_key())
        await page.get_by_role("button", name="Check").click()
        await expect(update_button(page)).to_be_enabled()
        await page.get_by_label("Restricted key", exact=True).press_sequentially("x")

        await expect(page.locator(".report")).to_have_count(0)


async def test_a_key_that_stripe_does_not_know_is_refused_beside_the_field(managed: Managed) -> None:
    await managed.connected()
    async with managed.look(refused=True) as page:
        await open_dialog(page)
        await type_key(page, "rk_live_" + "a" * 99)
        await page.get_by_role("button", name="Check").click()

        await expect(page.locator("#problem")).to_contain_text("API Key is invalid")
        await expect(page.get_by_label("Restricted key", exact=True)).to_have_attribute("aria-invalid", "true")
        await expect(page.get_by_label("Restricted key", exact=True)).to_be_focused()
        await update_button(page).click()  # it checks by itself, and updates nothing
        await expect(page.locator("#problem")).to_contain_text("API Key is invalid")
    assert (await managed.stage.connections())[0].key_version == 1


@pytest.mark.parametrize(
    "text",
    ["sk_live_51Habcdefghijklmn", "pk_live_51Habcdefghijklmn", "rk_test_51Habcdefghijklmn", "hello", "rk_live_short",
     "rk_live_51Habc defghijklmnop", "rk_live_51Habc…4f2a", "rk_live_51Habcdefghijklmnö"],
)  # fmt: skip
async def test_what_is_wrong_with_a_text_is_said_at_once_and_as_the_api_says_it(managed: Managed, text: str) -> None:
    await managed.connected()
    with pytest.raises(KeyRefusedError) as refused:
        parse_api_key(text, allow_test=False)
    async with managed.look() as page:
        await open_dialog(page)
        await type_key(page, f"  {text}\n ")

        await expect(page.locator("#api_key-hint")).to_have_text(refused.value.message)
        await expect(page.get_by_role("button", name="Check")).to_be_disabled()


async def test_the_guide_leads_to_stripe_with_the_permissions_ticked(managed: Managed) -> None:
    await managed.connected()
    async with managed.look() as page:
        await open_dialog(page)
        address = await page.get_by_role("link", name="Create it in Stripe").get_attribute("href")

    assert address
    assert address.startswith("https://dashboard.stripe.com/apikeys/create?name=Tillstream&permissions[0]=rak_")
    for slug in ("rak_charge_read", "rak_customer_read", "rak_webhook_write"):
        assert f"={slug}" in address


async def test_escape_closes_it_and_the_focus_goes_back(managed: Managed) -> None:
    await managed.connected()
    async with managed.look() as page:
        await open_dialog(page)
        await page.keyboard.press("Escape")

        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(page.get_by_role("button", name="Actions for")).to_be_focused()


async def test_news_leave_an_open_dialog_alone(managed: Managed) -> None:
    await managed.connected()
    async with managed.look() as page:
        await open_dialog(page)
        await type_key(page, "rk_live_51Habcdefghijklmn")
        await managed.pool.execute("UPDATE connections SET name = 'Till Roasters'")
        await expect(page.get_by_role("heading", name="Till Roasters", include_hidden=True)).to_have_count(1)

        await expect(page.get_by_label("Restricted key", exact=True)).to_have_value("rk_live_51Habcdefghijklmn")


async def test_the_card_that_needs_it_has_the_button(managed: Managed) -> None:
    await managed.connected()
    await managed.pool.execute("UPDATE connections SET state = 'action_required', cause = 'API Key is invalid.'")
    async with managed.look() as page:
        await page.get_by_role("link", name="Update API Key").click()

        await expect(page.get_by_role("dialog", name="Update API Key")).to_be_visible()


async def test_without_scripts_it_is_a_page(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look(java_script_enabled=False) as page:
        await page.locator(".card-name").click()
        await page.get_by_role("link", name="Update API Key").click()
        key = managed.make_key()
        await type_key(page, key)
        await page.get_by_role("button", name="Check").click()
        await expect(page.locator(".verdict")).to_contain_text("every permission")
        assert key not in await page.content()
        await type_key(page, key)
        await update_button(page).click()

        await expect(page.locator("#notice")).to_contain_text("The key is updated.")
    assert (await managed.connection(connection.id)).key_version == 2


async def test_everyone_can_use_it(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look(reduced_motion="reduce") as page:
        await open_dialog(page)
        assert await axe_violations(page) == []
        await type_key(page, managed.make_key("rak_charge_read"))
        await page.get_by_role("button", name="Check").click()
        await expect(page.locator(".report")).to_be_visible()
        assert await axe_violations(page) == []
    async with managed.look(f"/connections/{connection.id}/key") as page:
        assert await axe_violations(page) == []
    async with managed.look(f"/connections/{connection.id}") as page:
        assert await axe_violations(page) == []
