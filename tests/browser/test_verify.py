"""Verify rows: from the ⋮ menu to what differs, and to its repair."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from playwright.async_api import expect

from shared.db import Pool
from shared.syncs import Kind
from tests.browser.history_sample import add_comparison, add_history, add_sync
from tests.browser.managed import Managed
from tests.browser.sample import add_connection, add_destination
from tests.browser.visit import OVERFLOW, Look, axe_violations, wait_until_live

SYNC_PAGE = re.compile(r"/syncs/(syn_\w+)")


async def add_compared(pool: Pool, *, status: str = "succeeded", repaired_at: datetime | None = None) -> None:
    await add_destination(pool)
    await add_connection(pool, "con_1", "Halcyon Coffee")
    await add_sync(pool, "syn_1", "con_1", "verify", status=status, seconds=12 if status == "succeeded" else None)
    await add_comparison(pool, "syn_1", "con_1", repaired_at=repaired_at)
    await pool.execute("UPDATE connections SET resources = '{charge, customer, invoice, payout}'")


@pytest.mark.parametrize(("choice", "pages"), [("A sample", 5), ("Everything", None)])
async def test_a_comparison_begins_from_the_menu(managed: Managed, choice: str, pages: int | None) -> None:
    connection = await managed.connected()
    async with managed.look() as page:
        await wait_until_live(page)
        await page.get_by_role("button", name="Actions for").click()
        await page.get_by_role("menuitem", name="Verify rows").click()
        dialog = page.get_by_role("dialog", name="Verify rows")
        await expect(dialog.get_by_role("radio", name="A sample")).to_be_checked()
        await dialog.get_by_text(choice, exact=True).click()
        await dialog.get_by_role("button", name="Verify").click()
        await page.wait_for_url(SYNC_PAGE)

    newest, *_ = await managed.stage.syncs(connection.id)
    assert newest.kind is Kind.VERIFY
    assert await managed.pool.fetchval("SELECT sample_pages FROM syncs WHERE id = $1", newest.id) == pages


async def test_what_differs_is_named(pool: Pool, look: Look) -> None:
    await add_compared(pool)
    async with look("/syncs/syn_1") as page:
        await expect(page.get_by_role("heading", level=2)).to_have_text("4 differences")
        rows = page.get_by_role("table", name="4 differences").get_by_role("row")
        await expect(rows).to_have_count(5)
        await expect(rows.nth(1)).to_contain_text("address.city, email, metadata.tier")
        await expect(rows.nth(2)).to_contain_text("Is missing here")
        await expect(rows.nth(4)).to_contain_text("Is not at Stripe")
        await expect(page.get_by_role("table", name="Compared by resource").get_by_role("row")).to_have_count(5)


async def test_what_waits_for_the_destination_is_not_called_lost(pool: Pool, look: Look) -> None:
    await add_compared(pool)
    await pool.execute(
        """INSERT INTO parked_records (destination_id, connection_id, resource, object_id, stamp, body, origin,
                                       is_deleted, topic, partition, record_offset, reason, next_try_at)
           SELECT destination_id, connection_id, resource, object_id, 1, '{}', 'event', false, 't', 0, id, 'away', now()
           FROM differences ORDER BY id LIMIT 2"""
    )
    async with look("/syncs/syn_1") as page:
        await expect(page.get_by_text("2 of these wait for")).to_be_visible()
        await expect(page.get_by_text("None of them was on its way")).to_have_count(0)
        await expect(page.get_by_text("waits for the destination")).to_have_count(2)
        await page.get_by_role("link", name="Warehouse").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Warehouse")


async def test_a_repair_is_asked_for_on_the_page(pool: Pool, look: Look) -> None:
    await add_compared(pool)
    async with look("/syncs/syn_1") as page:
        await page.get_by_role("button", name="Repair").click()
        await expect(page.get_by_role("row").nth(1)).to_contain_text("asked")
    assert await pool.fetchval("SELECT count(*) FROM refetches WHERE reason = 'repair'") == 4
    assert await pool.fetchval("SELECT count(*) FROM audit_log WHERE action = 'sync.repair_requested'") == 1


async def test_nothing_is_repaired_before_a_comparison_has_ended(pool: Pool, look: Look) -> None:
    await add_compared(pool, status="running")
    async with look("/syncs/syn_1") as page:
        await expect(page.get_by_role("heading", level=2)).to_have_text("4 differences")
        await expect(page.get_by_role("button", name="Repair")).to_have_count(0)
        await expect(page.get_by_role("link", name="Cancel")).to_be_visible()


async def test_equal_rows_are_said_to_be_so(pool: Pool, look: Look) -> None:
    await add_compared(pool)
    await pool.execute("DELETE FROM differences")
    await pool.execute("UPDATE comparisons SET different = 0, missing = 0, extra = 0")
    async with look("/syncs/syn_1") as page:
        await expect(page.locator("#no-differences")).to_have_text("No difference.")


async def test_many_differences_come_in_pages(pool: Pool, look: Look) -> None:
    await add_compared(pool)
    await pool.execute(
        """INSERT INTO differences (sync_id, connection_id, destination_id, resource, object_id, status, kind)
           SELECT 'syn_1', 'con_1', 'dst_1', 'charge', 'ch_' || n, 'confirmed', 'missing'
           FROM generate_series(1, 60) AS n"""
    )
    async with look("/syncs/syn_1") as page:
        await page.get_by_role("link", name="Next").click()
        await expect(page.get_by_text("ch_60")).to_be_visible()
        await expect(page.get_by_role("link", name="Next")).to_have_count(0)


async def test_everyone_can_read_what_differs(pool: Pool, look: Look) -> None:
    await add_history(pool)
    await pool.execute("UPDATE differences SET repaired_at = $1 WHERE kind = 'extra'", datetime.now(UTC))
    for path in ("/syncs/syn_h08", "/connections/con_d6r3/verify"):
        for width in (1280, 320):
            async with look(path, width=width, reduced_motion="reduce") as page:
                assert await axe_violations(page) == []
                assert await page.evaluate(OVERFLOW) == 0
