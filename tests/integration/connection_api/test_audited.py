"""Whatever changes something over REST leaves an entry in the audit log that names the request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from services.connection_api.rest.operations import OPERATIONS
from tests.integration.connection_api.serving import execute, ready
from tests.integration.simulator.running import Running, run_simulator
from tests.unit.connection_api.serving import BEARER, Client

# They ask, though by POST: nothing is different afterwards.
CHANGE_NOTHING = {"test_destination", "try_destination", "check_key", "estimate_start_date"}
ACTIONS = {
    "create_destination": "destination.created",
    "change_destination": "destination.renamed",
    "delete_destination": "destination.deleted",
    "rebuild_destination": "destination.rebuilt",
    "create_connection": "connection.created",
    "pause_connection": "connection.paused",
    "resume_connection": "connection.resumed",
    "create_sync": "connection.sync_requested",
    "verify_connection": "connection.verify_requested",
    "repair_sync": "sync.repair_requested",
    "pause_sync": "sync.paused",
    "resume_sync": "sync.resumed",
    "cancel_sync": "sync.cancelled",
    "deliver_again": "connection.delivery_resumed",
    "replay_dead_letters": "dead_letters.replayed",
    "discard_dead_letters": "dead_letters.discarded",
    "create_token": "token.created",
    "revoke_token": "token.revoked",
    "create_sign_in_link": "sign_in_link.created",
}


@dataclass(frozen=True)
class Stage:
    """An API, its Stripe, and a destination with a connected account."""

    api: Client
    stripe: Running
    database_url: str
    destination_id: str
    connection_id: str

    async def call(self, name: str, noun_id: str = "", /, **body: Any) -> dict[str, Any]:
        """Call the operation; return its answer and, as `request_id`, which request it was."""
        [operation] = [one for one in OPERATIONS if one.name == name]
        path = operation.path.replace("{id}", noun_id)
        answer = await self.api.request(operation.method, path, json=body or None, headers=BEARER)
        assert answer.status == operation.status, (name, await answer.text())
        content: dict[str, Any] = await answer.json() if operation.answer else {}
        return content | {"request_id": answer.headers["X-Request-Id"]}


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with (
        run_simulator(objects=50, livemode=True) as stripe,
        ready(database_url, stripe_api_base=stripe.url, public_url="https://hooks.example.com") as api,
    ):
        bare = Stage(api, stripe, database_url, "", "")
        destination = (await bare.call("create_destination", name="Rows", url=database_url))["id"]
        key = stripe.simulation.first_key
        connection = (await bare.call("create_connection", api_key=key, destination_ids=[destination]))["id"]
        yield Stage(api, stripe, database_url, destination, connection)


async def another_destination(stage: Stage) -> str:
    made = await stage.call("create_destination", name="Others", url=stage.database_url, schema="others")
    return str(made["id"])


async def create_destination(stage: Stage) -> Any:
    return await stage.call("create_destination", name="Others", url=stage.database_url, schema="others")


async def change_destination(stage: Stage) -> Any:
    return await stage.call("change_destination", stage.destination_id, name="Warehouse")


async def rebuild_destination(stage: Stage) -> Any:
    return await stage.call("rebuild_destination", stage.destination_id)


async def delete_destination(stage: Stage) -> Any:
    return await stage.call("delete_destination", await another_destination(stage))


async def create_connection(stage: Stage) -> Any:
    wanted = [await another_destination(stage)]
    return await stage.call("create_connection", api_key=stage.stripe.simulation.first_key, destination_ids=wanted)


async def pause_connection(stage: Stage) -> Any:
    return await stage.call("pause_connection", stage.connection_id)


async def resume_connection(stage: Stage) -> Any:
    await pause_connection(stage)
    return await stage.call("resume_connection", stage.connection_id)


async def update_key(stage: Stage) -> Any:
    return await stage.call("update_key", stage.connection_id, api_key=stage.stripe.simulation.first_key)


async def rotate_webhook_secret(stage: Stage) -> Any:
    return await stage.call("rotate_webhook_secret", stage.connection_id)


async def set_start_date(stage: Stage) -> Any:
    return await stage.call("set_start_date", stage.connection_id, start_date="2025-01-31")


async def choose(stage: Stage) -> Any:
    return await stage.call("choose", stage.connection_id, resources=["customer"])


async def remove_connection(stage: Stage) -> Any:
    name = (await stage.call("get_connection", stage.connection_id))["account_name"]
    return await stage.call("remove_connection", stage.connection_id, account_name=name, delete_rows=False)


async def begin_setup(stage: Stage) -> dict[str, Any]:
    wanted = [await another_destination(stage)]
    return await stage.call("create_setup", api_key=stage.stripe.simulation.first_key, destination_ids=wanted)


async def delete_setup(stage: Stage) -> Any:
    return await stage.call("delete_setup", (await begin_setup(stage))["id"])


async def complete_setup(stage: Stage) -> Any:
    return await stage.call("complete_setup", (await begin_setup(stage))["id"], resources=["customer"])


async def create_sync(stage: Stage) -> dict[str, Any]:
    return await stage.call("create_sync", stage.connection_id, resources=["customer"])


async def pause_sync(stage: Stage) -> Any:
    return await stage.call("pause_sync", (await create_sync(stage))["id"])


async def resume_sync(stage: Stage) -> Any:
    sync_id = (await create_sync(stage))["id"]
    await stage.call("pause_sync", sync_id)
    return await stage.call("resume_sync", sync_id)


async def cancel_sync(stage: Stage) -> Any:
    return await stage.call("cancel_sync", (await create_sync(stage))["id"])


async def deliver_again(stage: Stage) -> Any:
    sql = "INSERT INTO delivery_stops SELECT connection_id, destination_id, 21, 100, 'why' FROM connection_destinations"
    await execute(stage.database_url, sql)
    return await stage.call("deliver_again", stage.connection_id)


async def replay_dead_letters(stage: Stage) -> Any:
    return await stage.call("replay_dead_letters", all=True)


async def discard_dead_letters(stage: Stage) -> Any:
    return await stage.call("discard_dead_letters", all=True)


async def verify_connection(stage: Stage) -> dict[str, Any]:
    return await stage.call("verify_connection", stage.connection_id, full=True)


async def repair_sync(stage: Stage) -> Any:
    sync_id = (await verify_connection(stage))["id"]
    ended = "UPDATE syncs SET status = $2, finished_at = CASE $2 WHEN 'succeeded' THEN now() END WHERE id = $1"
    for status in ("running", "succeeded"):
        await execute(stage.database_url, ended, sync_id, status)
    return await stage.call("repair_sync", sync_id)


async def create_token(stage: Stage) -> dict[str, Any]:
    return await stage.call("create_token", name="Nightly", scope="read")


async def revoke_token(stage: Stage) -> Any:
    return await stage.call("revoke_token", (await create_token(stage))["id"])


async def create_sign_in_link(stage: Stage) -> Any:
    return await stage.call("create_sign_in_link")


CHANGES: dict[str, Callable[[Stage], Awaitable[Any]]] = {
    change.__name__: change
    for change in (
        create_destination,
        change_destination,
        rebuild_destination,
        delete_destination,
        create_connection,
        pause_connection,
        resume_connection,
        update_key,
        rotate_webhook_secret,
        set_start_date,
        choose,
        remove_connection,
        delete_setup,
        complete_setup,
        create_sync,
        pause_sync,
        resume_sync,
        cancel_sync,
        deliver_again,
        replay_dead_letters,
        discard_dead_letters,
        verify_connection,
        repair_sync,
        create_token,
        revoke_token,
        create_sign_in_link,
    )
} | {"create_setup": begin_setup}


def test_every_operation_that_changes_something_is_tried() -> None:
    changing = {operation.name for operation in OPERATIONS if operation.method != "GET"}
    assert set(CHANGES) == changing - CHANGE_NOTHING


@pytest.mark.parametrize("name", CHANGES)
async def test_change_leaves_an_entry_that_names_the_request(stage: Stage, name: str) -> None:
    request_id = (await CHANGES[name](stage))["request_id"]
    entries = await execute(stage.database_url, "SELECT * FROM audit_log WHERE request_id = $1", request_id)
    assert entries, name
    assert {entry["actor"] for entry in entries} == {"first token"}
    assert ACTIONS.get(name) in (None, *(entry["action"] for entry in entries))


async def test_log_of_all_changes_holds_and_tells_no_secret(stage: Stage) -> None:
    await another_destination(stage)
    await create_token(stage)
    await pause_connection(stage)
    assert (await stage.call("verify_audit_log"))["broken_at"] is None
    text = str([dict(row) for row in await execute(stage.database_url, "SELECT * FROM audit_log")])
    for secret in (stage.stripe.simulation.first_key, "Nightly", "Others", "Till Shop", "tls_"):
        assert secret not in text
