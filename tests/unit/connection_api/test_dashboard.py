from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.connection_api.account_filter import HomeFilter, View
from services.connection_api.dashboard.assets import Assets
from services.connection_api.dashboard.charts.pictures import seconds_text
from services.connection_api.dashboard.dashboard import add_dashboard, always
from services.connection_api.dashboard.feed import Feed, Parts, Snapshots, event
from services.connection_api.dashboard.pages import Pages, relative_time
from services.connection_api.overview import Card, Place, make_backfill, show_address
from services.connection_api.status import Status, Tone, Word
from services.connection_api.views.home import Line, Listed
from shared.connections import LiveBy, State
from shared.errors import AuthError, DatabaseUnavailableError
from shared.http import Access, add_route, make_app
from shared.sync_progress import Counts, ResourceProgress
from shared.syncs import Status as SyncStatus
from tests.eventually import eventually

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
LIVE = Status(Word.LIVE, "All is written within seconds.", Tone.GOOD, "live")
BROWSER = {"Accept": "text/html,*/*;q=0.8"}


def make_card(name: str = "Halcyon Coffee", **changes: Any) -> Card:
    values: dict[str, Any] = {
        "id": "con_1",
        "account_id": "acct_1",
        "account_name": name,
        "name": name,
        "livemode": True,
        "live_by": LiveBy.WEBHOOKS,
        "status": LIVE,
        "created_at": NOW,
        "start_date": None,
        "last_synced_at": NOW - timedelta(seconds=12),
        "rows_today": 12_345,
        "rows": 98_765,
        "places": (Place("dst_1", "Warehouse", "db.example/analytics · stripe"),),
        "backfill": None,
        "state": State.ACTIVE,
        "owed": (),
    }
    return Card(**values | changes)


def render(*cards: Card, view: View = View.CARDS) -> str:
    lines = tuple(Line(card, 0.4) for card in cards)
    listed = Listed(lines, HomeFilter(), view, len(lines))
    return Pages(Assets().url, lambda: NOW).text("cards.html", accounts=listed, seconds=seconds_text)


def sync_row(*resources: str) -> dict[str, Any]:
    return {"sync_id": "syn_1", "sync_cause": None, "sync_resources": list(resources), "sync_finished_at": None}


class Reader:
    """Gives the pages it is told to, and counts how often it was asked."""

    def __init__(self, *cards: Card) -> None:
        self.cards = cards
        self.error: DatabaseUnavailableError | None = None
        self.calls = 0

    async def read(self, _wanted: HomeFilter) -> Parts:
        self.calls += 1
        if self.error:
            raise self.error
        return {"cards": self.cards, "state": len(self.cards)}


def make_feed(reader: Reader, **options: float) -> Feed:
    snapshots = Snapshots(reader.read, interval_seconds=0)

    def render_part(name: str, part: Any, _request: web.Request) -> str:
        return "\n".join(card.account_name for card in part) if name == "cards" else f"{part} accounts"

    return Feed(snapshots, render_part, always, interval_seconds=0.01, **options)


def feed_client(feed: Feed) -> TestClient[web.Request, web.Application]:
    app = make_app(ready={})
    app.on_shutdown.append(feed.close)
    add_route(app, "GET", "/events", feed.stream, Access.READ)
    return TestClient(TestServer(app))


async def next_event(response: Any) -> str:
    async with asyncio.timeout(5):
        return (await response.content.readuntil(b"\n\n")).decode()


def test_a_card_says_name_mode_status_and_rows() -> None:
    html = render(make_card())

    for text in (
        "Halcyon Coffee",
        "acct_1",
        "Live mode",
        "12 s ago",
        "4 Mar 2026, 11:59:48 UTC",
        "12,345",
        "Warehouse",
    ):
        assert text in html


def test_a_list_says_the_same_in_a_row() -> None:
    html = render(make_card(), view=View.LIST)

    for text in ("Halcyon Coffee", "Live", "0.4 s", "98,765", "12,345", "Warehouse", "Actions for Halcyon Coffee"):
        assert text in html
    assert html.count("aria-sort=") == 1
    assert 'href="/?sort=-rows"' in html


@pytest.mark.parametrize("view", View)
def test_markup_in_an_account_name_is_text(view: View) -> None:
    html = render(make_card("<script>alert(1)</script>"), view=view)

    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_no_connection_leads_to_the_next_action() -> None:
    html = render()

    assert "No Stripe account is connected yet" in html
    assert 'href="/connect"' in html


def test_nothing_needs_an_inline_style_or_script() -> None:
    html = render(make_card())

    assert "style=" not in html
    assert "onclick" not in html


def test_a_destination_is_shown_without_its_user() -> None:
    settings = {"host": "db.example", "port": 6543, "database": "a", "user": "secret", "schema": "s"}

    assert show_address(settings) == "db.example:6543/a · s"


def test_a_backfill_shows_what_is_planned_and_what_is_read() -> None:
    progress = [ResourceProgress("charge", 0.5, 10, False, None, None, Counts(inserted=7, updated=2))]
    backfill = make_backfill(sync_row("customer", "charge"), SyncStatus.RUNNING, progress)

    assert [(line.label, line.percent, line.written) for line in backfill.lines] == [
        ("Charges", 50, 9),
        ("Customers", 0, 0),
    ]
    assert backfill.percent == 25


def test_a_finished_backfill_leads_to_what_can_be_asked() -> None:
    progress = [ResourceProgress("charge", 1, 3, True, None, None, Counts(inserted=3))]
    backfill = make_backfill(sync_row("charge"), SyncStatus.SUCCEEDED, progress)
    html = render(make_card(backfill=backfill))

    assert backfill.percent == 100
    assert 'href="/connections/con_1#arrival"' in html
    assert '<span class="number">98,765</span> rows in 1 table' in html


