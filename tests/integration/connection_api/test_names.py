"""A connection's own name, which tells one account in two destinations apart wherever it is shown or asked for."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.connection_api.life.naming import LONGEST
from tests.integration.connection_api.changes import Stage, another_destination, staged
from tests.integration.connection_api.serving import execute
from tests.unit.connection_api.serving import BEARER

HTMX = {"HX-Request": "true"}
EVENT = """
INSERT INTO event_log (connection_id, event_id, type, resource, object_id, created, outcome, deliveries)
SELECT id, 'evt_1', 'customer.updated', 'customer', 'cus_1', 1, 'updated', '{}' FROM connections
"""
LETTER = """
INSERT INTO dead_letters (stage, code, reason, connection_id, destination_id, topic, partition, record_offset, key,
                          headers, body, resource, object_id)
SELECT 'write', 'bug', 'Refused.', id, 'dst_1', 'tillstream.snapshots.v1', 0, row_number() OVER (), 'k', '{}', '',
       'charge', 'ch_1' FROM connections
"""


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with staged(database_url) as stage:
        yield stage


async def connect_again(stage: Stage, **body: Any) -> Any:
    """Connect the account to another destination."""
    wanted = [await another_destination(stage)]
    key = stage.stripe.simulation.first_key
    return await stage.call("create_connection", api_key=key, destination_ids=wanted, **body)


async def text(stage: Stage, path: str, *, as_dialog: bool = False) -> str:
    answer = await stage.api.get(path, headers=BEARER | (HTMX if as_dialog else {}))
    assert answer.status == 200, path
    return await answer.text()


async def names(stage: Stage) -> tuple[str, str]:
    """Return the names of the first connection and of the one that is made now."""
    first = (await stage.call("get_connection", stage.connection_id))["name"]
    return first, (await connect_again(stage))["name"]


async def test_default_tells_account_and_destination(stage: Stage) -> None:
    first, second = await names(stage)
    [destination] = await execute(
        stage.database_url,
        "SELECT d.name FROM destinations d JOIN connection_destinations l ON l.destination_id = d.id "
        "WHERE l.connection_id = $1",
        stage.connection_id,
    )
    assert first == f"Till Shop → {destination['name']}"
    assert second.startswith("Till Shop → ")
    assert first != second


async def test_taken_default_gets_a_number(stage: Stage) -> None:
    sql = "UPDATE connections SET name = 'Till Shop → ' || (SELECT upper(name) FROM destinations WHERE id = $1)"
    wanted = await another_destination(stage)
    await execute(stage.database_url, sql, wanted)
    key = stage.stripe.simulation.first_key
    made = await stage.call("create_connection", api_key=key, destination_ids=[wanted])
    assert made["name"].endswith(" 2")


async def test_given_name_is_taken_and_refused_when_it_is_another_ones(stage: Stage) -> None:
    made = await connect_again(stage, name=" Till  to finance ")
    assert made["name"] == "Till to finance"
    for name in ("Till to finance", "TILL TO FINANCE"):
        answer = await stage.api.patch(f"/v1/connections/{stage.connection_id}", json={"name": name}, headers=BEARER)
        refusal = await answer.json()
        assert (answer.status, refusal["code"], refusal["field"]) == (409, "name_taken", "name")


@pytest.mark.parametrize("name", ["", " ", "\u200b", "x" * (LONGEST + 1), "a\nb"])
async def test_name_that_can_not_be_seen_or_is_too_long_is_refused(stage: Stage, name: str) -> None:
    path = f"/v1/connections/{stage.connection_id}"
    answer = await stage.api.patch(path, json={"name": name}, headers=BEARER)
    assert (answer.status, (await answer.json())["field"]) == (422, "name")


async def test_rename_is_kept_with_an_entry_without_the_name(stage: Stage) -> None:
    path = f"/v1/connections/{stage.connection_id}"
    for _ in range(2):
        answer = await stage.api.patch(path, json={"name": "Front till"}, headers=BEARER)
        assert (answer.status, (await answer.json())["name"]) == (200, "Front till")
    found = await execute(stage.database_url, "SELECT * FROM audit_log WHERE action = 'connection.renamed'")
    assert len(found) == 1
    assert "Front till" not in str(dict(found[0]))


async def test_account_in_two_destinations_is_told_apart_wherever_it_is_shown(stage: Stage) -> None:
    both = await names(stage)
    await execute(stage.database_url, EVENT)
    await execute(stage.database_url, LETTER)
    for path in ("/", "/syncs", "/events", "/dead-letters", "/destinations", "/audit"):
        page = await text(stage, path)
        assert [name for name in both if name not in page] == [], path
    for path, field in (
        ("/v1/connections", "name"),
        ("/v1/syncs", "connection_name"),
        ("/v1/events", "connection_name"),
    ):
        rows = (await (await stage.api.get(path, headers=BEARER)).json())["data"]
        assert {row[field] for row in rows} == set(both), path
    exported = csv.DictReader(io.StringIO(await text(stage, "/v1/syncs/export")))
    told = [(row["connection_name"], row["account_name"]) for row in exported]
    assert set(told) == {(name, "Till Shop") for name in both}


@pytest.mark.parametrize(
    "path", ["", "/key", "/name", "/start-date", "/choice", "/pause", "/removal", "/verify", "/syncs"]
)
async def test_page_and_dialog_name_the_connection_and_its_account(stage: Stage, path: str) -> None:
    name = (await stage.call("get_connection", stage.connection_id))["name"]
    page = await text(stage, f"/connections/{stage.connection_id}{path}", as_dialog=path not in ("", "/syncs"))
    assert name in page
    assert path == "/syncs" or "Till Shop" in page.replace(name, "")


async def test_pages_of_one_sync_and_one_event_name_the_connection(stage: Stage) -> None:
    first, second = await names(stage)
    await execute(stage.database_url, EVENT)
    rows = await execute(
        stage.database_url, "SELECT s.id, c.name FROM syncs s JOIN connections c ON c.id = connection_id"
    )
    for row in rows:
        assert row["name"] in await text(stage, f"/syncs/{row['id']}")
    rows = await execute(stage.database_url, "SELECT id, name FROM connections")
    for row in rows:
        other = first if row["name"] == second else second
        page = await text(stage, f"/events/{row['id']}/evt_1")
        assert row["name"] in page
        assert other not in page


async def test_removal_asks_for_the_connection_and_takes_the_accounts_name_only_while_it_is_the_only_one(
    stage: Stage,
) -> None:
    path = f"/v1/connections/{stage.connection_id}/removal"
    name, _ = await names(stage)
    for typed in ("Till Shop", "Another"):
        answer = await stage.api.post(path, json={"account_name": typed, "delete_rows": True}, headers=BEARER)
        refusal = await answer.json()
        assert (answer.status, refusal["field"]) == (422, "account_name")
        assert name in refusal["detail"]
    account_id = (await stage.call("get_connection", stage.connection_id))["account_id"]
    answer = await stage.api.post(path, json={"account_name": account_id, "delete_rows": True}, headers=BEARER)
    assert answer.status == 422
    answer = await stage.api.post(path, json={"account_name": name, "delete_rows": False}, headers=BEARER)
    assert answer.status == 202


async def test_id_confirms_a_removal(stage: Stage) -> None:
    await names(stage)
    path = f"/v1/connections/{stage.connection_id}/removal"
    body = {"account_name": stage.connection_id, "delete_rows": False}
    assert (await stage.api.post(path, json=body, headers=BEARER)).status == 202


async def test_connection_of_the_release_before_goes_by_its_accounts_name(stage: Stage) -> None:
    await execute(stage.database_url, "UPDATE connections SET name = NULL")
    assert (await stage.call("get_connection", stage.connection_id))["name"] == "Till Shop"
    assert "Till Shop" in await text(stage, "/syncs")


async def test_days_of_a_filter_are_those_of_the_browsers_zone(stage: Stage) -> None:
    await execute(stage.database_url, "UPDATE syncs SET created_at = '2026-11-25 23:45:00+00', started_at = NULL")
    sync_id = (await execute(stage.database_url, "SELECT id FROM syncs"))[0]["id"]
    for zone, shows in (("Europe/Berlin", True), ("UTC", False), ("No/Where", False)):
        headers = BEARER | {"Cookie": f"tillstream_zone={zone}"}
        page = await (await stage.api.get("/syncs?from=2026-11-26", headers=headers)).text()
        assert (sync_id in page) == shows, zone
        assert f"({zone if shows else 'UTC'})" in page


async def test_sync_now_leads_to_its_sync(stage: Stage) -> None:
    path = f"/connections/{stage.connection_id}/sync"
    answer = await stage.api.post(path, headers=BEARER | HTMX)
    newest = await execute(stage.database_url, "SELECT id FROM syncs WHERE kind = 'reconcile'")
    assert f"/syncs/{newest[-1]['id']}" in answer.headers["HX-Trigger"]


@pytest.mark.parametrize(
    ("state", "there", "absent"), [("active", "/pause", "/resume"), ("paused", "/resume", "/pause")]
)
async def test_page_of_a_connection_offers_to_pause_or_to_resume(
    stage: Stage, state: str, there: str, absent: str
) -> None:
    await execute(stage.database_url, "UPDATE connections SET state = $1", state)
    page = await text(stage, f"/connections/{stage.connection_id}")
    base = f"/connections/{stage.connection_id}"
    assert f'"{base}{there}"' in page
    assert f'"{base}{absent}"' not in page
