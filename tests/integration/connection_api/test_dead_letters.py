"""Dead letters over REST: lists by keyset, groups, one with its body, discarding and asking for a replay."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.connection_api.serving import execute, ready
from tests.integration.connection_api.test_lists import get, walk
from tests.unit.connection_api.serving import BEARER, Client

BASE = "/v1/dead-letters"
CONNECTIONS = """
INSERT INTO connections (id, account_id, account_name, livemode, state, key_hint, resources, live_by)
SELECT 'con_' || n, 'acct_1', 'Ada', true, 'active', 'rk', '{charge}', 'webhooks' FROM generate_series(1, 2) AS n
"""
LETTER = """
INSERT INTO dead_letters (stage, code, reason, connection_id, destination_id, topic, partition, record_offset, key,
                          headers, body, resource, object_id)
VALUES ('write', $2, $3, $4, 'dst_1', 'tillstream.snapshots.v1', 0, $1, $5, $6, $7, 'charge', $8)
"""
KEY = "rk_live_" + "a1B2" * 12


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Client]:
    async with ready(database_url) as client:
        await execute(database_url, CONNECTIONS)
        yield client


async def keep(database_url: str, number: int, **changes: Any) -> None:
    values = {"code": "destination_rejected", "reason": "Refused.", "connection_id": "con_1", "body": b"{}"} | changes
    headers = {"connection": "con_1", "resource": "charge", "stamp": str(int(time.time())), "origin": "listed"}
    await execute(
        database_url, LETTER, number, values["code"], values["reason"], values["connection_id"], f"con_1:ch_{number}",
        json.dumps(headers), values["body"], f"ch_{number}",
    )  # fmt: skip


async def post(api: Client, path: str, **body: Any) -> Any:
    answer = await api.post(path, json=body, headers=BEARER)
    return answer.status, await answer.json()


async def test_letters_are_listed_newest_first_and_narrowed_down(api: Client, database_url: str) -> None:
    for number in range(7):
        await keep(database_url, number, connection_id=f"con_{1 + number % 2}", code="bug" if number > 4 else "other")
    found = await walk(api, BASE, "object_id", limit=3)
    assert found == [f"ch_{number}" for number in range(6, -1, -1)]
    assert await walk(api, BASE, "object_id", limit=2, connection_id="con_2") == ["ch_5", "ch_3", "ch_1"]
    assert await walk(api, BASE, "object_id", limit=2, connection_id="con_2", code="bug") == ["ch_5"]
    groups = await get(api, f"{BASE}/groups")
    assert await walk(api, BASE, "object_id", limit=2, group_id=groups["data"][0]["id"])
    assert await walk(api, BASE, "object_id", limit=2, resource="invoice") == []


async def test_groups_tell_how_many_and_give_an_example(api: Client, database_url: str) -> None:
    for number in range(5):
        await keep(database_url, number, reason=f"Byte {number} can't be read." if number < 4 else "Another.")
    data = (await get(api, f"{BASE}/groups"))["data"]
    assert {(row["summary"], row["letters"]) for row in data} == {("Byte … can't be read.", 4), ("Another.", 1)}
    assert len(await walk(api, f"{BASE}/groups", "id", limit=1)) == 2
    [example] = [row["example_id"] for row in data if row["letters"] == 4]
    assert (await get(api, f"{BASE}/{example}"))["object_id"] == "ch_3"


async def test_letter_shows_its_body_as_it_came_with_secrets_masked(api: Client, database_url: str) -> None:
    await keep(database_url, 1, body=b'{"id": "ch_1",\n "note": "' + KEY.encode() + b'", "torn": "\xff"}')
    [row] = (await get(api, BASE))["data"]
    letter = await get(api, f"{BASE}/{row['id']}")
    assert letter["body"].startswith('{"id": "ch_1",\n "note": "rk_live_')
    assert KEY not in letter["body"]
    assert "\ufffd" in letter["body"]
    assert (letter["size"], letter["is_cut"], letter["offset"], letter["attempts"]) == (96, False, 1, 1)


async def test_long_body_is_cut(api: Client, database_url: str) -> None:
    await keep(database_url, 1, body=b"x" * 100_000)
    [row] = (await get(api, BASE))["data"]
    letter = await get(api, f"{BASE}/{row['id']}")
    assert (len(letter["body"]), letter["size"], letter["is_cut"]) == (65_536, 100_000, True)


@pytest.mark.parametrize("letter_id", ["dlt_999", "dlt_x", "syn_1", "9", "dlt_99999999999999999999"])
async def test_letter_that_is_not_there_is_not_found(api: Client, letter_id: str) -> None:
    assert (await api.get(f"{BASE}/{letter_id}", headers=BEARER)).status == 404
    status, _ = await post(api, f"{BASE}/discard", ids=[letter_id])
    assert status in (404, 422)


async def test_what_is_meant_has_to_be_said_in_one_way(api: Client) -> None:
    for body in ({}, {"all": True, "code": "bug"}, {"ids": ["dlt_1"], "all": True}, {"all": False}):
        for action in ("discard", "replay"):
            status, problem = await post(api, f"{BASE}/{action}", **body)
            assert (status, problem["code"]) == (422, "payload_invalid"), body


async def test_discarding_takes_what_a_filter_fits_alone(api: Client, database_url: str) -> None:
    for number in range(4):
        await keep(database_url, number, code="bug" if number else "other")
    assert await post(api, f"{BASE}/discard", code="bug") == (200, {"discarded": 3})
    assert await walk(api, BASE, "object_id", limit=5) == ["ch_0"]
    [row] = (await get(api, BASE))["data"]
    assert await post(api, f"{BASE}/discard", ids=[row["id"]]) == (200, {"discarded": 1})
    assert (await get(api, f"{BASE}/groups"))["data"] == []


async def test_replay_is_answered_at_once_and_its_progress_is_shown(api: Client, database_url: str) -> None:
    for number in range(3):
        await keep(database_url, number)
    headers = BEARER | {"Idempotency-Key": "one"}
    first = await api.post(f"{BASE}/replay", json={"all": True}, headers=headers)
    again = await api.post(f"{BASE}/replay", json={"all": True}, headers=headers)
    assert (first.status, again.status) == (202, 202)
    replay = await first.json()
    assert await again.json() == replay
    assert (replay["status"], replay["letters"], replay["waiting"], replay["written"]) == ("running", 3, 3, 0)
    assert await get(api, f"{BASE}/replays/{replay['id']}") == replay
    assert await walk(api, f"{BASE}/replays", "id", limit=1) == [replay["id"]]


async def test_replay_of_nothing_is_done_at_once(api: Client) -> None:
    status, replay = await post(api, f"{BASE}/replay", all=True)
    assert (status, replay["status"], replay["letters"]) == (202, "done", 0)


async def test_letter_that_can_not_be_replayed_says_why(api: Client, database_url: str) -> None:
    await keep(database_url, 1, body=b"\xff")
    await execute(database_url, "UPDATE dead_letters SET object_id = NULL, stage = 'parse'")
    [row] = (await get(api, BASE))["data"]
    status, problem = await post(api, f"{BASE}/replay", ids=[row["id"]])
    assert (status, problem["code"]) == (409, "dead_letter_not_replayable")
    assert "does not tell which object" in problem["detail"]
