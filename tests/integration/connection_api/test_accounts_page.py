"""The Accounts page of a large installation: its size and what the server needs for it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.connection_api.account_filter import COLUMNS, AccountFilter, HomeFilter, View
from services.connection_api.overview import Overview
from services.connection_api.status import Word
from services.connection_api.views.home import Home, Listed, State
from services.connection_api.views.standings import Standings, read_standings
from shared.db import Pool, make_pool
from tests.browser.sample import (
    DONE,
    add_backfill,
    add_business,
    add_connection,
    add_destination,
    add_stop,
    park,
)
from tests.browser.site import make_dashboard

ACCOUNTS = 200
LARGEST_PAGE = 70_000  # bytes, before compression
SLOWEST = 0.3  # seconds, of the fastest of some tries: a test machine has other work
TRIES = 5

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await make_pool(database_url)
    yield pool
    pool.terminate()


@pytest.fixture
async def many(pool: Pool) -> Pool:
    await add_destination(pool)
    now = datetime.now(UTC)
    for number in range(ACCOUNTS):
        connection_id = f"con_{number:03}"
        state = ("active", "paused", "action_required")[number % 3]
        await add_connection(pool, connection_id, f"Account {number:03}", state=state, synced_at=now, rows_today=1)
        await add_backfill(pool, connection_id, DONE, status="succeeded")
    return pool


async def test_a_page_of_200_accounts_is_small_and_fast(many: Pool) -> None:
    async with TestClient(TestServer(make_dashboard(many))) as client:
        seconds = []
        for number in range(TRIES):
            started = time.perf_counter()
            # Another question each time, since an answer is kept for a second.
            answer = await client.get("/", params={"view": "cards", "q": "account"[: number + 2]})
            body = await answer.read()
            seconds.append(time.perf_counter() - started)
        listed = await (await client.get("/", params={"view": "list"})).read()

    assert body.count(b"<article") == 25
    assert listed.count(b'<th scope="row"><a href="/connections/') == 50
    assert len(listed) <= LARGEST_PAGE
    assert len(body) <= LARGEST_PAGE
    assert min(seconds) <= SLOWEST


class Counting:
    """A pool that counts what it is asked."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        if name in ("fetch", "fetchrow", "fetchval"):
            self.asked += 1
        return getattr(self._pool, name)


def listed(parts: Mapping[str, object]) -> list[str]:
    cards = parts["cards"]
    assert isinstance(cards, Listed)
    return [card.account_name for card in cards.cards]


def make_home(pool: Any) -> Home:
    return Home(lambda: pool, lambda: datetime.now(UTC))


async def test_what_needs_somebody_comes_first_and_is_cut(many: Pool) -> None:
    await park(many, "con_000", 3, datetime.now(UTC) - timedelta(minutes=18))
    parts = await make_home(many).read(HomeFilter())
    state = parts["state"]
    assert isinstance(state, State)
    dead = [number for number in range(ACCOUNTS) if number % 3 == 2]
    assert state.counts == ((Word.LIVE, 66), (Word.ACTION_REQUIRED, 66), (Word.DELAYED, 1), (Word.PAUSED, 67))
    assert [one.name for one in state.needing] == [f"Account {number:03}" for number in dead[:10]]
    assert dict(state.left_out) == {Word.ACTION_REQUIRED: 66, Word.DELAYED: 1}
    assert listed(parts) == [f"Account {number:03}" for number in dead[:50]]
    second = listed(await make_home(many).read(HomeFilter(page=2)))
    assert second[:18] == [*(f"Account {number:03}" for number in dead[50:]), "Account 000", "Account 001"]


async def test_pages_of_the_list_hold_every_account_once(many: Pool) -> None:
    home = make_home(many)
    for sort in (None, *COLUMNS, *(f"-{column}" for column in COLUMNS)):
        found = [name for page in range(1, 6) for name in listed(await home.read(HomeFilter(sort=sort, page=page)))]
        assert sorted(found) == [f"Account {number:03}" for number in range(ACCOUNTS)], sort


async def test_the_list_is_sorted_by_what_is_asked_for(pool: Pool) -> None:
    await add_destination(pool)
    await add_destination(pool, "dst_2", "Attic")
    for number, (name, place) in enumerate((("A", "dst_1"), ("B", "dst_2"), ("C", "dst_1"))):
        await add_connection(pool, f"con_{name}", name, rows_today=(7, 9, 8)[number], destination_id=place)
    await pool.execute(
        "INSERT INTO delivery_hours (connection_id, destination_id, resource, hour, inserted)"
        " VALUES ('con_A', 'dst_1', 'charge', now() - interval '9 days', 100)"
    )
    await pool.execute("INSERT INTO resource_news VALUES ('con_C', 'charge', 2, 0.4), ('con_C', 'refund', 1, 99)")
    await pool.execute("INSERT INTO resource_news VALUES ('con_B', 'charge', 2, 3)")
    await pool.execute(
        "INSERT INTO syncs (id, connection_id, kind, trigger, status, resources, finished_at)"
        " VALUES ('syn_v', 'con_B', 'verify', 'requested', 'succeeded', '{charge}', now())"
    )
    home = make_home(pool)

    async def by(sort: str) -> str:
        return "".join(listed(await home.read(HomeFilter(sort=sort))))

    assert await by("-rows") == "ABC"
    assert await by("-today") == "BCA"
    assert await by("today") == "ACB"
    assert await by("-behind") == "BCA"
    assert await by("behind") == "CBA"
    assert await by("-verified") == "BAC"
    assert await by("destination") == "BAC"
    assert await by("-name") == "CBA"
    cards = (await home.read(HomeFilter(view=View.LIST, sort="name")))["cards"]
    assert isinstance(cards, Listed)
    assert [line.behind for line in cards.lines] == [None, 3, 0.4]


