"""Start date, what is synced, pause, webhook secret and removal: each from the ⋮ menu to what it does."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Page, expect

from shared.connections import State
from shared.syncs import Kind
from tests.browser.managed import Managed
from tests.browser.visit import axe_violations, wait_until_live

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Between the last and the first element of a dialog the focus is nowhere, or in the browser's own controls.
FOCUS_IS_INSIDE = "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
DIALOGS = {
    "Set sync start date": "start-date",
    "What is synced": "choice",
    "Sync again": "sync-again",
    "Pause": "pause",
    "Rotate webhook secret": "webhook-secret",
    "Remove connection": "removal",
}
Check = Callable[[], Awaitable[bool]]


async def choose(page: Page, name: str) -> None:
    """Choose an entry of the card's menu."""
    await wait_until_live(page)
    await page.get_by_role("button", name="Actions for").click()
    await page.get_by_role("menuitem", name=name).click()


async def open_dialog(page: Page, name: str) -> None:
    await choose(page, name)
    await expect(page.locator("#dialog[open] .dialog-head")).to_be_visible()


async def has_said(page: Page, text: str) -> None:
    """Expect that the dialog has closed with these words."""
    await expect(page.locator("#toast")).to_have_text(text)
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_a_start_date_shows_its_estimate_before_it_is_set(managed: Managed) -> None:
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    connection = await managed.connected(start_date=start)
    async with managed.look() as page:
        await open_dialog(page, "Set sync start date")
        await page.get_by_text("All time").click()
        await expect(page.locator(".estimate-line")).to_contain_text(re.compile("objects, about|nothing to fetch"))
        await page.get_by_role("button", name="Save").click()

        await has_said(page, "The start date is set.")
    assert (await managed.connection(connection.id)).start_date is None
    newest, *_ = await managed.stage.syncs(connection.id)
    assert (newest.kind, newest.trigger) == (Kind.BACKFILL, "start date moved")


