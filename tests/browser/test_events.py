from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import expect

from shared.db import Pool
from tests.browser.history_sample import add_dead_letter, add_event, add_history
from tests.browser.sample import add_connection, add_destination
from tests.browser.visit import OVERFLOW, Look, axe_violations

PAGES = ("/events", "/events/con_b4m7/evt_1Qh9xK2mT4bVwL5", "/events/con_b4m7/evt_1Qh9xK2mT4bVwL3")


async def add_account(pool: Pool, number: int = 1, name: str = "Halcyon Coffee") -> None:
    await add_destination(pool)
    await add_connection(pool, f"con_{number}", name)


@pytest.mark.parametrize("text", ["evt_2", "cus_2", "cus_", "customer.updated", "customer"])
async def test_events_are_found_by_their_id_their_object_and_their_type(pool: Pool, look: Look, text: str) -> None:
    await add_account(pool)
    await add_event(pool, "evt_1")
    await add_event(pool, "evt_2", type="customer.updated", object_id="cus_2")
    async with look("/events") as page:
        await expect(page.get_by_role("row")).to_have_count(3)
        await page.get_by_label("Event, object or type").fill(text)
        await page.keyboard.press("Enter")

        await expect(page.get_by_role("row")).to_have_count(2)
        await expect(page.get_by_role("row").nth(1)).to_contain_text("cus_2")
        assert page.url.endswith(f"/events?q={text}")


@pytest.mark.parametrize(
    ("label", "choice", "query"),
    [("Outcome", "Failed", "outcome=failed"), ("Resource", "Customers", "resource=customer")],
)
async def test_events_are_narrowed_by_what_became_of_them_and_what_they_are_about(
    pool: Pool, look: Look, label: str, choice: str, query: str
) -> None:
    await add_account(pool)
    await add_event(pool, "evt_1")
    await add_event(pool, "evt_2", type="customer.updated", object_id="cus_2", outcome="failed")
    async with look("/events") as page:
        await page.get_by_label(label, exact=True).select_option(choice)
        await page.get_by_role("button", name="Search").click()

        await expect(page.get_by_role("row")).to_have_count(2)
        await expect(page.get_by_role("row").nth(1)).to_contain_text("cus_2")
        assert page.url.endswith(f"/events?{query}")


async def test_events_of_some_days_are_found_in_the_zone_of_the_reader(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_event(pool, "evt_1", written_at=datetime(2026, 1, 2, 23, 30, tzinfo=UTC))
    await add_event(pool, "evt_2", written_at=datetime(2026, 1, 3, 12, tzinfo=UTC))
    async with look("/events?from=2026-01-03", timezone_id="Europe/Berlin") as page:
        await page.reload()  # the first answer tells the zone
        await expect(page.get_by_role("row")).to_have_count(3)
        await page.get_by_label("From").fill("2026-01-04")
        await page.get_by_role("button", name="Search").click()
        await expect(page.get_by_role("heading", name="No event matches")).to_be_visible()
        await page.get_by_role("link", name="Show all events").click()
        await expect(page.get_by_role("row")).to_have_count(3)


async def test_events_of_one_account_are_found_without_scripts(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_account(pool, 2, "Northwind Bicycles")
    await add_event(pool, "evt_1")
    await add_event(pool, "evt_2", "con_2")
    async with look("/events", java_script_enabled=False) as page:
        await page.get_by_label("Account").select_option("Northwind Bicycles")
        await page.get_by_role("button", name="Search").click()

        await expect(page.get_by_role("row")).to_have_count(2)
        await expect(page.get_by_role("row").nth(1)).to_contain_text("evt_2")


async def test_pages_of_events_follow_each_other(pool: Pool, look: Look) -> None:
    await add_account(pool)
    now = datetime.now(UTC)
    for number in range(27):
        await add_event(pool, f"evt_{number:02}", written_at=now - timedelta(minutes=number), offset=number)
    async with look("/events?q=in_1") as page:
        await page.get_by_role("link", name="Older").click()

        await expect(page.get_by_role("row")).to_have_count(3)
        await expect(page.get_by_role("row").nth(2)).to_contain_text("evt_26")
        await page.get_by_role("link", name="Newest").click()
        await expect(page.get_by_role("row")).to_have_count(26)


async def test_an_event_shows_its_way_to_the_row(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_event(pool, "evt_1", outcome="ignored", written_at=datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC))
    async with look("/events") as page:
        await page.get_by_role("row").nth(1).get_by_role("link").click()

        steps = page.get_by_role("list", name="Life-line").locator("> li")
        await expect(steps.nth(0)).to_contain_text("2 Jan 2026, 03:04:04")
        await expect(steps.nth(1)).to_contain_text("Received from Stripe")
        await expect(steps.nth(2)).to_contain_text("partition 3, offset 7")
        await expect(steps.nth(3)).to_contain_text("Already newer")
        await expect(steps.nth(3)).to_contain_text("0.2 s later")
        await expect(steps.nth(3)).to_contain_text("A newer version is there already")
        await page.get_by_role("link", name="in_1").click()
        await expect(page.get_by_role("row")).to_have_count(2)


async def test_an_event_that_no_webhook_brought_says_so(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_event(pool, "evt_1", outcome="asked_stripe", is_webhook=False)
    async with look("/events/con_1/evt_1") as page:
        steps = page.get_by_role("list", name="Life-line").locator("> li")
        await expect(steps.nth(1)).to_contain_text("Found in Stripe's event feed")
        await expect(steps.nth(2)).to_contain_text("Stripe was asked")


async def test_a_failure_at_one_destination_has_its_reason(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_event(pool, "evt_1", outcome="failed")
    await add_dead_letter(pool, "con_1", "The amount is too large.", offset=7, destination_id="dst_1")
    async with look("/events/con_1/evt_1") as page:
        await expect(page.get_by_role("list", name="Life-line")).to_contain_text("The amount is too large.")


@pytest.mark.parametrize("path", ["/events/con_2/evt_1", "/events/con_1/evt_9", "/events/con_1/%00"])
async def test_an_event_that_is_not_there_is_not_found(pool: Pool, look: Look, path: str) -> None:
    await add_account(pool)
    await add_event(pool, "evt_1")
    async with look(path, refused=True) as page:
        await expect(page.get_by_role("heading", name="Page not found")).to_be_visible()


async def test_everyone_can_use_the_pages_about_events(pool: Pool, look: Look) -> None:
    for path in ("/events", "/events?q=nothing"):
        async with look(path) as page:
            assert await axe_violations(page) == []
    await add_history(pool)
    for path in PAGES:
        async with look(path, reduced_motion="reduce") as page:
            assert await axe_violations(page) == [], path


async def test_a_phone_shows_events_without_sideways_scrolling(pool: Pool, look: Look) -> None:
    await add_history(pool)
    for path in PAGES:
        async with look(path, width=320) as page:
            assert await page.evaluate(OVERFLOW) == 0, path
