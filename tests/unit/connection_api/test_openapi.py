"""The description of the API, held to the routes and to itself."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from openapi_spec_validator import validate

from services.connection_api.app import create_app
from services.connection_api.rest.openapi import describe
from services.connection_api.rest.operations import OPERATIONS
from shared.http import ROUTE_ACCESS, Access
from tests.infrastructure import REPOSITORY
from tests.unit.connection_api.serving import make_settings, running

DOCUMENT: dict[str, Any] = describe(OPERATIONS)


def test_document_and_routes_name_the_same_operations() -> None:
    routes = {route for route in create_app(make_settings())[ROUTE_ACCESS] if route[1].startswith("/v1/")}
    described = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == routes


def test_operations_have_names_of_their_own() -> None:
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)


def test_routes_have_the_access_of_the_table() -> None:
    declared = create_app(make_settings())[ROUTE_ACCESS]
    assert {(o.method, o.path): o.access for o in OPERATIONS}.items() <= declared.items()
    assert all(o.access in (Access.READ, Access.MANAGE, Access.ADMIN) for o in OPERATIONS)


def test_every_reference_leads_somewhere() -> None:
    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(DOCUMENT)))
    assert references == {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}


def test_document_is_what_the_specification_allows() -> None:
    validate(json.loads(json.dumps(DOCUMENT)))


def test_every_time_has_a_type() -> None:
    moments = {"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}
    schemas = DOCUMENT["components"]["schemas"]
    for name in ("NewConnectionBody", "NewStartDate", "StartDateQuestion", "SetupConsent"):
        assert [*moments, {"type": "null"}] == schemas[name]["properties"]["start_date"]["anyOf"], name
    asked = {p["name"]: p["schema"] for p in DOCUMENT["paths"]["/v1/syncs"]["get"]["parameters"]}
    assert list(moments) == asked["since"]["anyOf"] == asked["until"]["anyOf"]


def test_no_field_is_without_a_type() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for field, described in schema.get("properties", {}).items():
            options = described.get("anyOf", [described])
            assert all({"type", "$ref", "enum", "const"} & option.keys() for option in options), (name, field)


def test_path_parameters_are_described() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            named = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))


def test_secrets_only_come_in() -> None:
    taken = {operation.body.__name__ for operation in OPERATIONS if operation.body}
    for name, schema in DOCUMENT["components"]["schemas"].items():
        secret = {field for field, value in schema.get("properties", {}).items() if value.get("writeOnly")}
        assert not secret or name in taken


async def test_anybody_may_read_the_document() -> None:
    async with running(make_settings()) as api:
        answer = await api.get("/openapi.json")
        assert (answer.status, await answer.json()) == (200, json.loads(json.dumps(DOCUMENT)))


@pytest.mark.parametrize("lock", ["python/requirements.lock", "typescript/package-lock.json"])
def test_lock_file_of_generated_clients_names_no_registry(lock: str) -> None:
    text = (REPOSITORY / "tests" / "e2e" / "clients" / lock).read_text("utf-8")
    assert set(re.findall(r"https?://([^/\"]+)", text)) <= {"github.com", "opencollective.com"}  # who is thanked
    assert "sha512-" in text or "--hash=sha256:" in text
