"""An event's way from Stripe to the destinations, as far as it is known."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.changes import changes_between, seal
from shared.crypto import make_encryption_key, parse_key_ring
from tests.integration.connection_api.serving import execute, ready
from tests.unit.connection_api.serving import BEARER, Client

TOPIC = "tillstream.events.v1"
STATE = """
INSERT INTO destinations (id, name, kind, settings, secret, address)
SELECT 'dst_' || n, 'Rows ' || n, 'postgres', '{}', '', 'place ' || n FROM generate_series(1, 2) AS n;
INSERT INTO connections (id, account_id, account_name, livemode, state, key_hint, resources, live_by)
SELECT 'con_' || n, 'acct_1', 'Ada', true, 'active', 'rk', '{charge}', 'webhooks' FROM generate_series(1, 2) AS n;
INSERT INTO connection_destinations VALUES ('con_1', 'dst_1', 'acct_1', true), ('con_1', 'dst_2', 'acct_1', true);
INSERT INTO event_log (connection_id, event_id, type, resource, object_id, created, outcome, partition, record_offset,
                       received_at)
SELECT id, 'evt_1A', 'charge.updated', 'charge', 'ch_1', 1700000000, 'updated', 3, 42, now() FROM connections;
"""
DEAD = """
INSERT INTO dead_letters (stage, code, reason, connection_id, destination_id, topic, partition, record_offset, body)
VALUES ('write', 'destination_rejected', 'No such column.', 'con_1', 'dst_2', $1, 3, $2, '')
"""
PARK = """
INSERT INTO parked_records (destination_id, connection_id, resource, object_id, stamp, body, origin, is_deleted, topic,
                            partition, record_offset, reason, next_try_at)
VALUES ('dst_1', 'con_1', 'charge', 'ch_1', 1, '', 'event', false, $1, 3, $2, 'It is away.', now())
"""


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Client]:
    async with ready(database_url) as client:
        for statement in filter(str.strip, STATE.split(";")):
            await execute(database_url, statement)
        yield client


async def paths(api: Client) -> dict[str, Any]:
    answer = await api.get("/v1/events/evt_1A", headers=BEARER)
    assert answer.status == 200, await answer.text()
    life = await answer.json()
    assert (life["event_id"], life["type"], life["object_id"]) == ("evt_1A", "charge.updated", "ch_1")
    return {path["connection_id"]: path for path in life["paths"]}


async def outcomes(api: Client) -> dict[str, tuple[str | None, bool, str | None]]:
    places = (await paths(api))["con_1"]["destinations"]
    return {p["destination_id"]: (p["outcome"], p["is_waiting"], p["reason"]) for p in places}


async def test_way_leads_over_the_topic_to_every_connection(api: Client) -> None:
    found = await paths(api)
    assert list(found) == ["con_1", "con_2"]
    path = found["con_1"]
    assert (path["topic"], path["partition"], path["offset"], path["outcome"]) == (TOPIC, 3, 42, "updated")
    assert path["received_at"] <= path["written_at"]
    assert [place["destination_name"] for place in path["destinations"]] == ["Rows 1", "Rows 2"]
    assert found["con_2"]["destinations"] == []


async def test_what_the_event_changed_is_told_of_the_connection_that_keeps_it(database_url: str) -> None:
    keys = make_encryption_key("k1")
    told = changes_between(b'{"refunded": false}', b'{"refunded": true}')
    sealed = seal(parse_key_ring(keys), told, connection_id="con_1", event_id="evt_1A")
    async with ready(database_url, encryption_keys=keys) as api:
        for statement in filter(str.strip, STATE.split(";")):
            await execute(database_url, statement)
        await execute(database_url, "UPDATE event_log SET changes = $1 WHERE connection_id = 'con_1'", sealed)
        found = await paths(api)
        change = {"field": "refunded", "old": "false", "new": "true"}
        assert found["con_1"]["changes"] == {"changes": [change], "is_cut": False}
        assert found["con_2"]["changes"] is None
        # One that was sealed for another event, or under a key that is gone, keeps nobody from the rest.
        await execute(database_url, "UPDATE event_log SET changes = $1 WHERE connection_id = 'con_2'", sealed)
        assert (await paths(api))["con_2"]["changes"] is None


async def test_what_failed_or_waits_is_told_of_its_destination(api: Client, database_url: str) -> None:
    await execute(database_url, DEAD, TOPIC, 42)
    await execute(database_url, PARK, TOPIC, 42)
    assert await outcomes(api) == {
        "dst_1": ("parked", True, "It is away."),
        "dst_2": ("failed", False, "No such column."),
    }


async def test_what_waits_tells_when_it_is_tried_next_unless_a_person_has_to_act(
    api: Client, database_url: str
) -> None:
    await execute(database_url, PARK, TOPIC, 42)
    first, second = (await paths(api))["con_1"]["destinations"]
    assert first["next_try_at"] is not None
    assert second["next_try_at"] is None
    await execute(database_url, "UPDATE parked_records SET next_try_at = 'infinity'")
    assert (await paths(api))["con_1"]["destinations"][0]["next_try_at"] is None


async def test_what_lies_elsewhere_on_the_topic_is_another_events(api: Client, database_url: str) -> None:
    await execute(database_url, DEAD, TOPIC, 43)
    await execute(database_url, PARK, TOPIC, 43)
    assert await outcomes(api) == {"dst_1": (None, False, None), "dst_2": (None, False, None)}


TOLD = """
UPDATE event_log SET outcome = 'updated', deliveries = '{
    "dst_1": {"outcome": "updated", "at": 1700000009.5, "parked_at": 1700000001.5},
    "dst_2": {"outcome": "ignored", "reason": "tie", "at": 1700000002.5}}',
    answers = '{"dst_2": {"outcome": "unchanged", "reason": "equal", "at": 1700000012}}'
