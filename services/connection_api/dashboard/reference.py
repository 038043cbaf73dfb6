"""The reference of the REST API as a page: rendered from what `/openapi.json` gives, so it can't differ.

It works without scripts and asks nothing of the network: a cluster without a way out has it too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.connection_api.rest.error_codes import answered_errors, meanings
from services.connection_api.rest.openapi import describe
from services.connection_api.rest.operations import GROUPS, OPERATIONS, Operation

Json = Mapping[str, Any]
PAGE = "Page_"  # how pydantic calls a page of something: `Page_SyncAnswer_`
EVERYWHERE = frozenset({401, 403, 429, 500, 503})  # what any operation can answer; told once
IDS: Mapping[str, str] = {
    "alarms": "alm_5f3k",
    "connections": "con_5f3k",
    "destinations": "dst_7g2m",
    "events": "evt_1PqR",
    "removals": "rem_9c4x",
    "setups": "set_2h8v",
    "syncs": "syn_3j6w",
    "tokens": "tok_8d5q",
}
# What an example gives for a field, by its name; a field that is not here gets something of its type.
SAMPLES: Mapping[str, Any] = {
    "kind": "webhook",
    "address": "https://example.com/alarms",
    "account_name": "Corner Shop",
    "connection_name": "Corner Shop → Warehouse",
    "api_key": "rk_live_51PqR…",
    "connection_id": IDS["connections"],
    "delete_rows": False,
    "destination_ids": [IDS["destinations"]],
    "expires_at": "2027-01-01",
    "how_often": "daily",
    "name": "Warehouse",
    "resources": ["charge", "customer"],
    "scope": "read",
    "start_date": "2025-01-31",
    "url": "postgresql://writer:…@db.example.com:5432/rows",
}
SHOWN_ANYWAY = frozenset({"resources", "name", "start_date"})  # optional fields without which an example says little


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a type: a word, or the name of an object that has a section of its own."""

    text: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that is sent or answered."""

    name: str
    type: tuple[Part, ...]
    is_required: bool
    limits: str
    description: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A status other than success."""

    status: int
    meaning: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An operation as the page shows it."""

    name: str
    method: str
    path: str
    summary: str
    scope: str
    status: int
    parameters: tuple[tuple[str, tuple[Field, ...]], ...]  # title and fields: path, query, header, body
    answer: tuple[Part, ...]
    also_answers: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    example: str


@dataclass(frozen=True, slots=True)
class Section:
    """The operations about one noun, or the fields of one object."""

    title: str
    anchor: str
    entries: tuple[Entry, ...] = ()
    fields: tuple[Field, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """The page."""

    groups: tuple[Section, ...]
    objects: tuple[Section, ...]
    everywhere: tuple[Refusal, ...]
    codes: tuple[tuple[str, int, str], ...]


def make_reference() -> Reference:
    """Return the page of all operations."""
    document = describe(OPERATIONS)
    schemas: Mapping[str, Json] = document["components"]["schemas"]
    groups = tuple(
        Section(title, _anchor(title), entries=tuple(_entry(one, document) for one in operations))
        for title, operations in GROUPS
    )
    bodies = {one.body.__name__ for one in OPERATIONS if one.body}
    objects = tuple(
        Section(name, f"object-{name}", fields=_fields(schema, schemas), description=schema.get("description", ""))
        for name, schema in sorted(schemas.items())
        if name not in bodies and "properties" in schema and not name.startswith(PAGE)
    )
    responses: Json = document["paths"]["/v1/connections"]["get"]["responses"]
    everywhere = tuple(Refusal(status, responses[str(status)]["description"]) for status in sorted(EVERYWHERE))
    return Reference(groups, objects, everywhere, tuple(meanings(answered_errors())))


def _entry(operation: Operation, document: Json) -> Entry:
    described: Json = document["paths"][operation.path][operation.method.lower()]
    schemas: Mapping[str, Json] = document["components"]["schemas"]
    responses: Json = described["responses"]
    success = responses[str(operation.status)].get("content", {}).get("application/json", {}).get("schema")
    return Entry(
        name=operation.name,
        method=operation.method,
        path=operation.path,
        summary=operation.summary,
        scope=str(operation.access),
        status=operation.status,
        parameters=tuple(_parameters(described, schemas)),
        answer=tuple(_type(success, schemas)) if success else (),
        also_answers=operation.also_answers,
        refusals=tuple(
            Refusal(int(status), response["description"])
            for status, response in responses.items()
            if int(status) >= 400 and int(status) not in EVERYWHERE
        ),
        example=_example(operation, described, schemas),
    )


def _parameters(described: Json, schemas: Mapping[str, Json]) -> Iterator[tuple[str, tuple[Field, ...]]]:
    for place, title in (("path", "In the path"), ("query", "In the query"), ("header", "Header")):
        found = [one for one in described.get("parameters", []) if one["in"] == place]
        if found:
            yield (
                title,
                tuple(_field(p["name"], {**p, **p["schema"]}, schemas, is_required=p["required"]) for p in found),
            )
    if body := described.get("requestBody"):
        yield "Body", _fields(schemas[_body_name(body)], schemas)


def _body_name(body: Json) -> str:
    reference: str = body["content"]["application/json"]["schema"]["$ref"]
    return _name(reference)


def _fields(schema: Json, schemas: Mapping[str, Json]) -> tuple[Field, ...]:
    required = schema.get("required", ())
    properties: Mapping[str, Json] = schema["properties"]
    return tuple(_field(name, one, schemas, is_required=name in required) for name, one in properties.items())


def _field(name: str, schema: Json, schemas: Mapping[str, Json], *, is_required: bool) -> Field:
    words = tuple(_type(schema, schemas))
    return Field(name, words, is_required, ", ".join(_limits(schema)), schema.get("description", ""))


def _type(schema: Json, schemas: Mapping[str, Json]) -> Iterator[Part]:
    """Yield the words of a type."""
    if reference := schema.get("$ref"):
        yield from _object(_name(reference), schemas)
    elif "enum" in schema:
        yield Part(" or ".join(f"“{value}”" for value in schema["enum"]))
    elif schema.get("type") == "array":
        yield Part("list of ")
        yield from _type(schema.get("items", {}), schemas)
    elif schema.get("type") == "object":
        values = next(iter(schema.get("patternProperties", {}).values()), schema.get("additionalProperties"))
        yield Part("map of names to ")
        yield from _type(values if isinstance(values, dict) else {}, schemas)
    elif options := [one for one in schema.get("anyOf", ()) if "type" in one or "$ref" in one]:
        # A time may be given as a day: two types for a program, one word for people.
        for number, words in enumerate(dict.fromkeys(tuple(_type(option, schemas)) for option in options)):
            yield from (Part(" or "),) if number else ()
            yield from words
    else:
        yield Part(_word(schema))


def _object(name: str, schemas: Mapping[str, Json]) -> Iterator[Part]:
    """Yield the name of an object with fields; a list's page and a choice of words have no section of their own."""
    if name.startswith(PAGE):
        yield Part("page of ")
        yield from _object(name.removeprefix(PAGE).rstrip("_"), schemas)
    elif "properties" in schemas[name]:
        yield Part(name, name)
    else:
        yield from _type(schemas[name], schemas)


