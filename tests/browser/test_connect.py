"""Connecting an account: three steps, each of which can be taken up again."""

from __future__ import annotations

import re

from playwright.async_api import Page, expect

from shared.connections import State
from tests.browser.managed import Managed
from tests.browser.visit import OVERFLOW, axe_violations, wait_until_live

STEP_TITLES = ["Reach the server", "Log in", "Find or make the schema", "Make a table and write", "Delete"]


async def fill_destination(page: Page, managed: Managed, *, schema: str = "stripe", url: str | None = None) -> None:
    await page.get_by_label("Name").fill("Warehouse")
    address = url or managed.stage.settings.database_url.get_secret_value()
    await page.get_by_label("Address of the Postgres database").fill(address)
    await page.get_by_label("Schema").fill(schema)


async def give_key(page: Page, key: str) -> None:
    await page.get_by_label("Restricted key", exact=True).fill(key)
    await page.get_by_role("button", name="Check", exact=True).click()
    await page.get_by_role("button", name="Continue").click()
    await page.wait_for_url(re.compile(r"/connect/set_"))


async def begin(managed: Managed, page: Page) -> None:
    """Come as far as the last step."""
    await page.goto(f"{managed.url}/connect/key?destination_id={managed.stage.destination_id}")
    await give_key(page, managed.key)


async def test_three_steps_lead_from_nothing_to_a_card(managed: Managed) -> None:
    await managed.pool.execute("DELETE FROM destinations")
    async with managed.look() as page:
        await page.get_by_role("link", name="Connect a Stripe account").click()
        await expect(page.locator("[aria-current=step]")).to_contain_text("Destination")
        await fill_destination(page, managed)
        await page.get_by_role("button", name="Test", exact=True).click()
        for title in STEP_TITLES:
            await expect(page.locator("#probe")).to_contain_text(title)
        await page.get_by_role("button", name="Add and continue").click()
        await page.wait_for_url(re.compile(r"/connect/key\?destination_id=dst_"))
        await expect(page.locator("[aria-current=step]")).to_contain_text("Key")
        await give_key(page, managed.key)
        await expect(page.locator("[aria-current=step]")).to_contain_text("Start")
        await expect(page.locator(".estimate-line")).to_be_visible()
        await page.get_by_role("button", name="Connect", exact=True).click()
        await page.wait_for_url(re.compile(r"#con_"))

        await expect(page.locator("#notice")).to_have_text("The account is connected. Its history is being copied.")
        await expect(page.locator("article:target")).to_contain_text("Till Shop")
        assert "notice" not in page.url
    (connection,) = await managed.stage.connections()
    assert connection.state is State.ACTIVE


async def test_an_address_that_does_not_work_says_how_to_mend_it(managed: Managed) -> None:
    async with managed.look("/connect", refused=True) as page:
        await page.get_by_text("Add another destination").click()
        await fill_destination(page, managed, url="postgresql://nobody:wrong@127.0.0.1:1/nothing")
        await page.get_by_role("button", name="Add and continue").click()

        await expect(page.locator("#probe")).to_contain_text("Nothing listens at 127.0.0.1:1.")
        await expect(page.locator("#probe")).to_contain_text("Check host and port")
        await expect(page.get_by_label("Name")).to_have_value("Warehouse")


async def test_an_unfinished_set_up_is_taken_up_again(managed: Managed) -> None:
    async with managed.look("/connect") as page:
        await page.get_by_role("button", name="Continue").click()
        await give_key(page, managed.key)
        await page.goto(managed.url)
        unfinished = page.get_by_role("region", name="Unfinished set-ups")
        await expect(unfinished).to_contain_text("Till Shop is not connected yet")
        await unfinished.get_by_role("link", name="Continue").click()
        await page.get_by_text("90 days").click()
        await page.get_by_text("What is synced").click()
        await page.get_by_role("checkbox", name="Disputes").uncheck()
        await page.get_by_role("button", name="Customers address, email").click()
        await expect(page.get_by_role("checkbox", name="email", exact=True)).to_be_checked()
        await page.get_by_role("button", name="Connect", exact=True).click()
        await page.wait_for_url(re.compile(r"#con_"))
        await expect(unfinished).to_have_count(0)

    (connection,) = await managed.stage.connections()
    assert connection.start_date is not None
    assert "dispute" not in connection.resources
    assert "email" in connection.omitted_fields["customer"]


async def test_a_set_up_is_discarded_with_its_key(managed: Managed) -> None:
    async with managed.look() as page:
        await begin(managed, page)
        await page.goto(managed.url)
        await page.get_by_role("button", name="Discard").click()

        await expect(page.locator("#notice")).to_have_text("The set-up and its key are forgotten.")
    assert await managed.pool.fetchval("SELECT count(*) FROM setups") == 0


async def test_an_account_that_is_connected_there_already_is_refused(managed: Managed) -> None:
    await managed.connected()
    async with managed.look(f"/connect/key?destination_id={managed.stage.destination_id}", refused=True) as page:
        await page.get_by_label("Restricted key", exact=True).fill(managed.key)
        await page.get_by_role("button", name="Check", exact=True).click()
        await page.get_by_role("button", name="Continue").click()

        await expect(page.locator("#problem")).to_contain_text("is already connected to this destination")


async def test_what_the_key_may_not_read_is_not_ticked(managed: Managed) -> None:
    async with managed.look(f"/connect/key?destination_id={managed.stage.destination_id}") as page:
        await give_key(page, managed.make_key("rak_setup_intent_read"))
        await page.get_by_text("What is synced").click()

        await expect(page.get_by_role("checkbox", name="Charges Default")).to_be_checked()
        await expect(page.get_by_role("checkbox", name="Setup intents")).not_to_be_checked()


async def test_it_goes_without_scripts(managed: Managed) -> None:
    async with managed.look("/connect", java_script_enabled=False) as page:
        await page.get_by_text("Add another destination").click()
        await fill_destination(page, managed)
        await page.get_by_role("button", name="Add and continue").click()
        await page.get_by_label("Restricted key", exact=True).fill(managed.key)
        await page.get_by_role("button", name="Continue").click()
        await page.get_by_role("button", name="Connect", exact=True).click()

        await expect(page.locator("#notice")).to_contain_text("The account is connected.")
    assert len(await managed.stage.connections()) == 1


async def test_it_goes_by_keyboard_alone(managed: Managed) -> None:
    async with managed.look() as page:
        await wait_until_live(page)
        await page.get_by_role("link", name="Connect a Stripe account").press("Enter")
        await page.get_by_role("radio", name="copy").press("Enter")
        await expect(page.get_by_label("Restricted key", exact=True)).to_be_focused()
        await page.keyboard.type(managed.key)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="Continue")).to_be_enabled()
        await page.get_by_role("button", name="Continue").press("Enter")
        await page.get_by_role("radio", name="All time").press("ArrowDown")
        await expect(page.get_by_role("radio", name="2 years")).to_be_checked()
        await page.get_by_role("button", name="Connect", exact=True).press("Enter")
        await page.wait_for_url(re.compile(r"#con_"))

    (connection,) = await managed.stage.connections()
    assert connection.start_date is not None


async def test_everyone_can_use_each_step(managed: Managed) -> None:
    async with managed.look() as page:
        await begin(managed, page)
        last = page.url.removeprefix(managed.url)
    for path in ("/connect", f"/connect/key?destination_id={managed.stage.destination_id}", last, "/"):
        async with managed.look(path, width=320) as page:
            for summary in await page.locator(".another > summary").all():
                await summary.click()
            assert await axe_violations(page) == [], path
            assert await page.evaluate(OVERFLOW) == 0, path
