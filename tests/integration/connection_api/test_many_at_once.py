"""Every operation is answered however many callers ask for it at once: three times as many as the pool has room for."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import ClientTimeout

from services.connection_api.rest.operations import OPERATIONS, Operation
from tests.integration.connection_api.changes import Stage, begin_setup, create_sync, create_token, staged
from tests.integration.connection_api.serving import execute
from tests.unit.connection_api.serving import BEARER

CALLERS = 30
PATIENCE = ClientTimeout(total=120)  # seconds: what hangs would not be answered in an hour
LETTER = """
INSERT INTO dead_letters (connection_id, stage, code, reason, topic, partition, record_offset, key, headers, body)
VALUES ($1, 'write', 'odd', 'It is odd.', 'tillstream.events.v1', 0, 1, '', '{}', '{}') RETURNING id
"""
REMOVAL = """
INSERT INTO removals (id, connection_id, account_id, livemode, deletes_rows) VALUES ($1, $1, 'acct_9', true, true)
ON CONFLICT DO NOTHING
"""
ENDED = "UPDATE syncs SET status = $2, finished_at = CASE $2 WHEN 'succeeded' THEN now() END WHERE id = $1"
TURN = "unavailable"  # the code of what is done at Stripe one after the other: try again after `Retry-After` seconds
LAST = "remove_connection"  # afterwards there is nothing more to ask for


async def a_connection(stage: Stage) -> str:
    return stage.connection_id


async def a_destination(stage: Stage) -> str:
    return stage.destination_id


async def a_sync(stage: Stage) -> str:
    return str((await create_sync(stage))["id"])


async def a_comparison(stage: Stage) -> str:
    sync_id = (await stage.call("verify_connection", stage.connection_id))["id"]
    for status in ("running", "succeeded"):
        await execute(stage.database_url, ENDED, sync_id, status)
    return str(sync_id)


async def a_setup(stage: Stage) -> str:
    return str((await begin_setup(stage))["id"])


async def a_token(stage: Stage) -> str:
    return str((await create_token(stage))["id"])


async def a_letter(stage: Stage) -> str:
    [row] = await execute(stage.database_url, LETTER, stage.connection_id)
    return f"dlt_{row['id']}"


async def a_replay(stage: Stage) -> str:
    return str((await stage.call("replay_dead_letters", all=True))["id"])


async def a_removal(stage: Stage) -> str:
    sql = (
        "INSERT INTO removals (id, connection_id, account_id, livemode, deletes_rows) VALUES ($1, $1, 'a', true, true)"
    )
    await execute(stage.database_url, f"{sql} ON CONFLICT DO NOTHING", "rem_1")
    return "rem_1"


async def nothing(_stage: Stage) -> str:
    return "evt_1"


# What the id of an operation's path names.
SUBJECTS: dict[str, Callable[[Stage], Awaitable[str]]] = {
    "/v1/connections": a_connection,
    "/v1/destinations": a_destination,
    "/v1/syncs": a_sync,
    "/v1/setups": a_setup,
    "/v1/tokens": a_token,
    "/v1/dead-letters": a_letter,
    "/v1/dead-letters/replays": a_replay,
    "/v1/removals": a_removal,
    "/v1/events": nothing,
}


def body_of(operation: Operation, stage: Stage) -> dict[str, Any] | None:
    key = {"api_key": stage.stripe.simulation.first_key}
    bodies: dict[str, dict[str, Any]] = {
        "test_destination": {"url": stage.database_url},
        "create_destination": {"url": stage.database_url, "name": "Rows", "schema": "others"},
        "change_destination": {"name": "Warehouse"},
        "create_connection": key | {"destination_ids": [stage.destination_id]},
        "check_key": key,
        "update_key": key,
        "estimate_start_date": {"start_date": "2025-01-31"},
        "set_start_date": {"start_date": "2025-01-31"},
        "choose": {"resources": ["customer", "charge"]},
        "remove_connection": {"account_name": "Till Shop", "delete_rows": True},
        "create_setup": key | {"destination_ids": [stage.destination_id]},
        "replay_dead_letters": {"all": True},
        "discard_dead_letters": {"all": True},
        "create_token": {"name": "Nightly", "scope": "read"},
    }
    return bodies.get(operation.name, {} if operation.body else None)


async def call(stage: Stage, operation: Operation, subject: str) -> int:
    path = operation.path.replace("{id}", subject)
    body = body_of(operation, stage)
    async with stage.api.request(operation.method, path, json=body, headers=BEARER, timeout=PATIENCE) as answer:
        content = await answer.read()
        has_to_wait = answer.status == 503 and json.loads(content)["code"] == TURN
        return int(answer.headers["Retry-After"]) if has_to_wait else answer.status


async def test_each_operation_is_answered_for_all_who_ask_at_once(database_url: str) -> None:
    answered: dict[str, Counter[int]] = {}
    async with staged(database_url) as stage:
        for operation in sorted(OPERATIONS, key=lambda one: one.name == LAST):
            noun = operation.path.partition("/{id}")[0]
            named = a_comparison if operation.name == "repair_sync" else SUBJECTS.get(noun, nothing)
            subject = await named(stage) if "{id}" in operation.path else ""
            calls = (call(stage, operation, subject) for _ in range(CALLERS))
            answered[operation.name] = Counter(await asyncio.gather(*calls))
            assert (await stage.api.get("/readyz")).status == 200, operation.name
    assert {name: found for name, found in answered.items() if max(found) >= 500} == {}
