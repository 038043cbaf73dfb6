"""An account's data in a browser: from its tables to a row, and what can be done with one object."""

from __future__ import annotations

import pytest

from services.destination_writer.destinations import Account
from shared.connections import Connection
from tests.browser.managed import Managed
from tests.browser.visit import OVERFLOW, THEMES, axe_violations
from tests.factories import make_winner
from tests.integration.destination_writer.postgres_rows import InspectedPostgres

SECOND = 1_764_000_000
EVENTS = """
INSERT INTO event_log (connection_id, event_id, type, resource, object_id, created, outcome, received_at)
SELECT $1, 'evt_' || n, 'charge.' || t, 'charge', 'ch_1Gg64gQCl95bs5TxSwI83001', n, o, now() - interval '1 second'
FROM (VALUES (1, 'succeeded', 'inserted'), (2, 'updated', 'updated'), (3, 'updated', 'ignored')) AS v (n, t, o)
"""
PATHS = (
    "",
    "/charges",
    "/charges?status=failed",
    "/charges?q=nothing",
    "/charges/ch_1Gg64gQCl95bs5TxSwI83001",
    "/payouts",
)


async def filled(managed: Managed, database_url: str) -> Connection:
    """Connect an account whose destination has rows, and events of one of them."""
    connection = await managed.connected()
    rows = InspectedPostgres(database_url, "copy")
    account = Account(connection.account_id, connection.livemode)
    told = {
        "currency": "usd",
        "customer": "cus_OYf6r2l9bs5TxQ",
        "payment_method": "pm_1Gg64gQCl95bs5TxSw",
        "paid": True,
    }
    charges = [
        make_winner(
            f"ch_1Gg64gQCl95bs5TxSwI83{number:03}",
            resource="charge",
            created=SECOND + 60 * number,
            amount=6300 + 17 * number,
            status="failed" if number % 7 == 0 else "succeeded",
            description="Order 1234 of the spring collection" if number % 3 else None,
            metadata={"order": f"{number}"},
            **told,
        )
        for number in range(1, 121)
    ]
    refund = make_winner("re_1", resource="refund", created=SECOND, charge="ch_1Gg64gQCl95bs5TxSwI83001", amount=5)
    await rows.write(account, [*charges, refund])
    await managed.pool.execute(EVENTS, connection.id)
    await rows.close()
    return connection


async def test_a_person_comes_from_the_account_to_one_object_and_back(managed: Managed, database_url: str) -> None:
    connection = await filled(managed, database_url)
    async with managed.look(f"/connections/{connection.id}") as page:
        await page.get_by_role("link", name="Data", exact=True).click()
        await page.get_by_role("rowheader", name="Charges", exact=True).get_by_role("link").click()
        assert await page.locator(".data-table tbody tr").count() == 100
        await page.get_by_role("link", name="Older").click()
        assert await page.locator(".data-table tbody tr").count() == 20
        await page.get_by_label("Id or customer").fill("ch_1Gg64gQCl95bs5TxSwI83001")
        await page.keyboard.press("Enter")
        await page.locator(".row-link").click()
        assert await page.locator("#history + .table-panel tbody tr").count() == 3
        await page.get_by_role("link", name="re_1").click()
        await page.get_by_role("link", name="ch_1Gg64gQCl95bs5TxSwI83001").click()
        await page.get_by_role("button", name="Sync again").click()
        await page.wait_for_url("**/syncs/*")
        assert "ch_1Gg64gQCl95bs5TxSwI83001" in await page.locator("main").inner_text()


async def test_the_search_is_used_by_keyboard_alone(managed: Managed, database_url: str) -> None:
    connection = await filled(managed, database_url)
    async with managed.look("/events") as page:
        await page.keyboard.press("/")
        await page.locator("#search-q:focus").wait_for()
        assert await axe_violations(page) == []
        await page.keyboard.type("till")
        await page.locator(".found a", has_text=connection.account_name).first.wait_for()
        await page.keyboard.press("Escape")
        assert not await page.locator("#dialog").is_visible()
        await page.keyboard.press("Control+k")
        await page.locator("#search-q:focus").wait_for()
        await page.keyboard.type("ch_1Gg64gQCl95bs5TxSwI83001")
        await page.locator(".found a", has_text="ch_1Gg64gQCl95bs5TxSwI83001").wait_for()
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/data/charges/ch_1Gg64gQCl95bs5TxSwI83001*")


@pytest.mark.parametrize("theme", THEMES)
async def test_data_can_be_used_by_everybody(managed: Managed, database_url: str, theme: str) -> None:
    connection = await filled(managed, database_url)
    for path in PATHS:
        async with managed.look(f"/connections/{connection.id}/data{path}", theme=theme) as page:
            assert await axe_violations(page) == [], path
            for width in (320, 375, 768, 1280, 1920):
                await page.set_viewport_size({"width": width, "height": 900})
                assert await page.evaluate(OVERFLOW) <= 0, (path, width)
