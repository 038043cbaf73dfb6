"""The description of the API, held to the routes and to itself."""

from __future__ import annotations

import json
import re
from typing import Any

from services.connection_api.app import create_app
from services.connection_api.rest.openapi import describe
from services.connection_api.rest.operations import OPERATIONS
from shared.http import ROUTE_ACCESS, Access
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
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(DOCUMENT)))
    assert references == set(DOCUMENT["components"]["schemas"])


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
