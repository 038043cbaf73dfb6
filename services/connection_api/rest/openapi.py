"""The OpenAPI 3.1 document, derived from the table of operations and the pydantic models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.connection_api.rest.models import Problem
from services.connection_api.rest.operations import Operation
from shared.http import PROBLEM, Access

REFERENCE = "#/components/schemas/{model}"
PATH_PARAMETER = re.compile(r"\{(\w+)\}")
REFUSALS = {
    401: "No valid token or session.",
    403: "The token's scope does not allow this.",
    404: "There is nothing with this id.",
    409: "This clashes with something that exists.",
    413: "The body is too large.",
    422: "A field can't be used; `field` names it.",
    429: "Too many wrong tokens came from this address.",
    500: "An error of Tillstream.",
    503: "Temporarily unavailable; try again after `Retry-After` seconds.",
}
Json = dict[str, Any]
IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes it safe to send the request again: within a day it is answered as the first time.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
}
References = dict[Any, Json]  # a model's class → the reference of its schema


def describe(operations: Sequence[Operation]) -> Json:
    """Return the document."""
    names, components = _schemas(operations)
    paths: dict[str, Json] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tillstream",
            "version": "1",
            "description": "Keeps a Stripe account's data, live and historical, in your databases.",
        },
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "tillstream_session"},
            },
        },
    }


def _schemas(operations: Sequence[Operation]) -> tuple[References, Json]:
    """Return the reference of each model, and all schemas by name."""
    bodies = {operation.body for operation in operations if operation.body}
    answers = {operation.answer for operation in operations if operation.answer} | {Problem}
    wanted = [(model, "validation") for model in sorted(bodies, key=_name)]
    wanted += [(model, "serialization") for model in sorted(answers, key=_name)]
    references, schema = models_json_schema(wanted, ref_template=REFERENCE)  # type: ignore[arg-type]
    return {model: reference for (model, _), reference in references.items()}, schema["$defs"]


def _name(model: type[BaseModel]) -> str:
    return model.__name__


def _operation(operation: Operation, names: References) -> Json:
    described: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Needs the scope `{operation.access}`.",
        "responses": _responses(operation, names),
    }
    parameters = [*_path_parameters(operation), *_query_parameters(operation), *_header_parameters(operation)]
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        described["requestBody"] = {
            "required": any(field.is_required() for field in operation.body.model_fields.values()),
            "content": {"application/json": {"schema": names[operation.body]}},
        }
    if operation.access is Access.PUBLIC:
        described["security"] = []
    return described


def _responses(operation: Operation, names: References) -> Json:
    success: Json = {"description": operation.summary}
    if operation.answer:
        others = {content_type: {"schema": {"type": "string"}} for content_type in operation.also_answers}
        success["content"] = {"application/json": {"schema": names[operation.answer]}} | others
    problem = {PROBLEM: {"schema": names[Problem]}}
    refusals = {status: {"description": REFUSALS[status], "content": problem} for status in _refusals(operation)}
    return {str(operation.status): success} | {str(status): refusals[status] for status in sorted(refusals)}


def _refusals(operation: Operation) -> set[int]:
    found = {401, 403, 429, 500, 503, *operation.refusals}
    if PATH_PARAMETER.search(operation.path):
        found.add(404)
    if operation.body:
        found |= {413, 422}
    if operation.query:
        found.add(422)
    if _header_parameters(operation):
        found |= {409, 422}
    return found


def _path_parameters(operation: Operation) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in PATH_PARAMETER.findall(operation.path)
    ]


def _query_parameters(operation: Operation) -> list[Json]:
    if operation.query is None:
        return []
    schema = operation.query.model_json_schema()
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _not_null(field)}
        for name, field in schema["properties"].items()
    ]


def _header_parameters(operation: Operation) -> list[Json]:
    return [IDEMPOTENCY_KEY] if operation.method == "POST" and not operation.shows_secret else []


def _not_null(field: Json) -> Json:
    """A query has no null: what may be left out is only not required."""
    options = [option for option in field.get("anyOf", []) if option != {"type": "null"}]
    if len(options) != 1:
        return field
    rest = {key: value for key, value in field.items() if key not in ("anyOf", "default")}
    merged: Json = rest | options[0]
    return merged
