"""An account's data as people look at it: rows newest first and page by page, one object, and what is done to it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from services.destination_writer.destinations import Account
from shared.changes import changes_between, seal
from shared.connections import Connection
from shared.postgres_reading import MOST_ROWS
from tests.eventually import eventually
from tests.factories import make_winner
from tests.integration.connection_api.stage import Stage, set_up
from tests.integration.destination_writer.postgres_rows import InspectedPostgres
from tests.unit.connection_api.serving import BEARER, TOKEN, Client, running

SECOND = 1_750_000_000
EVENT = """
INSERT INTO event_log (connection_id, event_id, type, resource, object_id, created, outcome, changes)
VALUES ($1, 'evt_1', 'charge.updated', 'charge', 'ch_001', 1, 'updated', $2)
"""
HTML = {**BEARER, "Accept": "text/html"}


@dataclass
class Browsed:
    """An account with rows, and the API that shows them."""

    stage: Stage
    connection: Connection
    rows: InspectedPostgres
    api: Client

    @property
    def base(self) -> str:
        return f"/connections/{self.connection.id}/data"

    @property
    def account(self) -> Account:
        return Account(self.connection.account_id, self.connection.livemode)

    async def page(self, path: str, status: int = 200) -> str:
        answer = await self.api.get(f"{self.base}{path}", headers=HTML)
        text = await answer.text()
        assert answer.status == status, text[:500]
        return text

    async def ids(self, path: str) -> list[str]:
        """Return the ids of the rows of a page."""
        return re.findall(r'class="row-link" href="[^"]*/data/[^/"]+/([^"?]+)', await self.page(path))


@pytest.fixture
async def here(database_url: str) -> AsyncIterator[Browsed]:
    async with set_up(database_url) as stage:
        connection = await stage.connected()
        rows = InspectedPostgres(database_url, "copy")
        settings = stage.settings.model_copy(update={"api_token": SecretStr(TOKEN)})
        async with running(settings) as api:

            async def is_ready() -> bool:
                return (await api.get("/readyz")).status == 200

            await eventually(is_ready, what="the API is ready")
            yield Browsed(stage, connection, rows, api)
        await rows.close()


def charge(number: int, **changes: object):  # type: ignore[no-untyped-def]
    told = {"amount": 1000 + number, "currency": "usd", "status": "succeeded", "customer": "cus_1"}
    return make_winner(f"ch_{number:03}", resource="charge", created=SECOND + number, **(told | changes))


async def test_rows_come_newest_first_and_page_by_page(here: Browsed) -> None:
    await here.rows.write(here.account, [charge(number) for number in range(1, MOST_ROWS + 31)])
    first = await here.page("/charges")
    assert (await here.ids("/charges"))[:2] == ["ch_130", "ch_129"]
    assert "11.30 USD" in first
    [following] = re.findall(r'href="/connections/[^"]*/data(/charges\?cursor=[^"]+)"', first)
    assert await here.ids(following) == [f"ch_{number:03}" for number in range(30, 0, -1)]


async def test_rows_of_another_account_are_not_shown(here: Browsed) -> None:
    await here.rows.write(Account("acct_other", here.connection.livemode), [charge(1)])
    await here.rows.write(Account(here.connection.account_id, not here.connection.livemode), [charge(2)])
    assert await here.ids("/charges") == []
    assert "No row" in await here.page("/charges/ch_001")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=ch_002", ["ch_002"]),
        ("q=ch_00", []),
        ("q=cus_2", ["ch_003"]),
        ("status=failed", ["ch_002"]),
        ("by=payment_intent&q=pi_1", ["ch_001"]),
        ("from=2025-06-16", []),
        ("to=2025-06-15", ["ch_003", "ch_002", "ch_001"]),
    ],
)
async def test_rows_are_found_by_id_customer_status_column_and_day(
    here: Browsed, query: str, expected: list[str]
) -> None:
    changed = [charge(1, payment_intent="pi_1"), charge(2, status="failed"), charge(3, customer="cus_2")]
    await here.rows.write(here.account, changed)
    assert await here.ids(f"/charges?{query}") == expected


async def test_a_customer_is_found_by_the_email_address(here: Browsed) -> None:
    await here.rows.write(here.account, [make_winner("cus_1", email="Ada@Example.com"), make_winner("cus_2")])
    assert await here.ids("/customers?q=ada%40example.com") == ["cus_1"]


@pytest.mark.parametrize("query", ["by=nothing_here&q=x", "status=paid", "by=data&q=x"])
async def test_a_column_that_is_none_is_refused(here: Browsed, query: str) -> None:
    await here.rows.write(here.account, [make_winner("cus_1")])
    await here.page(f"/customers?{query}", status=422)


async def test_what_is_seen_is_had_as_csv_that_no_spreadsheet_runs(here: Browsed) -> None:
    await here.rows.write(here.account, [charge(1, description="=1+1"), charge(2)])
    answer = await here.api.get(f"{here.base}/charges?format=csv&q=ch_001", headers=BEARER)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="charges.csv"'
    [row] = csv.DictReader(io.StringIO(await answer.text()))
    assert (row["id"], row["amount"], row["description"], row["_deleted"]) == ("ch_001", "1001", "'=1+1", "false")


async def test_a_table_that_is_missing_and_a_destination_that_is_away_are_told_apart(here: Browsed) -> None:
    assert "No rows yet" in await here.page("/charges")
    assert "No row with this id" in await here.page("/charges/ch_001")
    await here.stage.pool.execute("UPDATE destinations SET settings = settings || '{\"port\": 1}'")
    text = await here.page("/charges")
    assert "No rows yet" not in text
    assert 'role="alert"' in text


async def test_an_object_is_shown_with_its_events_and_what_it_is_related_to(here: Browsed) -> None:
    refund = make_winner("re_1", resource="refund", created=SECOND, charge="ch_001", amount=5, currency="usd")
    await here.rows.write(here.account, [charge(1, metadata={"<b>": "&"}), refund])
    told = changes_between(b'{"refunded": false}', b'{"refunded": true}')
    names = {"connection_id": here.connection.id, "event_id": "evt_1"}
    await here.stage.pool.execute(EVENT, here.connection.id, seal(here.stage.settings.key_ring, told, **names))
    text = await here.page("/charges/ch_001")
    assert "charge.updated" in text
    assert re.findall(r"<code>(refunded|false|true)</code>", text) == ["refunded", "false", "true"]
    assert f"{here.base}/customers/cus_1" in text
    assert f"{here.base}/refunds/re_1" in text
    assert "&#34;&lt;b&gt;&#34;: &#34;&amp;&#34;" in text
    assert f"https://dashboard.stripe.com/{here.connection.account_id}/payments/ch_001" in text
    [sql] = re.findall(r"<code>(SELECT .*?)</code>", text, flags=re.DOTALL)
    assert [row["id"] for row in await here.rows.query(sql.replace("&#34;", '"').replace("&#39;", "'"))] == ["ch_001"]


async def test_an_id_with_any_letters_is_shown_and_its_statement_is_whole(here: Browsed) -> None:
    await here.rows.write(here.account, [make_winner("o'hara/50%", resource="coupon", name="x")])
    text = await here.page("/coupons/o%27hara%2F50%25")
    assert "o&#39;&#39;hara/50%&#39;" in text
    assert 'id="row"' in text


async def test_an_object_is_compared_with_what_stripe_has_now(here: Browsed) -> None:
    key = here.stage.simulator.simulation.first_key
    listed = await here.stage.simulator.session.get(
        f"{here.stage.simulator.url}/v1/customers?limit=1", headers={"Authorization": f"Bearer {key}"}
    )
    customer = (await listed.json())["data"][0]
    told = {name: value for name, value in customer.items() if name not in ("id", "object")}
    await here.rows.write(here.account, [make_winner(customer["id"], **{**told, "description": "old"})])
    text = await here.page(f"/customers/{customer['id']}?compare=1")
    assert re.findall(r'<th scope="row" class="breaks"><code>(.*?)</code>', text) == ["description"]
    await here.rows.write(here.account, [make_winner("cus_gone")])
    assert "Stripe has no object with this id any more" in await here.page("/customers/cus_gone?compare=1")


async def test_an_object_is_synced_again_and_its_sync_is_shown(here: Browsed) -> None:
    answer = await here.api.post(f"{here.base}/charges/ch_001/sync", headers=BEARER, allow_redirects=False)
    [sync, *_] = await here.stage.syncs(here.connection.id)
    assert (answer.status, answer.headers["Location"]) == (303, f"/syncs/{sync.id}")
    assert (list(sync.resources), sync.object_id) == (["charge"], "ch_001")
    assert "connection.sync_requested" in await here.stage.audited()


async def test_an_object_of_what_is_not_synced_is_not_asked_for(here: Browsed) -> None:
    before = await here.stage.syncs(here.connection.id)
    answer = await here.api.post(f"{here.base}/file_links/link_1/sync", headers=BEARER, allow_redirects=False)
    assert answer.status in (409, 422)
    assert await here.stage.syncs(here.connection.id) == before


async def test_an_object_is_found_by_its_id_alone_and_what_was_looked_for_is_told(here: Browsed) -> None:
    await here.rows.write(here.account, [charge(1)])
    answer = await here.api.get("/v1/objects/ch_001", headers=BEARER)
    found = await answer.json()
    assert found["resource"] == "charge"
    [row] = found["rows"]
    assert (row["connection_id"], row["db_schema"], row["table"]) == (here.connection.id, "copy", "charges")
    assert row["data"]["amount"] == 1001
    nothing = await (await here.api.get("/v1/objects/pi_9", headers=BEARER)).json()
    assert nothing == {"object_id": "pi_9", "resource": "payment_intent", "rows": []}


async def test_an_id_that_a_merchant_chose_is_found_by_its_events(here: Browsed) -> None:
    await here.rows.write(here.account, [make_winner("SPRING 50%", resource="coupon", name="Spring")])
    assert (await (await here.api.get("/v1/objects/SPRING%2050%25", headers=BEARER)).json())["rows"] == []
    await here.stage.pool.execute(
        """INSERT INTO event_log (connection_id, event_id, type, resource, object_id, created, outcome)
        VALUES ($1, 'evt_7', 'coupon.created', 'coupon', 'SPRING 50%', 1, 'inserted')""",
        here.connection.id,
    )
    [row] = (await (await here.api.get("/v1/objects/SPRING%2050%25", headers=BEARER)).json())["rows"]
    assert row["data"]["name"] == "Spring"


async def test_a_destination_that_is_away_keeps_nobody_from_the_search(here: Browsed) -> None:
    await here.stage.pool.execute("UPDATE destinations SET settings = settings || '{\"port\": 1}'")
    assert (await (await here.api.get("/v1/objects/ch_001", headers=BEARER)).json())["rows"] == []


@pytest.mark.parametrize(
    ("q", "place"),
    [
        ("till", "/connections/{id}"),
        ("{id}", "/connections/{id}"),
        ("ch_001", "/connections/{id}/data/charges/ch_001?destination={destination}"),
        ("evt_1", "/events/{id}/evt_1"),
        ("failed rec", "/dead-letters"),
        ("webhooks", "/events"),
    ],
)
async def test_the_search_leads_to_accounts_objects_events_and_pages(here: Browsed, q: str, place: str) -> None:
    await here.rows.write(here.account, [charge(1)])
    await here.stage.pool.execute(EVENT, here.connection.id, None)
    names = {"id": here.connection.id, "destination": here.stage.destination_id}
    answer = await here.api.get(
        "/search", params={"q": q.format(**names), "go": "1"}, headers=HTML, allow_redirects=False
    )
    assert (answer.status, answer.headers["Location"]) == (303, place.format(**names))


async def test_the_search_says_where_an_id_would_be(here: Browsed) -> None:
    text = await (await here.api.get("/search?q=re_404", headers=HTML)).text()
    assert "It would be in Refunds." in text
    text = await (await here.api.get("/search?q=%3Cb%3E", headers=HTML)).text()
    assert "Nothing is called <b>&lt;b&gt;</b>" in text
