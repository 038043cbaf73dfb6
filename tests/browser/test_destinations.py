from __future__ import annotations

import re

from playwright.async_api import Page, expect

from shared.db import Pool
from tests.browser.history_sample import add_history
from tests.browser.sample import add_connection, add_destination
from tests.browser.visit import OVERFLOW, Look, axe_violations

PAGES = (
    "/destinations",
    "/destinations/new",
    "/destinations/dst_1",
    "/destinations/dst_1/rebuild",
    "/destinations/dst_9/remove",
)
CLOSED = "postgresql://tillstream:secret-9@127.0.0.1:1/analytics"


async def fill(page: Page, url: str, name: str = "Warehouse") -> None:
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Address").fill(url)
    await page.get_by_label("Schema").fill("stripe_data")


async def test_a_destination_is_tried_and_added(database_url: str, pool: Pool, look: Look) -> None:
    async with look("/destinations") as page:
        await page.get_by_role("main").get_by_role("link", name="Add destination").first.click()
        await fill(page, database_url)
        await page.get_by_role("button", name="Test connection").click()
        await expect(page.get_by_text("Everything works.")).to_be_visible()
        await expect(page.locator(".probe-steps li")).to_have_count(9)
        assert await pool.fetchval("SELECT count(*) FROM destinations") == 0
        await page.get_by_role("button", name="Add destination").click()

        await expect(page.get_by_text("The destination was added.")).to_be_visible()
        await expect(page.get_by_role("row").nth(1)).to_contain_text("Warehouse")
        await expect(page.get_by_role("row").nth(1)).to_contain_text("stripe_data")


async def test_what_is_wrong_is_said_step_by_step_and_nothing_is_kept(pool: Pool, look: Look) -> None:
    async with look("/destinations/new") as page:
        await fill(page, CLOSED)
        await page.get_by_role("button", name="Add destination").click()

        steps = page.locator(".probe-steps li")
        await expect(steps.nth(0)).to_contain_text("Nothing listens at 127.0.0.1:1.")
        await expect(steps.nth(1)).to_contain_text("Not tried")
        await expect(page.get_by_label("Name")).to_have_value("Warehouse")
        await fill(page, "mysql://nowhere")
        await page.get_by_role("button", name="Test connection").click()
        await expect(page.get_by_role("alert")).to_contain_text("postgresql://")
    assert await pool.fetchval("SELECT count(*) FROM destinations") == 0


async def test_password_moves_out_of_the_address_into_a_masked_field(pool: Pool, look: Look) -> None:
    await add_destination(pool)
    for path, label in (
        ("/destinations/new", "Address of the Postgres database"),
        ("/destinations/dst_1", "New address"),
    ):
        async with look(path) as page:
            address, password = page.get_by_label(label), page.get_by_label("Password")
            await expect(password).to_have_attribute("type", "password")
            for written, moved in (("p%40ss%2Fword", "p@ss/word"), ("p@s:s/w#rd", "p@s:s/w#rd"), ("100%", "100%")):
                await address.fill(f"postgresql://ada:{written}@db.example.com:5432/rows?sslmode=require")
                await password.focus()
                await expect(address).to_have_value("postgresql://ada@db.example.com:5432/rows?sslmode=require")
                await expect(password).to_have_value(moved)
            await address.fill("postgresql://ada@db.example.com:5432/rows")
            await address.blur()
            await expect(password).to_have_value("100%")  # what was typed there stays


async def test_a_name_that_is_taken_is_refused(database_url: str, pool: Pool, look: Look) -> None:
    await add_destination(pool)
    async with look("/destinations/new") as page:
        await fill(page, database_url)
        await page.get_by_role("button", name="Add destination").click()

        await expect(page.get_by_role("alert")).to_contain_text("already a destination called Warehouse")


async def test_adding_works_without_scripts_and_never_shows_the_address_again(
    database_url: str, pool: Pool, look: Look
) -> None:
    async with look("/destinations/new", java_script_enabled=False) as page:
        await fill(page, CLOSED)
        await page.get_by_role("button", name="Test connection").click()
        await expect(page.get_by_text("Nothing listens")).to_be_visible()
        await expect(page.get_by_label("Name")).to_have_value("Warehouse")
        assert "secret-9" not in await page.content()
        await fill(page, database_url)
        await page.get_by_role("button", name="Add destination").click()

        await expect(page.get_by_text("The destination was added.")).to_be_visible()
    assert await pool.fetchval("SELECT name FROM destinations") == "Warehouse"


