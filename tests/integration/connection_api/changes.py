"""Each operation that changes something, tried once on an API with a connected account."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from services.connection_api.rest.operations import OPERATIONS
from tests.integration.connection_api.serving import execute, ready
from tests.integration.simulator.running import Running, run_simulator
from tests.unit.connection_api.serving import BEARER, Client


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


@asynccontextmanager
async def staged(database_url: str) -> AsyncIterator[Stage]:
    """Lend a stage."""
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
    schema = f"others_{uuid.uuid4().hex[:8]}"
    made = await stage.call("create_destination", name=schema.title(), url=stage.database_url, schema=schema)
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


async def change_connection(stage: Stage) -> Any:
    return await stage.call("change_connection", stage.connection_id, name="Another name")


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


async def give_up_removal_rows(stage: Stage) -> Any:
    name = (await stage.call("get_connection", stage.connection_id))["account_name"]
    removal = await stage.call("remove_connection", stage.connection_id, account_name=name, delete_rows=True)
    return await stage.call("give_up_removal_rows", removal["id"])


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


async def set_verify_schedule(stage: Stage) -> Any:
    return await stage.call("set_verify_schedule", stage.connection_id, how_often="daily")


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


async def end_session(stage: Stage) -> Any:
    link = urlsplit((await create_sign_in_link(stage))["url"]).path
    await stage.api.post(link, headers={"Sec-Fetch-Site": "same-origin"}, allow_redirects=False)
    [session] = (await stage.call("list_sessions"))["data"]
    return await stage.call("end_session", session["id"])


async def create_alarm(stage: Stage) -> dict[str, Any]:
    return await stage.call("create_alarm", kind="webhook", address="http://127.0.0.1:1/secret-path")


async def delete_alarm(stage: Stage) -> Any:
    return await stage.call("delete_alarm", (await create_alarm(stage))["alarm"]["id"])


async def test_alarm(stage: Stage) -> Any:
    return await stage.call("test_alarm", (await create_alarm(stage))["alarm"]["id"])


async def change_settings(stage: Stage) -> Any:
    return await stage.call("change_settings", time_zone="Europe/Berlin")


CHANGES: dict[str, Callable[[Stage], Awaitable[Any]]] = {
    change.__name__: change
    for change in (
        create_destination,
        change_destination,
        rebuild_destination,
        delete_destination,
        create_connection,
        change_connection,
        pause_connection,
        resume_connection,
        update_key,
        rotate_webhook_secret,
        set_start_date,
        choose,
        remove_connection,
        give_up_removal_rows,
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
        set_verify_schedule,
        repair_sync,
        create_token,
        revoke_token,
        create_sign_in_link,
        end_session,
        create_alarm,
        delete_alarm,
        test_alarm,
        change_settings,
    )
} | {"create_setup": begin_setup}
