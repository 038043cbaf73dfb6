"""The user documentation, sentence by sentence, in a real browser against everything that runs.

Each step quotes the sentence that it proves. The simulated account is the one of the demo.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from services.console.secrets_file import load_secrets
from tests.browser.site import CHROMIUMS, FLAGS
from tests.e2e.commands import Command, started
from tests.e2e.rest import Rest

# One stack at a time: each has a broker, a database and six processes of its own.
pytestmark = pytest.mark.xdist_group("stack")

ACTION_WITHIN = 60.0  # seconds from the first failing call
RESUMED_WITHIN = 10.0  # seconds from the validated key to the next row
PATIENCE = 30_000  # milliseconds


class Person:
    """Somebody who uses the dashboard."""

    def __init__(self, command: Command, page: Page) -> None:
        self.command = command
        self.page = page
        self.rest = Rest(command.state().addresses["api_url"], load_secrets(command.home).api_token)
        self.control = command.control()

    @property
    def card(self) -> Locator:
        return self.page.locator("article.card").first

    def open_accounts(self) -> None:
        self.page.get_by_role("navigation", name="Main").get_by_role("link", name="Accounts").click()

    def choose(self, entry: str) -> None:
        """Click the three-dot menu on the connection, then the entry."""
        self.card.get_by_role("button", name=re.compile("actions|menu|options", re.IGNORECASE)).click()
        self.page.get_by_role("menuitem", name=entry).click()

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog")

    def new_key(self, *, without: str = "") -> str:
        """Create a new restricted key in the Stripe Dashboard."""
        key = str(self.control.post("keys", {})["secret"])
        if without:
            self.control.post(f"keys/{key}/revoke", {"permissions": [without]})
        return key

    def key_in_use(self) -> str:
        return str(self.control.get("keys")["keys"][-1]["secret"])

    def until(self, is_so: Callable[[], bool], *, within: float, what: str) -> float:
        """Wait and return how many seconds it took."""
        began = time.monotonic()
        while not is_so():
            assert time.monotonic() - began < within, f"{what} took longer than {within:g} s"
            time.sleep(0.1)
        return time.monotonic() - began


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    home: Path = tmp_path_factory.mktemp("documentation") / "demo"
    with started(home, "demo", "--objects", "1500", "--changes", "3") as command, sync_playwright() as playwright:
        command.wait_until_printed("Dashboard", within=120)
        link = re.search(r"http://\S+/sign-in/\S+", command.text())
        assert link
        path = next((found for name in CHROMIUMS if (found := shutil.which(name))), None)
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE)
        page.goto(link[0])
        page.get_by_role("button", name="Sign in").click()
        yield Person(command, page)
        browser.close()


def test_connection_shows_account_name_and_last_sync(person: Person) -> None:
    """“Stripe connections are managed from the Accounts page … The connection shows your Stripe account name and the
    last sync time.”
    """
    expect(person.page.get_by_role("heading", name="Accounts")).to_be_visible()
    expect(person.card.get_by_role("heading", name="Till Shop")).to_be_visible()
    expect(person.card).to_contain_text("Last sync")
    expect(person.card.get_by_text(re.compile("Live$"))).to_be_visible(timeout=PATIENCE)


def test_changes_come_in_automatically(person: Person) -> None:
    """“Stripe syncs in real time via webhooks. New charges, invoices, and account activity come in automatically.”"""
    before = person.rest.events()
    person.control.post("scenarios/renewal", {})

    def has_come() -> bool:
        return {"invoice.paid", "charge.succeeded"} <= {one.split()[0] for one in person.rest.events() - before}

    person.until(has_come, within=10, what="the renewal")


def test_revoked_key_makes_syncs_fail_and_says_so(person: Person) -> None:
    """“If your API key is revoked, rotated, or loses permissions, syncs start failing. Fix it by updating the key.”"""
    person.control.post(f"keys/{person.key_in_use()}/delete")
    person.choose("Sync now")
    expect(person.card.get_by_text("Action required")).to_be_visible(timeout=ACTION_WITHIN * 1000)
    expect(person.card).to_contain_text("API Key is invalid")
    expect(person.card.get_by_role("link", name="Update API Key")).to_be_visible()


def test_key_dialog_names_the_permissions_and_the_mistakes(person: Person) -> None:
    """“Required permissions”, “Use a restricted key (rk_live_...), not a secret key (sk_live_...)”, “"API Key is
    invalid": Make sure you copied the full key”, “"Missing permissions": … Write on Webhook Endpoints”.
    """
    person.choose("Update API Key")
    for permission, access in (
        ("All Core resources", "Read"),
        ("All Connect resources", "Read"),
        ("All Billing resources", "Read"),
        ("Webhook Endpoints", "Write"),
    ):
        row = person.dialog.locator("table.permissions tr", has_text=permission)
        expect(row).to_contain_text(access)
    field = person.dialog.get_by_label("Restricted key")
    update = person.dialog.get_by_role("button", name="Update Key")
    expect(update).to_be_disabled()
    for text, said in (
        ("sk_live_" + "a1" * 20, "This is a secret key"),
        ("rk_live_" + "zZ9" * 20, "API Key is invalid"),
        (person.new_key(without="rak_webhook_write"), "Missing permissions"),
    ):
        field.fill(text)
        if update.is_enabled():
            update.click()  # it checks the key first, and keeps none that does not pass
        expect(person.dialog.get_by_text(said).first).to_be_visible()
    person.page.keyboard.press("Escape")
    expect(person.dialog).to_have_count(0)


def test_key_is_updated_and_syncing_picks_back_up(person: Person) -> None:
    """“Click the three-dot menu (⋮) … Select Update API Key … paste it into the dialog … Click Update Key … Syncing
    picks back up once the new key is validated.”
    """
    person.choose("Update API Key")
    person.dialog.get_by_label("Restricted key").fill(f"  {person.new_key()} ")
    person.dialog.get_by_role("button", name="Update Key").click()
    expect(person.dialog).to_have_count(0)
    person.until(
        lambda: (
            person.rest.newest_sync()["trigger"] == "key updated" and person.rest.newest_sync()["status"] == "succeeded"
        ),
        within=RESUMED_WITHIN,
        what="the first sync with the new key",
    )
    expect(person.card.get_by_text(re.compile("Live$"))).to_be_visible()


def test_history_of_syncs_has_times_and_outcomes(person: Person) -> None:
    """“View syncs: See a history of all syncs for this connection, including timestamps and whether they succeeded or
    failed.”
    """
    person.choose("View syncs")
    expect(person.page.get_by_role("heading", name=re.compile("Syncs"))).to_be_visible()
    table = person.page.get_by_role("table").first
    expect(table.get_by_text("Succeeded").first).to_be_visible()
    assert table.locator("time[datetime]").count() > 0
    person.open_accounts()


def test_start_date_is_set(person: Person) -> None:
    """“Set sync start date: Control how far back … pulls historical data. If you only need recent data, set a more
    recent start date to keep your destination focused.”
    """
    person.choose("Set sync start date")
    expect(person.dialog).to_contain_text("keep your destination focused")
    person.dialog.get_by_text("90 days").click()
    expect(person.dialog.locator("#estimate")).to_contain_text("rows of older objects")
    person.dialog.get_by_role("button", name="Save").click()
    expect(person.dialog).to_have_count(0)
    assert person.rest.get("/v1/connections")["data"][0]["start_date"] is not None


def test_connection_is_removed_for_good(person: Person) -> None:
    """“Remove connection: Permanently disconnect Stripe … This removes the connection and all associated data.
    … You’ll need to create a new restricted key and go through the setup process again”.
    """
    person.choose("Remove connection")
    remove = person.dialog.get_by_role("button", name="Remove connection")
    expect(remove).to_be_disabled()
    person.dialog.get_by_text("Delete them").click()
    person.dialog.get_by_label("Type Till Shop").fill("Till Shop")
    remove.click()
    person.page.wait_for_url(re.compile("/removals/"))
    removal_id = person.page.url.rpartition("/")[2]
    person.until(
        lambda: bool(person.rest.get(f"/v1/removals/{removal_id}")["is_done"]), within=PATIENCE / 1000, what="removal"
    )
    assert person.rest.get("/v1/connections")["data"] == []
    person.open_accounts()
    expect(person.page.get_by_role("link", name=re.compile("Connect"))).not_to_have_count(0)


def test_connecting_again_is_the_set_up_once_more(person: Person) -> None:
    """“Create a Destination … Set up where your data syncs to”, and at most a minute from the key to the first row."""
    person.page.get_by_role("link", name=re.compile("Connect")).first.click()
    person.page.get_by_role("button", name="Continue").click()
    began = time.monotonic()
    person.page.get_by_label("Restricted key").fill(person.new_key())
    person.page.get_by_role("button", name="Check").click()
    go_on = person.page.get_by_role("button", name="Continue")
    expect(go_on).to_be_enabled()
    go_on.click()
    person.page.get_by_role("button", name="Connect", exact=True).click()
    expect(person.card.get_by_role("heading", name="Till Shop")).to_be_visible()
    person.until(lambda: person.rest.get("/v1/connections")["data"][0]["rows_today"] > 0, within=60, what="a row")
    assert time.monotonic() - began < 60