async def test_queries_do_not_grow_with_accounts(many: Pool) -> None:
    asked = []
    for wanted in (HomeFilter(q="Account 000"), HomeFilter(), HomeFilter(sort="-rows")):
        pool = Counting(many)
        await make_home(pool).read(wanted)
        asked.append(pool.asked)
    assert asked[0] == asked[1], asked
    assert max(asked) <= 14, asked


async def test_a_standing_is_the_same_for_one_and_for_all(pool: Pool) -> None:
    await add_business(pool)
    await add_stop(pool, "con_b4m7")
    now = datetime.now(UTC)
    every = {one.id: one for one in await read_standings(pool, now=now)}
    cards = await Overview().some(pool, list(every), now=now)
    assert len(cards) == len(every) == 7
    for one, card in cards.items():
        assert (every[one].status.word, every[one].status.sentence) == (card.status.word, card.status.sentence)
        assert (every[one].standing.owed, every[one].name) == (card.owed, card.name)


async def test_an_answer_is_kept_for_a_moment_unless_something_was_done(pool: Pool) -> None:
    await add_destination(pool)
    await add_connection(pool, "con_1", "Halcyon Coffee")
    standings, now = Standings(kept_seconds=600), datetime.now(UTC)
    await standings.get(pool, now=now)
    await pool.execute("UPDATE connections SET state = 'paused'")
    assert [one.status.word for one in await standings.get(pool, now=now)] == [Word.LIVE]
    standings.forget()
    assert [one.status.word for one in await standings.get(pool, now=now)] == [Word.PAUSED]


async def test_the_chosen_view_is_remembered(many: Pool) -> None:
    async with TestClient(TestServer(make_dashboard(many))) as client:
        assert "account-table" in await (await client.get("/")).text()
        assert "account-table" not in await (await client.get("/", params={"view": "cards"})).text()
        assert "account-table" not in await (await client.get("/", params={"sort": "name"})).text()
        assert "account-table" in await (await client.get("/", params={"view": "list"})).text()
        assert (await client.get("/", params={"sort": "secret"})).status == 422


async def test_pages_hold_every_account_once(many: Pool) -> None:
    overview, now = Overview(), datetime.now(UTC)
    for status in (None, Word.PAUSED, Word.LIVE):
        found: list[str] = []
        wanted = AccountFilter(status=status)
        while True:
            page = await overview.read(many, wanted, now=now)
            found += [card.account_name for card in page.cards]
            if page.next_cursor is None:
                break
            wanted = AccountFilter(status=status, cursor=page.next_cursor)

        expected = [number for number in range(ACCOUNTS) if status is None or number % 3 == (status is Word.PAUSED)]
        assert found == [f"Account {number:03}" for number in expected]


async def test_a_name_with_anything_in_it_can_be_the_last_of_a_page(pool: Pool) -> None:
    await add_destination(pool)
    names = ["Ünïted %2F “Tea”", "zürich & söhne", "Ω"]
    for number, name in enumerate(names):
        await add_connection(pool, f"con_{number}", name)
    overview, now, wanted, found = Overview(), datetime.now(UTC), AccountFilter(), []
    while True:
        page = await overview.read(pool, wanted, now=now, limit=1)
        found += [card.account_name for card in page.cards]
        if page.next_cursor is None:
            break
        wanted = AccountFilter(cursor=page.next_cursor)

    assert sorted(found) == sorted(names)


async def test_a_card_has_all_rows_and_says_what_the_last_backfill_was(pool: Pool) -> None:
    await add_destination(pool)
    await add_connection(pool, "con_1", "Halcyon Coffee", rows_today=100)
    await pool.execute(
        "INSERT INTO delivery_hours (connection_id, destination_id, resource, hour, inserted, deleted)"
        " VALUES ('con_1', 'dst_1', 'charge', now() - interval '9 days', 20490, 90)"
    )
    await add_backfill(pool, "con_1", {"dispute": (1, 23)}, status="succeeded")
    await pool.execute("UPDATE connections SET resources = '{charge,dispute}'")
    await pool.execute("UPDATE syncs SET trigger = 'permission is back'")

    overview = Overview()
    cards = [await overview.one(pool, "con_1", now=datetime.now(UTC)) for _ in range(2)]

    assert [card.rows for card in cards] == [20_500, 20_500]
    assert cards[0].backfill is not None
    assert cards[0].backfill.what == "Disputes, after a permission came back"
