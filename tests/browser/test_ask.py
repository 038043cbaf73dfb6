"""Ask: a question is run in place, its SQL is copied, and everybody can do so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.async_api import expect

from services.destination_writer.destinations import Account
from shared.connections import Connection
from tests.browser.managed import Managed
from tests.browser.visit import OVERFLOW, THEMES, axe_violations
from tests.factories import make_winner
from tests.integration.destination_writer.postgres_rows import InspectedPostgres

ROWS = """
INSERT INTO delivery_hours (connection_id, destination_id, resource, hour, inserted)
SELECT $1, l.destination_id, 'charge', date_trunc('hour', now()), 1234
FROM connection_destinations l WHERE l.connection_id = $1
"""
FAILED = {
    "status": "failed", "currency": "usd", "created": 1_700_000_000, "failure_code": "card_declined",
    "failure_message": "Your card was declined.", "customer": "cus_Qh9xK2mT4", "receipt_email": "ada@example.com",
}  # fmt: skip


async def with_rows(managed: Managed) -> Connection:
    connection = await managed.connected()
    await managed.pool.execute(ROWS, connection.id)
    destination = InspectedPostgres(managed.stage.settings.database_url.get_secret_value(), "copy")
    charges = [make_winner(f"ch_3Nf{n:021}", resource="charge", amount=123_456 + n, **FAILED) for n in range(3)]
    await destination.write(Account(connection.account_id, connection.livemode), charges)
    await destination.extend()
    await destination.close()
    return connection


async def test_a_question_is_run_in_place(managed: Managed) -> None:
    connection = await with_rows(managed)
    async with managed.look(f"/connections/{connection.id}/ask") as page:
        failed = page.get_by_role("region", name="Failed payments")
        await failed.get_by_role("link", name="Run Failed payments").click()
        await expect(failed.get_by_role("row")).to_have_count(4)
        await expect(failed.get_by_role("cell", name="1,234.58")).to_be_visible()
        await expect(failed).to_contain_text("3 rows")
        mrr = page.get_by_role("region", name="MRR")
        await mrr.get_by_role("link", name="Run MRR").click()
        await expect(mrr).to_contain_text("no row fits this question")


async def test_the_accounts_page_leads_to_an_answer(managed: Managed) -> None:
    connection = await with_rows(managed)
    async with managed.look(f"/connections/{connection.id}") as page:
        await page.get_by_role("link", name="Failed payments", exact=True).click()
        await expect(page.get_by_role("region", name="Failed payments").get_by_role("row")).to_have_count(4)


async def test_sql_is_copied(managed: Managed) -> None:
    connection = await with_rows(managed)
    async with managed.look(f"/connections/{connection.id}/ask") as page:
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await page.get_by_role("button", name="Copy SQL of MRR").click()
        await expect(page.locator("#toast")).to_contain_text("Copied")
        copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("-- MRR.")
    assert f"'{connection.account_id}'" in copied


async def test_an_account_without_rows_says_so(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look(f"/connections/{connection.id}/ask") as page:
        await expect(page.get_by_role("heading", name="No rows yet")).to_be_visible()


@pytest.mark.parametrize("theme", THEMES)
async def test_everybody_can_ask(managed: Managed, theme: str) -> None:
    connection = await with_rows(managed)
    for number, path in enumerate(("/ask", "/ask/failed_payments")):
        async with managed.look(f"/connections/{connection.id}{path}", theme=theme) as page:
            await page.get_by_text("SQL of MRR").last.click()
            await expect(page.get_by_role("region", name="Amounts in your own SQL")).to_contain_text("v_charges")
            assert await axe_violations(page) == [], path
        for width in (320, 375, 768, 1280, 1920):
            async with managed.look(f"/connections/{connection.id}{path}", theme=theme, width=width) as page:
                await expect(page.locator("#found-views .sql")).to_be_visible()
                assert await page.evaluate(OVERFLOW) <= 0, (path, width)
                if seen := os.environ.get("SEEN"):
                    await page.screenshot(path=Path(seen) / f"ask-{number}-{theme}-{width}.png", full_page=True)
