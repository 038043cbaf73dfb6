from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from playwright.async_api import expect

from shared.db import Pool
from tests.browser.history_sample import add_history, add_sync
from tests.browser.sample import add_backfill, add_connection, add_destination, cursor_at
from tests.browser.visit import OVERFLOW, Look, axe_violations

PAGES = ("/syncs", "/connections/con_d6r3/syncs", "/syncs/syn_a9x2", "/syncs/syn_h03", "/syncs/syn_a9x2/cancel")
FAULT = """
INSERT INTO resource_faults (connection_id, resource, code, cause, permission, next_try_at)
VALUES ('con_1', 'charge', 'missing_permissions', 'Missing permissions.', 'rak_charge_read', now())
"""


async def add_account(pool: Pool, number: int = 1, name: str = "Halcyon Coffee") -> None:
    await add_destination(pool)
    await add_connection(pool, f"con_{number}", name)


async def test_a_row_says_when_what_why_how_many_and_how_it_ended(pool: Pool, look: Look) -> None:
    await add_account(pool)
    begun = datetime.now(UTC) - timedelta(hours=2)
    await add_sync(pool, "syn_1", "con_1", "manual", trigger="requested", begun_at=begun, seconds=94,
                   calls=(118, 2), counts=(11_760, 14, 390, 11_350, 6, 7))  # fmt: skip
    async with look("/syncs") as page:
        row = page.get_by_role("row").nth(1)

        for text in ("2 h ago", "Manual", "Requested", "Halcyon Coffee", "Succeeded", "1 min 34 s", "11,760"):
            await expect(row).to_contain_text(text)
        cells = await row.get_by_role("cell").all_inner_texts()
        assert cells[3:] == ["1 min 34 s", "11,760", "14", "390", "6", "11,350", "7", "118", "2"]


