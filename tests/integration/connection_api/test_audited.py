"""Whatever changes something over REST leaves an entry in the audit log that names the request."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.connection_api.rest.operations import OPERATIONS
from tests.integration.connection_api.changes import (
    CHANGES,
    Stage,
    another_destination,
    create_token,
    pause_connection,
    staged,
)
from tests.integration.connection_api.serving import execute

# They ask, though by POST: nothing is different afterwards.
CHANGE_NOTHING = {"test_destination", "try_destination", "check_key", "estimate_start_date"}
ACTIONS = {
    "create_destination": "destination.created",
    "change_destination": "destination.renamed",
    "delete_destination": "destination.deleted",
    "rebuild_destination": "destination.rebuilt",
    "create_connection": "connection.created",
    "change_connection": "connection.renamed",
    "pause_connection": "connection.paused",
    "resume_connection": "connection.resumed",
    "create_sync": "connection.sync_requested",
    "verify_connection": "connection.verify_requested",
    "set_verify_schedule": "connection.verify_scheduled",
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
    "end_session": "session.ended",
    "create_alarm": "alarm.created",
    "delete_alarm": "alarm.removed",
    "test_alarm": "alarm.tested",
    "change_settings": "settings.changed",
}


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with staged(database_url) as stage:
        yield stage


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