def test_a_backfill_of_a_part_leads_to_its_sync() -> None:
    progress = [ResourceProgress("charge", 1, 3, True, None, None, Counts(inserted=3))]
    row = sync_row("charge") | {"sync_trigger": "connect", "synced": 23}
    html = render(make_card(backfill=make_backfill(row, SyncStatus.SUCCEEDED, progress)))

    assert 'href="/syncs/syn_1"' in html
    assert '<span class="number">3</span> records' in html


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "just now"),
        (1, "just now"),
        (59, "59 s ago"),
        (60, "1 min ago"),
        (7200, "2 h ago"),
        (86400, "1 day ago"),
        (200_000, "2 days ago"),
    ],
)
def test_times_are_told_from_now(seconds: int, text: str) -> None:
    assert relative_time(NOW - timedelta(seconds=seconds), NOW) == text


def test_an_event_keeps_lines_apart() -> None:
    assert event("cards", "a\nb") == "event: cards\ndata: a\ndata: b\n\n"


async def test_the_feed_sends_only_what_has_changed() -> None:
    reader = Reader(make_card("First"))
    async with feed_client(make_feed(reader)) as client, client.get("/events") as response:
        assert "data: First" in await next_event(response)
        assert "data: 1 accounts" in await next_event(response)
        seen = reader.calls
        await eventually(lambda: reader.calls > seen + 2, what="another look")
        reader.cards = (make_card("Second"),)

        assert await next_event(response) == "event: cards\ndata: Second\n\n"
        reader.cards = (make_card("Second"), make_card("Third"))
        assert "data: Third" in await next_event(response)
        assert "data: 2 accounts" in await next_event(response)


async def test_a_quiet_feed_keeps_its_connection_open() -> None:
    async with feed_client(make_feed(Reader(), heartbeat_seconds=0.02)) as client, client.get("/events") as response:
        await next_event(response)
        await next_event(response)

        assert (await next_event(response)).startswith(":")


async def test_the_feed_outlives_an_outage_of_the_database() -> None:
    reader = Reader(make_card("First"))
    async with feed_client(make_feed(reader)) as client, client.get("/events") as response:
        await next_event(response)
        await next_event(response)
        reader.error = DatabaseUnavailableError("It is away.")
        assert await next_event(response) == "event: trouble\ndata: It is away.\n\n"
        reader.error = None
        while "trouble" in (message := await next_event(response)):
            pass

        assert "data: First" in message


async def test_closing_the_service_ends_the_feed() -> None:
    feed = make_feed(Reader())
    async with feed_client(feed) as client, client.get("/events") as response:
        await next_event(response)
        await next_event(response)
        await feed.close(web.Application())

        async with asyncio.timeout(5):
            assert await response.content.read() == b""


async def test_many_pages_are_read_from_the_database_once() -> None:
    reader = Reader()
    snapshots = Snapshots(reader.read, interval_seconds=60)
    await asyncio.gather(*(snapshots.get(HomeFilter()) for _ in range(50)))

    assert reader.calls == 1


class TestPages:
    @pytest.fixture
    def app(self) -> web.Application:
        def no_pool() -> None:
            raise DatabaseUnavailableError("Tillstream's database does not answer.")

        app = make_app(ready={})
        add_dashboard(app, no_pool)
        return app

    async def test_a_person_gets_a_page_and_a_program_a_problem(self, app: web.Application) -> None:
        async with TestClient(TestServer(app)) as client:
            page = await client.get("/nowhere", headers=BROWSER)
            problem = await client.get("/nowhere")

            assert (page.status, page.content_type) == (404, "text/html")
            assert "Page not found" in await page.text()
            assert (problem.status, problem.content_type) == (404, "application/problem+json")

    async def test_an_outage_is_explained_and_names_its_request(self, app: web.Application) -> None:
        async with TestClient(TestServer(app)) as client:
            page = await client.get("/", headers=BROWSER)
            text = await page.text()

            assert page.status == 503
            assert page.headers["Retry-After"] == "1"
            assert "Nothing is lost" in text
            assert "req_" in text

    async def test_who_is_not_signed_in_learns_how(self, app: web.Application) -> None:
        async def refuse(_request: web.Request) -> web.Response:
            raise AuthError

        add_route(app, "GET", "/closed", refuse, Access.READ)
        async with TestClient(TestServer(app)) as client:
            page = await client.get("/closed", headers=BROWSER)

            assert page.status == 401
            assert "tillstream sign-in" in await page.text()

    async def test_static_files_are_kept_under_addresses_of_their_content(self, app: web.Application) -> None:
        async with TestClient(TestServer(app)) as client:
            fixed = await client.get(Assets().url("app.css"))
            plain = await client.get("/static/app.css")
            again = await client.get("/static/app.css", headers={"If-None-Match": plain.headers["ETag"]})

            assert fixed.content_type == "text/css"
            assert "immutable" in fixed.headers["Cache-Control"]
            assert plain.headers["Cache-Control"] == "no-cache"
            assert again.status == 304

    @pytest.mark.parametrize("name", ["nothing.css", "..%2Fpages.py", "%2e%2e%2fapp.py"])
    async def test_only_static_files_can_be_asked_for(self, app: web.Application, name: str) -> None:
        async with TestClient(TestServer(app)) as client:
            assert (await client.get(f"/static/{name}")).status == 404