async def test_a_moment_is_chosen_in_the_viewers_zone(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look(timezone_id="America/New_York") as page:
        await open_dialog(page, "Set sync start date")
        await page.get_by_text("Another moment").click()
        await expect(page.get_by_text("(America/New_York)")).to_be_visible()
        await page.locator("#custom").fill("2026-01-31T19:30:15")
        await page.locator("#custom").press("Tab")
        await expect(page.locator(".estimate-line")).to_contain_text("31 Jan 2026, 19:30:15")
        await expect(page.locator(".estimate-line")).to_contain_text("(1 Feb 2026, 00:30:15 UTC)")
        await page.get_by_role("button", name="Save").click()
        await has_said(page, "The start date is set.")

    assert (await managed.connection(connection.id)).start_date == datetime(2026, 2, 1, 0, 30, 15, tzinfo=UTC)


async def test_a_moment_in_the_future_is_refused(managed: Managed) -> None:
    await managed.connected()
    async with managed.look(refused=True) as page:
        await open_dialog(page, "Set sync start date")
        await page.get_by_text("Another moment").click()
        await page.locator("#custom").fill("2099-01-01T00:00:00")
        await page.locator("#custom").press("Tab")

        await expect(page.locator("#problem")).to_contain_text("lies in the future")


async def test_a_later_date_asks_what_happens_to_older_rows(managed: Managed) -> None:
    connection = await managed.connected()
    await add_rows(managed, connection.account_id, 3, created=1_500_000_000)
    async with managed.look() as page:
        await open_dialog(page, "Set sync start date")
        await page.get_by_text("90 days").click()
        await expect(page.get_by_text("3 rows of older objects", exact=True)).to_be_visible()
        await expect(page.get_by_role("radio", name="Keep them")).to_be_checked()
        await page.get_by_text("Delete them").click()
        await page.get_by_role("button", name="Save").click()
        await has_said(page, "The start date is set.")

    cleanups = await managed.pool.fetch("SELECT kind, created_before FROM cleanups")
    assert [(row["kind"], row["created_before"] is not None) for row in cleanups] == [("rows", True)]


async def test_what_is_synced_says_what_follows_before_it_is_saved(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look() as page:
        await open_dialog(page, "What is synced")
        await page.get_by_role("checkbox", name="Setup intents").check()
        await page.get_by_role("checkbox", name="Disputes").uncheck()
        await page.get_by_role("button", name="Customers address, email").click()
        follows = page.locator(".consequences")
        await expect(follows).to_contain_text("Setup intents are added: their history is copied")
        await expect(follows).to_contain_text("Disputes are no longer updated. Their rows stay as they are.")
        await expect(follows).to_contain_text(
            "Customers: address, email, name, phone, shipping are never written again"
        )
        await page.get_by_role("button", name="Save").click()
        await has_said(page, "The choice is saved.")

    changed = await managed.connection(connection.id)
    assert "setup_intent" in changed.resources
    assert "dispute" not in changed.resources
    assert changed.omitted_fields["customer"] == ["address", "email", "name", "phone", "shipping"]


async def test_destinations_are_chosen_and_what_follows_is_said(managed: Managed) -> None:
    connection = await managed.connected()
    analytics = await managed.stage.add_destination("analytics")
    async with managed.look() as page:
        await open_dialog(page, "What is synced")
        destinations = page.get_by_role("group", name="Destinations")
        own, other = (destinations.get_by_role("checkbox", name=name) for name in ("copy", "analytics"))
        await expect(own).to_be_checked()
        await expect(other).not_to_be_checked()
        await expect(destinations).to_contain_text("· analytics")
        await other.check()
        await own.uncheck()
        follows = page.locator(".consequences")
        await expect(follows).to_contain_text("analytics gets all history.")
        await expect(follows).to_contain_text("Rows in copy stay as they are and are not updated any more.")
        await page.get_by_role("button", name="Save").click()
        await has_said(page, "The choice is saved.")

    assert (await managed.connection(connection.id)).destination_ids == (analytics,)
    newest, *_ = await managed.stage.syncs(connection.id)
    assert (newest.kind, newest.trigger) == (Kind.BACKFILL, "destination added")


async def test_at_least_one_destination_stays(managed: Managed) -> None:
    connection = await managed.connected()
    await managed.stage.add_destination("analytics")
    async with managed.look(refused=True) as page:
        await open_dialog(page, "What is synced")
        own = page.get_by_role("checkbox", name="copy")
        await own.uncheck()
        await expect(page.locator("#problem")).to_have_text("Choose at least one destination.")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#problem")).to_have_text("Choose at least one destination.")
        await expect(page.locator("#problem")).to_be_in_viewport()

    assert (await managed.connection(connection.id)).destination_ids == connection.destination_ids


async def test_where_there_is_one_destination_none_is_asked_for(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look() as page:
        await open_dialog(page, "What is synced")
        await expect(page.get_by_role("group", name="Destinations")).to_have_count(0)
        await page.get_by_role("button", name="Save").click()
        await has_said(page, "The choice is saved.")

    assert (await managed.connection(connection.id)).destination_ids == connection.destination_ids


async def test_pause_and_resume(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look() as page:
        await open_dialog(page, "Pause")
        await page.keyboard.press("Enter")
        await has_said(page, "Syncing is paused.")
        await expect(page.locator(".status")).to_contain_text("Paused")
        assert (await managed.connection(connection.id)).state is State.PAUSED
        await page.get_by_role("button", name="Resume").click()
        await has_said(page, "Syncing goes on.")

    assert (await managed.connection(connection.id)).state is State.ACTIVE


async def test_sync_now_begins_at_once(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look() as page:
        await choose(page, "Sync now")
        await has_said(page, "A comparison with Stripe has begun. Show it")

    newest, *_ = await managed.stage.syncs(connection.id)
    assert (newest.kind, newest.trigger) == (Kind.RECONCILE, "requested")


async def test_the_webhook_secret_is_rotated(managed: Managed) -> None:
    await managed.connected()
    before = await managed.pool.fetchval("SELECT count(*) FROM webhook_secrets")
    async with managed.look() as page:
        await open_dialog(page, "Rotate webhook secret")
        await page.get_by_role("button", name="Rotate secret").click()
        await has_said(page, "The webhook secret is rotated. No event is lost.")

    assert await managed.pool.fetchval("SELECT count(*) FROM webhook_secrets") == before + 1


async def test_removal_lists_what_goes_and_asks_for_the_name(managed: Managed) -> None:
    connection = await managed.connected()
    await add_rows(managed, connection.account_id, 3, created=1_500_000_000)
    async with managed.look() as page:
        await open_dialog(page, "Remove connection")
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("The webhook endpoint at Stripe we_")
        await expect(dialog).to_contain_text("3 rows in 1 table")
        await page.locator(".tables summary").click()
        await expect(dialog.get_by_role("row", name="customers")).to_contain_text("3")
        await expect(page.get_by_role("radio", name="Keep them")).to_be_checked()
        remove = page.get_by_role("button", name="Remove connection")
        await expect(remove).to_be_disabled()
        await page.get_by_label("Type Till Shop").fill("Till")
        await expect(remove).to_be_disabled()
        await page.get_by_label("Type Till Shop").fill("Till Shop")
        await remove.click()
        await page.wait_for_url(re.compile(r"/removals/rem_"))

    assert (await managed.connection(connection.id)).state is State.REMOVING
    assert await managed.pool.fetchval("SELECT deletes_rows FROM removals") is False


async def test_a_removing_connection_shows_how_far_it_is(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look(f"/connections/{connection.id}/removal") as page:
        await page.get_by_label("Type Till Shop").fill("Till Shop")
        await page.get_by_text("Delete them").click()
        await page.get_by_role("button", name="Remove connection").click()
        await page.wait_for_url(re.compile(r"/removals/rem_"))
        await page.goto(managed.url)
        await page.get_by_role("link", name="Show progress").click()

        await page.wait_for_url(re.compile(r"/removals/rem_"))
    assert await managed.pool.fetchval("SELECT deletes_rows FROM removals") is True


async def test_everything_goes_without_scripts(managed: Managed) -> None:
    connection = await managed.connected()
    analytics = await managed.stage.add_destination("analytics")
    async with managed.look(java_script_enabled=False) as page:
        base = f"{managed.url}/connections/{connection.id}"
        await page.goto(f"{base}/start-date")
        await page.get_by_role("radio", name="90 days").check()
        await page.get_by_role("button", name="Estimate").click()
        await expect(page.locator(".estimate-line")).to_be_visible()
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#notice")).to_contain_text("The start date is set.")
        await page.goto(f"{base}/choice")
        await page.get_by_role("checkbox", name="Setup intents").check()
        await page.get_by_role("checkbox", name="analytics").check()
        await page.get_by_role("button", name="What would follow?").click()
        await expect(page.locator(".consequences")).to_contain_text("Setup intents are added")
        await expect(page.locator(".consequences")).to_contain_text("analytics gets all history.")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#notice")).to_contain_text("The choice is saved.")
        for entry, button in (("Pause", "Pause"), ("Resume", None), ("Rotate webhook secret", "Rotate secret")):
            await page.goto(base)
            await page.get_by_role("link" if button else "button", name=entry).click()
            if button:
                await page.get_by_role("button", name=button).click()
            await expect(page.locator("#notice")).to_be_visible()

    changed = await managed.connection(connection.id)
    assert changed.start_date is not None
    assert "setup_intent" in changed.resources
    assert set(changed.destination_ids) == {*connection.destination_ids, analytics}


@pytest.mark.parametrize("entry", DIALOGS)
async def test_escape_closes_each_and_the_focus_goes_back(managed: Managed, entry: str) -> None:
    await managed.connected()
    async with managed.look() as page:
        await open_dialog(page, entry)
        for _ in range(40):  # the focus stays inside, however often it moves on
            await page.keyboard.press("Tab")
        assert await page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
        await page.keyboard.press("Escape")

        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(page.get_by_role("button", name="Actions for")).to_be_focused()


async def test_everyone_can_use_each(managed: Managed) -> None:
    connection = await managed.connected()
    await add_rows(managed, connection.account_id, 3, created=1_500_000_000)
    await managed.stage.add_destination("analytics")
    for entry, path in DIALOGS.items():
        async with managed.look(reduced_motion="reduce") as page:
            await open_dialog(page, entry)
            if path == "start-date":
                await page.get_by_text("90 days").click()
                await expect(page.locator(".older")).to_be_visible()
            assert await axe_violations(page) == [], entry
        async with managed.look(f"/connections/{connection.id}/{path}", width=320) as page:
            assert await axe_violations(page) == [], path
            assert await page.evaluate(OVERFLOW) == 0, path


async def add_rows(managed: Managed, account_id: str, count: int, *, created: int) -> None:
    """Put customers into the destination, as the writer would."""
    await managed.pool.execute("CREATE SCHEMA copy")
    await managed.pool.execute("CREATE TABLE copy.customers (_account text, _livemode boolean, id text, data jsonb)")
    await managed.pool.execute(
        """
        INSERT INTO copy.customers
        SELECT $1, true, 'cus_' || n, jsonb_build_object('created', $3::int)
        FROM generate_series(1, $2::int) n
        """,
        account_id,
        count,
        created,
    )


async def test_a_menu_that_opens_while_a_dialog_closes_keeps_the_focus(managed: Managed) -> None:
    await managed.connected()
    async with managed.look() as page:
        await open_dialog(page, "Pause")
        # The browser tells of the close with its next frame, and the key is faster.
        await page.evaluate(
            """() => new Promise((then) => {
                 document.getElementById("dialog").close();
                 const key = new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true });
                 document.activeElement.dispatchEvent(key);
                 requestAnimationFrame(() => requestAnimationFrame(then));
               })"""
        )
        await expect(page.get_by_role("menuitem", name="Update API Key")).to_be_focused()
        await page.keyboard.type("wh")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog", name="What is synced")).to_be_visible()


async def test_start_date_choice_and_removal_go_by_keyboard_alone(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look() as page:
        await wait_until_live(page)
        opener, keys = page.get_by_role("button", name="Actions for"), page.keyboard
        await opener.press("Enter")
        await keys.type("set")
        await keys.press("Enter")
        await page.get_by_role("radio", name="All time").press("ArrowDown")
        await expect(page.locator(".estimate-line")).to_be_visible()
        await page.get_by_role("button", name="Save").press("Enter")
        await has_said(page, "The start date is set.")
        await expect(opener).to_be_focused()
        await keys.press("ArrowDown")
        await keys.type("wh")
        await keys.press("Enter")
        await page.get_by_role("checkbox", name="Setup intents").press(" ")
        await page.get_by_role("button", name="Save").press("Enter")
        await has_said(page, "The choice is saved.")
        await opener.press("ArrowUp")
        await keys.press("Enter")
        await page.get_by_label("Type Till Shop").focus()
        await keys.type("Till Shop")
        await keys.press("Enter")
        await page.wait_for_url(re.compile(r"/removals/rem_"))

    changed = await managed.connection(connection.id)
    assert changed.start_date is not None
    assert "setup_intent" in changed.resources
    assert changed.state is State.REMOVING
