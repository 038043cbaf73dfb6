"""Every operation keeps to its description: what it answers, with which status, and what it refuses.

Requests are drawn from the description itself, fit ones and unfit ones, and go to an API with a real database and a
Stripe that answers; what the path names is there half of the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.schemas import APIOperation

from services.connection_api.app import MAX_BODY
from services.connection_api.rest.openapi import describe
from services.connection_api.rest.operations import OPERATIONS
from tests.integration.connection_api.serving import execute, ready
from tests.integration.simulator.running import run_simulator
from tests.unit.connection_api.serving import BEARER, Client

EXAMPLES = 5  # of each operation, mode and kind of id
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
DRAW = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
SCHEMA = schemathesis.openapi.from_dict(describe(OPERATIONS))
EVENT = """
INSERT INTO event_log (connection_id, event_id, type, resource, object_id, created, outcome)
SELECT id, 'evt_1', 'charge.updated', 'charge', 'ch_1', 1700000000, 'updated' FROM connections
"""


@dataclass(frozen=True)
class Stage:
    """An API with a connection, and the id of one thing of each noun."""

    url: str
    ids: dict[str, str]


async def made(api: Client, path: str, **body: Any) -> str:
    answer = await api.post(path, json=body, headers=BEARER)
    assert answer.status in (201, 202), await answer.text()
    return str((await answer.json())["id"])


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with (
        run_simulator(objects=50, livemode=True) as stripe,
        ready(database_url, stripe_api_base=stripe.url, public_url="https://hooks.example.com") as api,
    ):
        destination = await made(api, "/v1/destinations", name="Rows", url=database_url)
        account = {"api_key": stripe.simulation.first_key, "destination_ids": [destination]}
        connection = await made(api, "/v1/connections", **account)
        await execute(database_url, EVENT)
        ids = {
            "destinations": destination,
            "connections": connection,
            "events": "evt_1",
            "syncs": await made(api, f"/v1/connections/{connection}/syncs"),
            "tokens": await made(api, "/v1/tokens", name="Other", scope="read"),
        }
        yield Stage(str(api.make_url("/")), ids)


def check(operation: APIOperation[Any, Any, Any], stage: Stage, mode: GenerationMode) -> int:
    """Send requests to the operation; raise what is not as described, return how many were sent."""
    known = stage.ids.get(operation.path.split("/")[2])
    strategies = [operation.as_strategy(mode)]
    if known and "{id}" in operation.path and mode is GenerationMode.POSITIVE:
        strategies.append(operation.as_strategy(mode, path_parameters={"id": known}))
    sent = 0

    @DRAW
    @given(st.one_of(strategies))
    def send(case: Case) -> None:
        nonlocal sent
        sent += 1
        answer = case.call(base_url=stage.url, headers=BEARER)
        checks = CHECKS
        if answer.status_code == 413:  # refused before it is read, which the check of unfit data does not know
            assert len(answer.request.body or b"") > MAX_BODY
            checks = [one for one in CHECKS if one is not negative_data_rejection]
        case.validate_response(answer, checks=checks)

    send()
    return sent


async def test_every_operation_is_as_it_is_described(stage: Stage) -> None:
    sent: dict[str, int] = {}
    for result in SCHEMA.get_all_operations():
        operation = result.ok()
        modes = [GenerationMode.POSITIVE]
        if list(operation.iter_parameters()) or operation.body:
            modes.append(GenerationMode.NEGATIVE)
        for mode in modes:
            count = await asyncio.to_thread(check, operation, stage, mode)
            sent[operation.label] = sent.get(operation.label, 0) + count
    assert set(sent) == {f"{one.method} {one.path}" for one in OPERATIONS}
    assert min(sent.values()) > 0
