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
Queries = dict[Any, Json]  # a query's class → its schema


def describe(operations: Sequence[Operation]) -> Json:
    """Return the document."""
    names, components, queries = _schemas(operations)
    paths: dict[str, Json] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, names, queries)
    document: Json = {
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
    _ease(document)
    return document


def _schemas(operations: Sequence[Operation]) -> tuple[References, Json, Queries]:
    """Return the reference of each model, all schemas by name, and the fields of each query."""
    bodies = {operation.body for operation in operations if operation.body}
    answers = {operation.answer for operation in operations if operation.answer} | {Problem}
    wanted = [(model, "validation") for model in sorted(bodies, key=_name)]
    wanted += [(model, "serialization") for model in sorted(answers, key=_name)]
    # What a query's fields refer to is a schema like any other; the query itself is a list of parameters.
    asked = {operation.query for operation in operations if operation.query}
    wanted += [(model, "validation") for model in sorted(asked, key=_name)]
    references, schema = models_json_schema(wanted, ref_template=REFERENCE)  # type: ignore[arg-type]
    names = {model: reference for (model, _), reference in references.items()}
    components = schema["$defs"]
    return names, components, {model: components.pop(names[model]["$ref"].rpartition("/")[2]) for model in asked}


def _name(model: type[BaseModel]) -> str:
    return model.__name__


def _operation(operation: Operation, names: References, queries: Queries) -> Json:
    described: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Needs the scope `{operation.access}`.",
        "responses": _responses(operation, names),
    }
    parameters = [*_path_parameters(operation), *_query_parameters(operation, queries), *_header_parameters(operation)]
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


def _query_parameters(operation: Operation, queries: Queries) -> list[Json]:
    if operation.query is None:
        return []
    schema = queries[operation.query]
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
    if not options:
        return field
    rest = {key: value for key, value in field.items() if key not in ("anyOf", "default")}
    merged: Json = rest | (options[0] if len(options) == 1 else {"anyOf": options})
    return merged


def _ease(part: Any) -> None:
    """Say what generators of clients understand.

    No choice stands within a choice, since not all look there; and null is no default, since what has one counts as
    given always.
    """
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _ease(inner)
    if not isinstance(part, dict):
        return
    if "default" in part and part["default"] is None:
        del part["default"]
    if isinstance(part.get("anyOf"), list):
        part["anyOf"] = [
            one for option in part["anyOf"] for one in (option["anyOf"] if option.keys() == {"anyOf"} else [option])
        ]
