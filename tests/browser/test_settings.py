"""The pages below Settings."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import expect

from services.connection_api.access.tokens import TokenStore
from shared.audit import Actor
from shared.http import Access
from tests.browser.alarm_sample import add_alarms
from tests.browser.managed import Managed, make_session
from tests.browser.test_double_click import press_twice
from tests.browser.visit import OVERFLOW, THEMES, axe_violations
from tests.integration.connection_api.alarming import receiving

WIDTHS = (1920, 1280, 768, 375, 320)


async def test_an_alarm_is_added_by_keyboard_tested_and_removed(managed: Managed) -> None:
    async with receiving() as receiver, managed.look("/settings/alarms", reduced_motion="reduce") as page:
        await expect(page.get_by_role("heading", name="Nobody is told yet")).to_be_visible()
        await page.get_by_role("link", name="Add alarm").press("Enter")
        dialog = page.get_by_role("dialog", name="Add alarm")
        await expect(dialog.get_by_role("radio", name="E-mail")).to_be_disabled()
        await expect(dialog).to_contain_text("TILLSTREAM_SMTP_URL")
        await dialog.get_by_label("Address", exact=True).fill(receiver.url)
        await expect(dialog.get_by_label("From", exact=True)).to_be_hidden()
        await dialog.get_by_role("checkbox", name="Hold messages").press("Space")
        await dialog.get_by_label("From", exact=True).fill("21:30")
        await dialog.get_by_label("Time zone").fill("Europe/Berlin")
        assert await axe_violations(page) == []
        await dialog.get_by_label("Time zone").press("Enter")
        dialog = page.get_by_role("dialog", name="was added")
        secret = await dialog.get_by_label("Signing secret").input_value()
        await expect(dialog.get_by_role("button", name="Copy")).to_be_focused()
        assert await axe_violations(page) == []
        await dialog.get_by_role("link", name="Done").press("Enter")
        await expect(page.get_by_text("Quiet from 21:30 to 07:00 Europe/Berlin")).to_be_visible()
        assert secret not in await page.content()
        await page.get_by_role("button", name="Test").press("Enter")
        await expect(page.locator("#tested")).to_contain_text("The test has arrived")
        assert [one["type"] for one in receiver.verified(secret)] == ["test"]
        await page.get_by_role("link", name="Remove").press("Enter")
        await page.get_by_role("dialog").get_by_role("button", name="Remove alarm").press("Enter")
        await expect(page.get_by_role("heading", name="Nobody is told yet")).to_be_visible()
    assert await managed.pool.fetchval("SELECT count(*) FROM alarm_channels") == 0


async def test_a_test_that_does_not_arrive_says_why(managed: Managed) -> None:
    async with managed.look("/settings/alarms/new", java_script_enabled=False) as page:
        await page.get_by_label("Address", exact=True).fill("http://127.0.0.1:1/alarms")
        await page.get_by_role("button", name="Add alarm").click()
        await expect(page.get_by_label("Signing secret")).to_have_value(re.compile("^whsec_"))
    async with managed.look("/settings/alarms") as page:
        await page.get_by_role("button", name="Test").click()
        await expect(page.locator("#tested")).to_contain_text("did not arrive")
        await expect(page.locator("#tested")).to_contain_text("The receiver could not be reached.")


async def test_add_alarm_pressed_twice_adds_one_and_shows_its_secret(managed: Managed) -> None:
    async with managed.look("/settings/alarms") as page:
        await page.get_by_role("link", name="Add alarm").click()
        await page.get_by_label("Address", exact=True).fill("https://example.com/alarms")
        await press_twice(page.get_by_role("dialog").get_by_role("button", name="Add alarm"))
        await expect(page.get_by_label("Signing secret")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("heading", name="Webhook example.com")).to_be_visible()
    assert await managed.pool.fetchval("SELECT count(*) FROM alarm_channels") == 1


async def test_what_is_wrong_is_said_beside_its_field(managed: Managed) -> None:
    async with managed.look("/settings/alarms", refused=True) as page:
        await page.get_by_role("link", name="Add alarm").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Address", exact=True).fill("example.com")
        await dialog.get_by_role("button", name="Add alarm").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("Give the whole address")
        await expect(dialog.get_by_label("Address", exact=True)).to_be_focused()
        await dialog.get_by_label("Address", exact=True).fill("https://example.com")
        await dialog.get_by_role("checkbox", name="Hold messages").check()
        await dialog.get_by_label("Time zone").fill("Europe/Bielefeld")
        await dialog.get_by_role("button", name="Add alarm").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("no such time zone")
        await expect(dialog.get_by_label("Time zone")).to_be_focused()


async def test_audit_log_has_its_place_below_settings(managed: Managed) -> None:
    async with managed.look("/settings") as page:
        await page.get_by_role("navigation", name="Settings").get_by_role("link", name="Audit log").click()
        await expect(page.get_by_role("heading", name="Audit log")).to_be_visible()
        tab = page.get_by_role("navigation", name="Settings").get_by_role("link", name="Audit log")
        await expect(tab).to_have_attribute("aria-current", "page")


async def test_a_token_is_made_by_keyboard_used_and_revoked(managed: Managed) -> None:
    async with managed.look("/settings/tokens", reduced_motion="reduce") as page:
        await page.get_by_role("link", name="Make token").press("Enter")
        dialog = page.get_by_role("dialog", name="Make token")
        await expect(dialog.get_by_label("What it is for")).to_be_focused()
        await expect(dialog.get_by_role("radio", name="Everything, tokens")).to_be_disabled()
        await page.keyboard.type("Nightly export")
        assert await axe_violations(page) == []
        await page.keyboard.press("Enter")
        secret = await page.get_by_label("Token", exact=True).input_value()
        headers = {"Authorization": f"Bearer {secret}"}
        async with managed.stage.simulator.session.get(f"{managed.url}/v1/connections", headers=headers) as answer:
            assert answer.status == 200
        async with managed.stage.simulator.session.get(f"{managed.url}/v1/sessions", headers=headers) as answer:
            assert answer.status == 403  # it may read
        await page.get_by_role("link", name="Done").press("Enter")
        row = page.get_by_role("row", name="Nightly export")
        await expect(row).to_contain_text("Valid")
        assert secret not in await page.content()
        await row.get_by_role("link", name="Revoke").press("Enter")
        assert await axe_violations(page) == []
        await page.get_by_role("dialog").get_by_role("button", name="Revoke token").press("Enter")
        await expect(row).to_contain_text("Revoked")
        async with managed.stage.simulator.session.get(f"{managed.url}/v1/connections", headers=headers) as answer:
            assert answer.status == 401
    assert await managed.pool.fetchval("SELECT expires_at - created_at FROM api_tokens") > timedelta(days=89)


async def test_make_token_pressed_twice_makes_one_and_shows_it(managed: Managed) -> None:
    async with managed.look("/settings/tokens/new") as page:
        await page.get_by_label("What it is for").fill("Nightly export")
        await page.get_by_role("button", name="Make token").click()
        await expect(page.get_by_label("Token", exact=True)).to_be_visible()
    async with managed.look("/settings/tokens") as page:
        await page.get_by_role("link", name="Make token").click()
        await page.get_by_label("What it is for").fill("Another one")
        await press_twice(page.get_by_role("dialog").get_by_role("button", name="Make token"))
        await expect(page.get_by_label("Token", exact=True)).to_be_visible()
    assert await managed.pool.fetchval("SELECT count(*) FROM api_tokens") == 2


async def test_other_browsers_are_signed_out_one_by_one_and_together(managed: Managed) -> None:
    for _ in range(3):
        await make_session(managed.pool)
    async with managed.look("/settings/sessions", reduced_motion="reduce") as page:
        await expect(page.get_by_role("row")).to_have_count(5)
        await expect(page.get_by_role("row").nth(1)).to_contain_text("This one")
        await page.get_by_role("link", name="Sign out Ada").first.press("Enter")
        assert await axe_violations(page) == []
        await page.get_by_role("dialog").get_by_role("button", name="Sign out").press("Enter")
        await expect(page.get_by_text("The browser is signed out.")).to_be_visible()
        await expect(page.get_by_role("row")).to_have_count(4)
        await page.get_by_role("link", name="Sign out all others").press("Enter")
        await page.get_by_role("dialog").get_by_role("button", name="Sign out all others").press("Enter")
        await expect(page.get_by_text("All other browsers are signed out.")).to_be_visible()
        await expect(page.get_by_role("row")).to_have_count(2)
        await page.get_by_role("button", name="Sign out here").press("Enter")
        await page.wait_for_url("**/sign-in")
    assert await managed.pool.fetchval("SELECT count(*) FROM sessions") == 0
    assert await managed.pool.fetchval("SELECT count(*) FROM audit_log WHERE action = 'session.ended'") == 4


async def test_one_zone_holds_for_times_days_and_moments(managed: Managed) -> None:
    connection = await managed.connected()
    await managed.pool.execute(
        "UPDATE syncs SET created_at = '2026-03-02T23:30:00Z' WHERE connection_id = $1", connection.id
    )
    async with managed.look("/settings", timezone_id="Asia/Tokyo") as page:
        await expect(page.get_by_label("Times, days and filters")).to_have_value("")
        await page.get_by_label("Times, days and filters").select_option("America/New_York")
        await page.get_by_role("button", name="Save").press("Enter")
        await expect(page.get_by_text("The time zone is saved.")).to_be_visible()
        await expect(page.get_by_text("Now you see them in America/New_York.")).to_be_visible()
        await page.goto(f"{managed.url}/syncs?from=2026-03-02&to=2026-03-02")
        await expect(page.get_by_label("From (America/New_York)")).to_be_visible()
        first = page.locator("#rows tbody tr").first
        await expect(first.locator("time").first).to_have_attribute("title", "2 Mar 2026, 18:30:00 GMT-5")
        await page.goto(f"{managed.url}/connections/{connection.id}/start-date")
        await page.get_by_text("Another moment").click()
        field = page.get_by_label("Date and time (America/New_York)")
        for wall, sent in (
            ("2025-01-31T12:00:00", "2025-01-31T17:00:00Z"),
            ("2025-07-31T12:00:00", "2025-07-31T16:00:00Z"),
        ):
            await field.fill(wall)
            assert await page.locator("[data-custom]").get_attribute("value") == sent
    async with managed.look("/audit", java_script_enabled=False) as page:
        await expect(page.locator("tbody time").first).to_have_text(re.compile("E[SD]T$|ago|now"))
        await expect(page.locator("tbody .second time").first).to_have_text(re.compile(r" E[SD]T$"))
    await managed.pool.execute("DELETE FROM choices")


async def test_the_public_url_is_tested_where_it_stands(managed: Managed) -> None:
    async with managed.look("/settings") as page:
        await page.get_by_role("button", name="Test it").press("Enter")
        await expect(page.locator("#public-url .cause")).to_be_visible()
        assert await axe_violations(page) == []


@pytest.mark.parametrize("theme", THEMES)
async def test_everybody_can_use_the_settings(managed: Managed, theme: str) -> None:
    paths = ["/settings/alarms"]
    async with managed.look(paths[0], theme=theme) as page:
        assert await axe_violations(page) == []
    await add_alarms(managed.pool)
    store = TokenStore(managed.pool)
    token, _ = await store.create("Nightly export", Access.READ, expires_at=None, by=Actor("test"))
    await store.create("Backups of the finance team", Access.ADMIN, expires_at=datetime.now(UTC), by=Actor("test"))
    await make_session(managed.pool)
    paths += ["/settings/tokens", "/settings/tokens/new", f"/settings/tokens/{token.id}/revoke"]
    paths += ["/settings/sessions", "/settings/sessions/others/end"]
    paths += ["/settings", "/settings/alarms/new", "/settings/alarms/alm_1/remove", "/audit"]
    for path in paths:
        for width in WIDTHS:
            async with managed.look(path, theme=theme, width=width) as page:
                assert await page.evaluate(OVERFLOW) <= 0, (path, width)
                if width in (1280, 375):
                    assert await axe_violations(page) == [], path
                    await page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
                if seen := os.environ.get("SEEN"):
                    name = path.strip("/").replace("/", "-").replace(token.id, "tok")
                    await page.screenshot(path=Path(seen) / f"{name}-{theme}-{width}.png", full_page=True)
