"""The reference page has every operation, object and code, and its examples are taken."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator

import pytest

from services.connection_api.dashboard.reference import Entry, make_reference
from services.connection_api.rest.error_codes import answered_errors
from services.connection_api.rest.openapi import describe
from services.connection_api.rest.operations import OPERATIONS
from tests.unit.connection_api.serving import Client, make_settings, running

REFERENCE = make_reference()
ENTRIES = {entry.name: entry for group in REFERENCE.groups for entry in group.entries}


@pytest.fixture
async def api() -> AsyncIterator[Client]:
    async with running(make_settings()) as client:
        yield client


async def page_of(api: Client) -> str:
    answer = await api.get("/reference")
    assert (answer.status, answer.content_type) == (200, "text/html")
    return await answer.text()


def test_every_operation_has_its_fields_and_refusals() -> None:
    assert list(ENTRIES) == [operation.name for operation in OPERATIONS]
    for operation in OPERATIONS:
        entry = ENTRIES[operation.name]
        fields = {field.name for _, found in entry.parameters for field in found}
        if operation.body:
            assert {f.alias or name for name, f in operation.body.model_fields.items()} <= fields
        if operation.query:
            assert set(operation.query.model_fields) <= fields
        assert bool(entry.answer) == bool(operation.answer)
        assert set(operation.refusals) <= {refusal.status for refusal in entry.refusals} | {401, 403, 429, 503}


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.body], ids=lambda operation: operation.name)
def test_body_of_an_example_is_taken(operation: object) -> None:
    [known] = [one for one in OPERATIONS if one is operation]
    assert known.body
    [body] = re.findall(r"-d '(.*)'", ENTRIES[known.name].example)
    known.body.model_validate(json.loads(body))


def test_example_calls_its_operation() -> None:
    for entry in ENTRIES.values():
        assert entry.path.split("{")[0] in entry.example
        assert "{" not in entry.example.split("-d ")[0]
        assert method_of(entry) == entry.method


def method_of(entry: Entry) -> str:
    """What curl does without `-X`."""
    given = re.search(r"-X (\w+)", entry.example)
    return given[1] if given else "POST" if " -d " in entry.example else "GET"


async def test_every_link_of_the_page_leads_somewhere(api: Client) -> None:
    page = await page_of(api)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert {operation.name for operation in OPERATIONS} <= set(ids)


async def test_page_has_every_object_and_code(api: Client) -> None:
    page = await page_of(api)
    schemas = describe(OPERATIONS)["components"]["schemas"]
    answers = {name for name, schema in schemas.items() if name.endswith("Answer") and "properties" in schema}
    assert answers <= set(re.findall(r'id="object-(\w+)"', page))
    assert all(f"<code>{error.code}</code>" in page for error in answered_errors())


async def test_page_runs_nothing_and_loads_only_our_own_files(api: Client) -> None:
    page = await page_of(api)
    assert " style=" not in page
    assert "<script>" not in page
    loaded = re.findall(r'<(?:script|link|img)[^>]* (?:src|href)="([^"]+)"', page)
    assert loaded
    assert all(address.startswith("/static/") for address in loaded)


async def test_only_who_is_signed_in_is_offered_to_sign_out(api: Client) -> None:
    assert "/sign-out" not in await page_of(api)
    answer = await api.get("/reference", headers={"Cookie": "tillstream_session=ses_x"})
    assert "/sign-out" in await answer.text()