async def test_a_sync_with_failed_rows_says_so_and_leads_to_them(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_sync(pool, "syn_1", "con_1", "manual", counts=(100, 0, 0, 99, 0, 1))
    slice_id = await pool.fetchval(
        "INSERT INTO slices (sync_id, connection_id, resource) VALUES ('syn_1', 'con_1', 'charge') RETURNING id"
    )
    for number, slice_of in enumerate((slice_id, slice_id + 1)):
        await pool.execute(
            """INSERT INTO dead_letters (stage, code, reason, connection_id, destination_id, topic, partition,
                                         record_offset, body, headers)
               VALUES ('write', 'destination_rejected', $1, 'con_1', 'dst_1', 't', 0, $2, '{}', $3)""",
            ("Finance forbids it.", "Something else.")[number], number, {"slice": str(slice_of)},
        )  # fmt: skip
    async with look("/syncs") as page:
        await expect(page.get_by_role("row").nth(1)).to_contain_text("Succeeded with failures")
        await page.get_by_title("Show the failed records").click()

        await expect(page.get_by_text("Finance forbids it.")).to_be_visible()
        await expect(page.get_by_text("Something else.")).to_have_count(0)
        await expect(page.get_by_role("link", name="one sync")).to_have_attribute("href", "/syncs/syn_1")
        assert await axe_violations(page) == []


async def test_a_sync_with_a_dead_key_has_stopped_and_takes_another(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_sync(pool, "syn_1", "con_1", status="queued", seconds=None)
    await pool.execute("UPDATE connections SET state = 'action_required', cause = 'API Key is invalid.'")
    async with look("/syncs") as page:
        row = page.get_by_role("row").nth(1)

        await expect(row).to_contain_text("Stopped")
        await expect(row).to_contain_text("API Key is invalid.")
        await expect(row.get_by_role("link", name="Update API Key")).to_be_visible()
        assert await axe_violations(page) == []


async def test_a_failure_names_its_cause(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_sync(pool, "syn_1", "con_1", "gap_fill", status="failed", cause="API Key is invalid.")
    async with look("/syncs") as page:
        await expect(page.get_by_role("row").nth(1)).to_contain_text("API Key is invalid.")
        await page.get_by_role("row").nth(1).get_by_role("link").click()

        await expect(page.get_by_role("heading", level=1)).to_contain_text("Gap fill")
        await expect(page.get_by_text("API Key is invalid.")).to_be_visible()


async def test_rows_that_a_list_did_not_show_are_counted(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_sync(pool, "syn_1", "con_1", "manual")
    await pool.execute(
        """INSERT INTO searches (sync_id, connection_id, destination_id, resource, stamp, found, status)
           VALUES ('syn_1', 'con_1', 'dst_1', 'charge', 1, 3, 'done')"""
    )
    async with look("/syncs/syn_1") as page:
        await expect(page.get_by_text("3 rows")).to_be_visible()


async def test_exact_times_are_in_the_zone_of_the_viewer(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_sync(pool, "syn_1", "con_1", "manual", begun_at=datetime(2026, 1, 2, 23, 30, tzinfo=UTC))
    async with look("/syncs", timezone_id="Asia/Tokyo") as page:
        await expect(page.get_by_role("row").nth(1)).to_contain_text("3 Jan 2026, 08:30:00 GMT+9")


async def test_filters_stand_in_an_address_that_can_be_shared(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_account(pool, 2, "Northwind Bicycles")
    old = datetime(2026, 1, 2, 12, tzinfo=UTC)
    await add_sync(pool, "syn_1", "con_1", "manual", trigger="wanted", begun_at=old)
    await add_sync(pool, "syn_2", "con_1", "manual", trigger="too early", begun_at=old - timedelta(days=1))
    await add_sync(pool, "syn_3", "con_1", "reconcile", trigger="other kind", begun_at=old)
    await add_sync(pool, "syn_4", "con_1", "manual", trigger="other status", status="failed", begun_at=old)
    await add_sync(pool, "syn_5", "con_2", "manual", trigger="other account", begun_at=old)
    async with look("/syncs") as page:
        await page.get_by_label("Account").select_option("Halcyon Coffee")
        await page.get_by_label("Kind").select_option("Manual")
        await page.get_by_label("Status").select_option("Succeeded")
        await page.get_by_label("From").fill("2026-01-02")
        await page.get_by_label("To").fill("2026-01-02")
        await page.get_by_role("button", name="Filter").click()

        await expect(page.get_by_role("row")).to_have_count(2)
        await expect(page.get_by_role("row").nth(1)).to_contain_text("Wanted")
        query = "connection_id=con_1&kind=manual&status=succeeded&from=2026-01-02&to=2026-01-02"
        assert page.url.endswith(f"/syncs?{query}")
        times = "since=2026-01-02T00%3A00%3A00Z&until=2026-01-03T00%3A00%3A00Z"
        export = f"/v1/syncs/export?connection_id=con_1&kind=manual&status=succeeded&{times}&format=csv"
        await expect(page.get_by_role("link", name="Export CSV")).to_have_attribute("href", export)
        await page.get_by_role("link", name="Clear").click()
        await expect(page.get_by_role("row")).to_have_count(6)
        assert page.url.endswith("/syncs")


async def test_fields_that_were_left_empty_are_not_in_the_address(pool: Pool, look: Look) -> None:
    async with look("/syncs") as page:
        await page.get_by_label("Status").select_option("Failed")
        await page.get_by_role("button", name="Filter").click()

        await expect(page.get_by_role("heading", name="No sync matches")).to_be_visible()
        assert page.url.endswith("/syncs?status=failed")


async def test_the_list_works_without_scripts(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_sync(pool, "syn_1", "con_1", "manual")
    await add_sync(pool, "syn_2", "con_1", "reconcile")
    async with look("/syncs", java_script_enabled=False) as page:
        await page.get_by_label("Kind").select_option("Reconcile")
        await page.get_by_role("button", name="Filter").click()

        await expect(page.get_by_role("row")).to_have_count(2)
        await page.get_by_role("row").nth(1).get_by_role("link").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Reconcile")


async def test_a_filter_that_means_nothing_is_refused(look: Look) -> None:
    async with look("/syncs?kind=nonsense", refused=True) as page:
        await expect(page.locator("main")).to_contain_text("kind")


async def test_pages_of_a_connection_follow_each_other(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_account(pool, 2, "Northwind Bicycles")
    now = datetime.now(UTC)
    for number in range(27):
        await add_sync(pool, f"syn_{number:02}", "con_1", "manual", begun_at=now - timedelta(minutes=number))
    await add_sync(pool, "syn_x", "con_2")
    async with look("/connections/con_1/syncs") as page:
        await expect(page.get_by_role("row")).to_have_count(26)
        await page.get_by_role("link", name="Older").click()

        await expect(page.get_by_role("row")).to_have_count(3)
        await expect(page.get_by_role("link", name="Older")).to_have_count(0)
        await page.get_by_role("link", name="Newest").click()
        await expect(page.get_by_role("row")).to_have_count(26)


async def test_no_sync_yet_leads_on(look: Look) -> None:
    async with look("/syncs") as page:
        await expect(page.get_by_role("heading", name="Nothing has been synced yet")).to_be_visible()


async def test_news_come_to_the_list_and_leave_the_readers_place_alone(pool: Pool, look: Look) -> None:
    await add_account(pool)
    now = datetime.now(UTC)
    for number in range(20):
        await add_sync(pool, f"syn_{number:02}", "con_1", "manual", begun_at=now - timedelta(minutes=number + 1))
    async with look("/syncs") as page:
        link = page.locator("#syn_15 a")
        await link.focus()
        before = await link.bounding_box()
        await add_sync(pool, "syn_x", "con_1", "manual", trigger="brand new", status="running", seconds=None)

        await expect(page.get_by_role("row").nth(1)).to_contain_text("Brand new")
        await expect(link).to_be_focused()
        after = await link.bounding_box()
        assert before
        assert after
        assert abs(after["y"] - before["y"]) < 2
        await pool.execute("UPDATE syncs SET status = 'succeeded', finished_at = now() WHERE id = 'syn_x'")
        await expect(page.get_by_role("row").nth(1)).to_contain_text("Succeeded")


async def test_a_sync_shows_how_far_it_is_and_goes_on_showing_it(pool: Pool, look: Look) -> None:
    await add_account(pool)
    sync_id = await add_backfill(pool, "con_1", {"charge": (0.5, 1000), "customer": (1, 400), "invoice": (0, 0)})
    async with look(f"/syncs/{sync_id}") as page:
        charges = page.get_by_role("row", name="Charges")
        await expect(charges).to_contain_text("49 %")
        await expect(charges.get_by_role("progressbar")).to_have_attribute("value", "49")
        await expect(charges).to_contain_text(re.compile(r"1\.[89] rows/s"))
        await expect(charges).to_contain_text("about 9 min")
        await expect(page.get_by_role("row", name="Customers")).to_contain_text("Done")
        await expect(page.get_by_role("row", name="Invoices")).to_contain_text("Waiting")
        sql = "UPDATE slices SET cursor_created = $2, records = 1700 WHERE sync_id = $1 AND resource = 'charge'"
        await pool.execute(sql, sync_id, cursor_at(0.9))

        await expect(charges).to_contain_text("88 %")
        await expect(charges).to_contain_text("1,700")
        await pool.execute("UPDATE syncs SET status = 'succeeded', finished_at = now() WHERE id = $1", sync_id)
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Succeeded")
        await expect(charges).to_contain_text("Done")


async def test_no_time_left_is_told_before_ten_seconds(pool: Pool, look: Look) -> None:
    await add_account(pool)
    sync_id = await add_backfill(pool, "con_1", {"charge": (0.5, 1000)})
    await pool.execute("UPDATE syncs SET started_at = now()")
    async with look(f"/syncs/{sync_id}") as page:
        await expect(page.get_by_text("Estimating time left…")).to_be_visible()
        await expect(page.get_by_role("row", name="Charges")).to_contain_text("unknown")


async def test_what_waits_for_a_permission_says_so(pool: Pool, look: Look) -> None:
    await add_account(pool)
    sync_id = await add_backfill(pool, "con_1", {"charge": (0.5, 1000), "customer": (0.5, 400)})
    await pool.execute(FAULT)
    async with look(f"/syncs/{sync_id}") as page:
        row = page.get_by_role("row", name="Charges")
        await expect(row).to_contain_text("Needs a permission")
        await expect(row).to_contain_text("rak_charge_read")
        await expect(page.get_by_role("row", name="Customers")).to_contain_text("49 %")


async def test_a_backfill_is_paused_resumed_and_cancelled_by_mouse(pool: Pool, look: Look) -> None:
    await add_account(pool)
    sync_id = await add_backfill(pool, "con_1", {"charge": (0.5, 1000)})
    async with look(f"/syncs/{sync_id}") as page:
        await page.get_by_role("button", name="Pause").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Paused")
        await page.get_by_role("button", name="Resume").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Running")
        await page.get_by_role("link", name="Cancel").click()
        await page.get_by_role("link", name="Keep it").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Running")
        await page.get_by_role("link", name="Cancel").click()
        await page.get_by_role("button", name="Cancel the sync").click()

        await expect(page.get_by_role("heading", level=1)).to_contain_text("Cancelled")
        await expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    assert await pool.fetchval("SELECT status FROM syncs") == "cancelled"


async def test_a_backfill_is_steered_by_keyboard(pool: Pool, look: Look) -> None:
    await add_account(pool)
    sync_id = await add_backfill(pool, "con_1", {"charge": (0.5, 1000)})
    async with look(f"/syncs/{sync_id}") as page:
        await page.get_by_role("button", name="Pause").focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="Resume")).to_be_visible()
        await page.get_by_role("link", name="Cancel").focus()
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Cancel the sync").focus()
        await page.keyboard.press("Enter")

        await expect(page.get_by_role("heading", level=1)).to_contain_text("Cancelled")


async def test_what_a_person_can_not_steer_has_no_buttons(pool: Pool, look: Look) -> None:
    await add_account(pool)
    await add_sync(pool, "syn_1", "con_1", "reconcile", status="running", seconds=None)
    async with look("/syncs/syn_1") as page:
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Running")
        await expect(page.get_by_role("button", name="Pause")).to_have_count(0)


async def test_everyone_can_use_the_pages_about_syncs(pool: Pool, look: Look) -> None:
    async with look("/syncs") as page:
        assert await axe_violations(page) == []
    await add_history(pool)
    for path in PAGES:
        async with look(path, reduced_motion="reduce") as page:
            assert await axe_violations(page) == [], path


async def test_a_phone_shows_syncs_without_sideways_scrolling(pool: Pool, look: Look) -> None:
    await add_history(pool)
    for path in PAGES:
        async with look(path, width=320) as page:
            assert await page.evaluate(OVERFLOW) == 0, path


async def test_a_connections_page_says_how_fresh_each_way_is_and_what_it_costs(pool: Pool, look: Look) -> None:
    await add_account(pool)
    now = datetime.now(UTC)
    await add_sync(pool, "syn_1", "con_1", "reconcile", begun_at=now - timedelta(minutes=5), seconds=4, calls=(9, 0))
    await pool.execute("UPDATE connections SET live_by = 'polling'")
    await pool.execute("INSERT INTO polls VALUES ('con_1', now() - interval '150 seconds', 30)")
    async with look("/connections/con_1/syncs") as page:
        block = page.get_by_role("region", name="How fresh")

        for text in (
            "every 2 s while things happen, every 1 min when it is quiet; every 30 s at the moment",
            "2 min ago",
            "2,880 reads a day",
            "The event feed is compared every 15 min",
            "Stripe allows about 500 for each transaction, and at least 10,000 a month.",
        ):
            await expect(block).to_contain_text(text)


async def test_the_page_of_all_syncs_says_nothing_of_freshness(pool: Pool, look: Look) -> None:
    await add_account(pool)
    async with look("/syncs") as page:
        await expect(page.get_by_role("region", name="How fresh")).to_have_count(0)


async def test_comparisons_that_found_nothing_are_a_line_for_each_day(pool: Pool, look: Look) -> None:
    await add_destination(pool)
    await add_connection(pool, "con_1", "Halcyon Coffee")
    noon = datetime(2026, 3, 5, 12, tzinfo=UTC)
    for number in range(30):
        begun_at = noon - timedelta(hours=number)
        await add_sync(pool, f"syn_q{number:02}", "con_1", "gap_fill", begun_at=begun_at, counts=(5, 0, 0, 5, 0, 0))
    await add_sync(pool, "syn_w1", "con_1", "gap_fill", begun_at=noon - timedelta(hours=3), counts=(5, 1, 0, 4, 0, 0))
    await add_sync(pool, "syn_w2", "con_1", "gap_fill", begun_at=noon - timedelta(hours=4), status="failed")
    await pool.execute("UPDATE syncs SET created_at = started_at")
    async with look("/connections/con_1/syncs") as page:
        rows = page.get_by_role("row")
        await expect(rows).to_have_count(5)
        await expect(rows.nth(1)).to_contain_text("13 comparisons with Stripe found nothing new · 5 Mar 2026")
        await expect(rows.nth(4)).to_contain_text("17 comparisons with Stripe found nothing new · 4 Mar 2026")
        await rows.nth(4).get_by_role("link", name="Show them").click()

        await expect(rows).to_have_count(18)
        await expect(page.get_by_label("Comparisons that found nothing")).to_be_checked()
        await page.get_by_role("link", name="Clear").click()
        await page.get_by_label("Kind").select_option("Gap fill")
        await page.get_by_role("button", name="Filter").click()
        await expect(rows).to_have_count(26)
