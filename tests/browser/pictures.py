"""What is photographed for the documentation: every page and every dialog, in a state that is worth a look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from playwright.async_api import Page

from tests.browser.alarm_sample import add_alarms
from tests.browser.managed import Managed

Act = Callable[[Page, Managed], Awaitable[None]]


@dataclass(frozen=True)
class Picture:
    """A page, and what is done there before it is photographed."""

    name: str
    path: str
    act: Act | None = None
    height: int = 860


async def nothing(_page: Page, _managed: Managed) -> None:
    """Take the page as it is."""


def menu_entry(name: str, then: Act = nothing) -> Act:
    """Open a dialog from the ⋮ menu of the simulated account."""

    async def act(page: Page, managed: Managed) -> None:
        await page.get_by_role("button", name="Actions for Till Shop").click()
        await page.get_by_role("menuitem", name=name).click()
        await page.wait_for_selector("#dialog[open] .dialog-head")
        await then(page, managed)

    return act


async def open_menu(page: Page, _managed: Managed) -> None:
    """Open the ⋮ menu."""
    await page.locator("#con_b4m7-menu").click()


def check_key(*missing: str) -> Act:
    """Check a key that lacks `missing`."""

    async def act(page: Page, managed: Managed) -> None:
        await page.get_by_label("Restricted key", exact=True).fill(managed.make_key(*missing))
        await page.get_by_role("button", name="Check", exact=True).click()
        await page.wait_for_selector(".report")

    return act


async def add_alarm_dialog(page: Page, _managed: Managed) -> None:
    """Open the form of a new alarm."""
    await page.get_by_role("link", name="Add alarm").click()
    await page.wait_for_selector("#dialog[open] .dialog-head")


async def show_alarms(page: Page, managed: Managed) -> None:
    """Have alarms with messages; the other theme has them already."""
    if not await managed.pool.fetchval("SELECT count(*) FROM alarm_channels"):
        await add_alarms(managed.pool)
    await page.reload()


async def make_token(page: Page, _managed: Managed) -> None:
    """Open the form of a new token."""
    await page.get_by_role("link", name="Make token").click()
    await page.wait_for_selector("#dialog[open] .dialog-head")


async def choose_a_year(page: Page, _managed: Managed) -> None:
    """Choose a start date, and wait for what it costs."""
    await page.get_by_text("1 year").click()
    await page.wait_for_selector(".estimate-line")


async def leave_out(page: Page, _managed: Managed) -> None:
    """Add a resource and a destination, and leave out personal data."""
    await page.get_by_role("checkbox", name="Setup intents").check()
    await page.get_by_role("button", name="Customers", exact=True).click()
    await page.get_by_role("checkbox", name="Analytics").check()
    await page.get_by_text("Analytics gets all history.").wait_for()
    await page.locator("#dialog").evaluate("(dialog) => dialog.scrollTo(0, dialog.scrollHeight)")


async def tick_invoices(page: Page, _managed: Managed) -> None:
    """Choose what is read again."""
    await page.get_by_role("checkbox", name="Invoices").check()


async def test_address(page: Page, managed: Managed) -> None:
    """Try the address of a new destination."""
    await page.get_by_label("Name").fill("Warehouse")
    url = managed.stage.settings.database_url.get_secret_value()
    await page.get_by_label("Address of the Postgres database").fill(url)
    await page.get_by_role("button", name="Test", exact=True).click()
    await page.wait_for_selector(".probe-steps")
    await page.get_by_label("Address of the Postgres database").fill(
        "postgresql://tillstream:…@127.0.0.1:5432/analytics"
    )


async def wait_for_estimate(page: Page, _managed: Managed) -> None:
    """Wait for what the start date costs."""
    await page.wait_for_selector(".estimate-line")


async def replay_dialog(page: Page, _managed: Managed) -> None:
    """Ask to replay the letters of the first cause."""
    await page.get_by_role("link", name="Replay 417 records").click()
    await page.wait_for_selector("#dialog[open] .dialog-head")


async def rebuild_dialog(page: Page, _managed: Managed) -> None:
    """Ask to rebuild a destination."""
    await page.get_by_role("link", name="Rebuild destination").click()
    await page.wait_for_selector("#dialog[open] .dialog-head")


# Of a service to which nothing is connected.
EMPTY = (
    Picture("accounts-empty", "/", height=620),
    Picture("connect-destination", "/connect", test_address, height=1000),
    Picture("dead-letters-empty", "/dead-letters", height=480),
    Picture("sign-in", "/sign-in", height=480),
    Picture("not-found", "/nowhere", height=520),
)
# Of a service with one simulated account; {destination} and {setup} are ids.
CONNECTED = (
    Picture("connect-key", "/connect/key?destination_id={destination}", check_key(), height=900),
    Picture("connect-start", "/connect/{setup}", wait_for_estimate),
    Picture("update-key", "/", menu_entry("Update API Key", check_key()), height=760),
    Picture("update-key-missing", "/", menu_entry("Update API Key", check_key("rak_charge_read")), height=860),
    Picture("start-date", "/", menu_entry("Set sync start date", choose_a_year)),
    Picture("what-is-synced", "/", menu_entry("What is synced", leave_out)),
    Picture("sync-again", "/", menu_entry("Sync again", tick_invoices), height=760),
    Picture("verify", "/", menu_entry("Verify rows"), height=620),
    Picture("rotate-secret", "/", menu_entry("Rotate webhook secret"), height=560),
    Picture("pause", "/", menu_entry("Pause"), height=560),
    Picture("remove", "/", menu_entry("Remove connection")),
    Picture("settings", "/settings", height=1700),
    Picture("alarm-new", "/settings/alarms", add_alarm_dialog, height=900),
    Picture("alarms", "/settings/alarms", show_alarms, height=820),
    Picture("tokens", "/settings/tokens", make_token, height=620),
    Picture("sessions", "/settings/sessions", height=520),
)
# Of a service with many accounts and a history.
BUSY = (
    Picture("accounts", "/?view=cards", height=1180),
    Picture("accounts-list", "/?view=list", height=1180),
    Picture("menu", "/?view=cards", open_menu),
    Picture("account", "/connections/con_b4m7", height=1180),
    Picture("syncs", "/syncs"),
    Picture("sync", "/syncs/syn_a9x2"),
    Picture("differences", "/syncs/syn_h08", height=1180),
    Picture("events", "/events"),
    Picture("event", "/events/con_b4m7/{event}"),
    Picture("dead-letters", "/dead-letters", height=620),
    Picture("dead-letter-group", "/dead-letters/groups/{group}"),
    Picture("dead-letter", "/dead-letters/{letter}", height=940),
    Picture("dead-letter-replay", "/dead-letters", replay_dialog, height=620),
    Picture("destinations", "/destinations"),
    Picture("destination", "/destinations/dst_1", height=1430),
    Picture("rebuild", "/destinations/dst_1", rebuild_dialog, height=620),
    Picture("removals", "/removals"),
    Picture("removal", "/removals/{removal}"),
    Picture("reference", "/reference"),
)