"""


async def test_each_destination_tells_its_own_outcome_reason_and_times(api: Client, database_url: str) -> None:
    await execute(database_url, TOLD)
    first, second = (await paths(api))["con_1"]["destinations"]
    assert (first["outcome"], first["code"], first["at"][:22], first["parked_at"][:22]) == (
        "updated", None, "2023-11-14T22:13:29.50", "2023-11-14T22:13:21.50",
    )  # fmt: skip
    assert (second["outcome"], second["code"], second["parked_at"]) == ("ignored", "tie", None)
    assert second["reason"] == "Another version has the same second, so Stripe was asked which one holds."
    assert (second["answer"]["outcome"], second["answer"]["reason"]) == ("unchanged", "Already up to date.")
    listed = await (await api.get("/v1/events?object_id=ch_1&connection_id=con_1", headers=BEARER)).json()
    assert [(one["destination_id"], one["outcome"], one["code"]) for one in listed["data"][0]["destinations"]] == [
        ("dst_1", "updated", None),
        ("dst_2", "ignored", "tie"),
    ]


async def test_question_that_waits_for_stripe_is_told(api: Client, database_url: str) -> None:
    sql = """
    INSERT INTO refetches (connection_id, resource, object_id, reason, due_at)
    VALUES ('con_1', 'charge', 'ch_1', 'tie', now())
    """
    await execute(database_url, sql)
    found = await paths(api)
    assert found["con_1"]["question"]["reason"] == "tie"
    assert found["con_2"]["question"] is None


async def test_event_that_stripe_was_asked_about_says_so_for_every_destination(api: Client, database_url: str) -> None:
    await execute(database_url, "UPDATE event_log SET outcome = 'asked_stripe'")
    assert {one[0] for one in (await outcomes(api)).values()} == {"asked_stripe"}


async def test_outcome_is_that_of_an_only_destination(api: Client, database_url: str) -> None:
    await execute(database_url, "DELETE FROM connection_destinations WHERE destination_id = 'dst_2'")
    assert await outcomes(api) == {"dst_1": ("updated", False, None)}


@pytest.mark.parametrize("event_id", ["evt_9", "%F0%9F%A6%86", "evt_1a"])
async def test_event_that_is_not_there_is_not_found(api: Client, event_id: str) -> None:
    assert (await api.get(f"/v1/events/{event_id}", headers=BEARER)).status == 404