def _word(schema: Json) -> str:
    form = schema.get("format") or next((one.get("format") for one in schema.get("anyOf", ())), None)
    words = {"date-time": "time", "date": "time", "password": "secret", "binary": "bytes"}
    return words.get(form or "") or str(schema.get("type", "anything"))


def _limits(schema: Json) -> Iterator[str]:
    options = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    known = {**(options[0] if len(options) == 1 else {}), **schema}
    for low, high, unit in (
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " entries"),
        ("minimum", "maximum", ""),
    ):
        if high in known:
            lowest = f"{known[low]} to" if low in known else "at most"
            yield f"{lowest} {known[high]:,}{unit}"
        elif low in known:
            yield f"{known[low]} or more{unit}"
    if schema.get("default") is not None:
        yield f"default {json.dumps(schema['default'])}"


def _example(operation: Operation, described: Json, schemas: Mapping[str, Json]) -> str:
    """Return a call of the operation for a shell."""
    noun = operation.path.split("/")[2]
    path = operation.path.replace("{id}", IDS.get(noun, "id")).replace("{name}", "revenue_by_day")
    lines = [f'curl -sS "$TILLSTREAM_API_URL{path}"']
    if operation.method not in ("GET", "POST") or (operation.method == "POST" and "requestBody" not in described):
        lines[0] = f'curl -sS -X {operation.method} "$TILLSTREAM_API_URL{path}"'
    lines.append('-H "Authorization: Bearer $TILLSTREAM_API_TOKEN"')
    if body := described.get("requestBody"):
        lines.append("-H 'Content-Type: application/json'")
        lines.append(f"-d '{json.dumps(sample(schemas[_body_name(body)], schemas), ensure_ascii=False)}'")
    return " \\\n  ".join(lines)


def sample(schema: Json, schemas: Mapping[str, Json]) -> dict[str, Any]:
    """Return a body that the operation takes: what it needs, and what says something."""
    properties: Mapping[str, Json] = schema["properties"]
    required = set(schema.get("required", ()))
    wanted = required or (SHOWN_ANYWAY & properties.keys()) or set(list(properties)[:1])
    return {name: _value(name, properties[name], schemas) for name in properties if name in wanted}


def _value(name: str, schema: Json, schemas: Mapping[str, Json]) -> Any:
    if name in SAMPLES:
        return SAMPLES[name]
    if reference := schema.get("$ref"):
        return sample(schemas[_name(reference)], schemas)
    return {"boolean": False, "integer": 1, "array": [], "object": {}}.get(schema.get("type", ""), name)


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower())
