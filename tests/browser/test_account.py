"""The page of one account: its status, its pictures, its tables and its tabs."""

from __future__ import annotations

import pytest

from tests.browser.managed import Managed
from tests.browser.visit import OVERFLOW, THEMES, axe_violations

HIDDEN_TABS = "(tabs => tabs.scrollWidth - tabs.clientWidth)(document.querySelector('.tabs'))"
# Two hours of events and rows, as the writer's ledger keeps them.
EVENTS = """
INSERT INTO event_hours (connection_id, hour, events, delays)
SELECT $1, date_trunc('hour', now()) - n * interval '1 hour', 10 + n, array_fill(0, ARRAY[8]) || ARRAY[10 + n]
FROM generate_series(0, 1) AS n
"""
ROWS = """
INSERT INTO delivery_hours (connection_id, destination_id, resource, hour, inserted)
SELECT $1, l.destination_id, 'charge', date_trunc('hour', now()), 1234
FROM connection_destinations l WHERE l.connection_id = $1
"""


async def test_account_shows_its_events_delays_rows_and_tables(managed: Managed) -> None:
    connection = await managed.connected()
    await managed.pool.execute(EVENTS, connection.id)
    await managed.pool.execute(ROWS, connection.id)
    async with managed.look(f"/connections/{connection.id}") as page:
        titles = await page.locator(".chart figcaption b").all_inner_texts()
        assert [title.split(",")[0] for title in titles] == [
            "Events an hour",
            "Delay",
            "Rows written a day",
            "Calls to Stripe an hour",
        ]
        assert await page.locator(".chart").first.locator("desc").text_content() != ""
        assert "21 events" in await page.locator(".chart-words").first.inner_text()
        name = page.get_by_role("rowheader", name="Charges", exact=True)
        charges = page.locator(".account-tables tbody tr", has=name)
        assert await charges.locator("[data-label=Rows]").inner_text() == "1,234"
        assert await charges.get_by_role("img", name="1,234 rows in 14 days").count() == 1


async def test_account_without_events_says_so(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look(f"/connections/{connection.id}") as page:
        assert await page.locator(".chart-empty").all_inner_texts() == [
            "No events yet",
            "No delays yet",
            "No rows yet",
            "No calls yet",
        ]


async def test_every_tab_of_an_account_leads_to_a_page(managed: Managed) -> None:
    connection = await managed.connected()
    async with managed.look(f"/connections/{connection.id}") as page:
        tabs = page.get_by_role("navigation", name=connection.name or connection.account_name).get_by_role("link")
        addresses = [str(await tab.get_attribute("href")) for tab in await tabs.all()]
        assert len(addresses) == 6
        for address in addresses:
            answer = await page.goto(managed.url + address)
            assert answer is not None
            assert answer.status == 200, address


@pytest.mark.parametrize("theme", THEMES)
async def test_account_and_settings_can_be_used_by_everybody(managed: Managed, theme: str) -> None:
    connection = await managed.connected()
    await managed.pool.execute(EVENTS, connection.id)
    await managed.pool.execute(ROWS, connection.id)
    base = f"/connections/{connection.id}"
    for path in ("/", base, "/settings"):
        async with managed.look(path, theme=theme) as page:
            assert await axe_violations(page) == [], path
        for width in (320, 375, 768, 1280, 1920):
            async with managed.look(path, theme=theme, width=width) as page:
                assert await page.evaluate(OVERFLOW) <= 0, (path, width)
                assert await page.evaluate(HIDDEN_TABS) <= 0, (path, width)