async def test_a_destination_is_added_by_keyboard(database_url: str, look: Look) -> None:
    async with look("/destinations/new") as page:
        await page.get_by_label("Name").focus()
        await page.keyboard.type("Warehouse")
        await page.keyboard.press("Tab")
        await page.keyboard.type(database_url)
        await page.keyboard.press("Enter")

        await expect(page.get_by_text("The destination was added.")).to_be_visible()


async def test_a_destination_is_tried_again_renamed_and_moved(database_url: str, pool: Pool, look: Look) -> None:
    async with look("/destinations/new") as page:
        await fill(page, database_url)
        await page.get_by_role("button", name="Add destination").click()
        await page.get_by_role("link", name="Warehouse").click()
        await page.get_by_role("button", name="Test again").click()
        await expect(page.get_by_text("Everything works.")).to_be_visible()
        await page.get_by_label("Name").fill("Lake")
        await page.get_by_role("button", name="Rename").click()
        await expect(page.get_by_role("heading", name="Lake")).to_be_visible()
        await page.get_by_label("New address").fill(CLOSED)
        await page.get_by_role("button", name="Change address").click()
        await expect(page.get_by_text("This address can't be used yet.")).to_be_visible()
        assert await pool.fetchval("SELECT version FROM destinations") == 1
        await page.get_by_label("New address").fill(f"{database_url}?sslmode=disable")
        await page.get_by_role("button", name="Change address").click()

        await expect(page.get_by_text("TLS: disable")).to_be_visible()
    assert await pool.fetchval("SELECT version FROM destinations") == 2


async def test_only_a_destination_that_nothing_uses_can_be_removed(pool: Pool, look: Look) -> None:
    await add_destination(pool)
    await add_connection(pool, "con_1", "Halcyon Coffee")
    await add_destination(pool, "dst_2", "Spare", host="spare.example")
    async with look("/destinations/dst_1") as page:
        await expect(
            page.get_by_text("can't be removed while an account delivers to it: Halcyon Coffee")
        ).to_be_visible()
        await expect(page.get_by_role("link", name="Remove destination")).to_have_count(0)
        await page.get_by_role("link", name="Destinations").last.click()
        await page.get_by_role("link", name="Spare").click()
        await page.get_by_role("link", name="Remove destination").click()
        await page.get_by_role("button", name="Remove destination").click()

        await expect(page.get_by_text(re.compile("The destination was removed"))).to_be_visible()
        await expect(page.get_by_role("row")).to_have_count(2)
    assert await pool.fetchval("SELECT array_agg(id) FROM destinations") == ["dst_1"]


async def test_a_destination_is_rebuilt_after_a_question(pool: Pool, look: Look) -> None:
    await add_destination(pool)
    await add_connection(pool, "con_1", "Halcyon Coffee")
    async with look("/destinations/dst_1", reduced_motion="reduce") as page:
        opener = page.get_by_role("link", name="Rebuild destination")
        await opener.press("Enter")
        dialog = page.get_by_role("dialog", name=re.compile("Rebuild .*\\?"))
        await expect(dialog).to_be_visible()
        assert await axe_violations(page) == []
        await page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
        await expect(opener).to_be_focused()
        assert await pool.fetchval("SELECT count(*) FROM syncs") == 0
        await opener.press("Enter")
        await dialog.get_by_role("button", name="Rebuild").press("Enter")
        await page.wait_for_url("**/syncs?kind=backfill")
        await expect(page.get_by_role("row")).to_have_count(2)
    assert await pool.fetchval("SELECT array_agg(connection_id || ' ' || kind) FROM syncs") == ["con_1 backfill"]


async def test_everyone_can_use_the_pages_about_destinations(pool: Pool, look: Look) -> None:
    async with look("/destinations") as page:
        assert await axe_violations(page) == []
    await add_history(pool)
    for path in PAGES:
        async with look(path, reduced_motion="reduce") as page:
            assert await axe_violations(page) == [], path
    async with look("/destinations/new", reduced_motion="reduce") as page:
        await fill(page, CLOSED)
        await page.get_by_role("button", name="Test connection").click()
        await expect(page.get_by_text("Nothing listens")).to_be_visible()
        assert await axe_violations(page) == []


async def test_a_phone_shows_destinations_without_sideways_scrolling(pool: Pool, look: Look) -> None:
    await add_history(pool)
    for path in PAGES:
        async with look(path, width=320) as page:
            assert await page.evaluate(OVERFLOW) == 0, path
