"""What is synced, as a form says it: resources, destinations and fields with a tick, and other fields in words."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from multidict import MultiDictProxy

from services.connection_api.dashboard.choice.trees import FieldsOf, fields_of
from services.connection_api.labels import label_of
from services.connection_api.life.choices import check_omitted, choose_resources, newly_omitted, restored
from services.connection_api.life.key_report import GROUPS
from services.connection_api.rest.requests import ID
from shared.catalogue import BY_NAME, RESOURCES, Resource
from shared.connections import Connection
from shared.destinations import Destination
from shared.errors import PayloadError

LINE = re.compile(r"([a-z0-9_.]+)\s*:\s*(\S.*)\Z")
PATH = re.compile(r"[a-z0-9_]{1,64}(\.[a-z0-9_]{1,64}){0,7}\Z")
TICK = re.compile(rf"([a-z0-9_]{{1,64}}):({PATH.pattern})")
# The fields of the form: what is ticked and typed, and whose fields a button shows or suggests.
PICKED, TYPED, OPENED, SUGGEST = "omit", "omitted", "fields_of", "suggest"
LONGEST_TEXT = 20_000  # characters
# What of the resources that are synced by default is about a person.
PERSONAL: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "customer": ("address", "email", "name", "phone", "shipping"),
        "charge": ("billing_details", "receipt_email", "shipping"),
        "payment_intent": ("receipt_email", "shipping"),
        "payment_method": ("billing_details",),
        "invoice": ("customer_address", "customer_email", "customer_name", "customer_phone", "customer_shipping"),
    }
)


@dataclass(frozen=True, slots=True)
class Line:
    """A resource that can be chosen."""

    name: str
    label: str
    toggle: str
    permission: str
    is_default: bool


@dataclass(frozen=True, slots=True)
class Block:
    """The resources of one group."""

    title: str
    resources: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Fields of a resource that are ticked by one press."""

    resource: str
    label: str
    fields: str


def form_values(
    resources: Iterable[str],
    omitted: Mapping[str, Sequence[str]],
    *,
    typed: str = "",
    opened: Collection[str] = (),
) -> dict[str, object]:
    """Return what templates/choice_fields.html needs; of the `opened` resources it shows all fields."""
    return {
        "groups": [
            Block(title.removeprefix("All ").capitalize(), tuple(_line(row) for row in RESOURCES if row.group is group))
            for group, title, _ in GROUPS
            if group is not None
        ],
        "selected": frozenset(resources),
        "omitted": typed,
        "trees": [fields_of(row.name, omitted.get(row.name, ()), is_opened=row.name in opened) for row in RESOURCES],
        "suggestions": [Suggestion(name, label_of(name), ", ".join(paths)) for name, paths in PERSONAL.items()],
    }


def sent_values(form: MultiDictProxy[Any]) -> dict[str, object]:
    """Return the same for a form as it was sent, with the fields that it asks to be suggested or shown."""
    resources, typed = map(str, form.getall("resources", ())), str(form.get(TYPED, ""))
    opened = {str(form.get(name, "")) for name in (SUGGEST, OPENED)}
    return form_values(resources, _left_out(form), typed=typed, opened=opened)


def asked_fields(form: MultiDictProxy[Any]) -> FieldsOf:
    """Return the fields that a form asks for, as it has ticked them; raise `PayloadError` for no resource."""
    name = str(form.get(SUGGEST) or form.get(OPENED, ""))
    if name not in BY_NAME:
        raise PayloadError("There is no such resource.", field=TYPED)
    return fields_of(name, _left_out(form).get(name, ()), is_opened=True)


def read_resources(values: Sequence[str]) -> list[str]:
    """Return the ticked resources; raise `PayloadError` when there is none."""
    return [row.name for row in choose_resources(values)]


def read_omitted(text: str, picked: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return the fields by resource: those typed, and those `picked`, each as its resource, a colon and its path.

    Raises `PayloadError` that says which line can't be used, and why.
    """
    if len(text) > LONGEST_TEXT:
        raise PayloadError("This is too long.", field=TYPED)
    fields: dict[str, list[str]] = {}
    for value in picked:
        match = TICK.match(value)
        if not match:
            raise PayloadError("A ticked field can't be read. Tick it again.", field=TYPED)
        fields.setdefault(match[1], []).append(match[2])
    for line in text.splitlines():
        if line.strip():
            name, paths = _read_line(line.strip())
            fields.setdefault(name, []).extend(paths)
    try:
        return check_omitted(fields)
    except PayloadError as error:
        raise PayloadError(error.message, field=TYPED) from error


def read_destinations(values: Sequence[str]) -> list[str]:
    """Return the ids of the ticked destinations; raise `PayloadError` when there is none, or what is no id."""
    if not values:
        raise PayloadError("Choose at least one destination.", field="destination_ids")
    if not all(ID.match(one) for one in values):
        raise PayloadError("There is no such destination.", field="destination_ids")
    return list(dict.fromkeys(values))


def consequences(connection: Connection, resources: Sequence[str], omitted: Mapping[str, Sequence[str]]) -> list[str]:
    """Say what follows from a change before it is saved."""
    added = [name for name in resources if name not in connection.resources]
    gone = [name for name in connection.resources if name not in resources]
    again = [name for name in restored(connection, omitted) if name in resources and name not in added]
    sentences = [
        (added, "{} are added: their history is copied from the start date on."),
        (gone, "{} are no longer updated. Their rows stay as they are."),
        (again, "{} are read again, since a field that was left out is written from now on."),
    ]
    said = [sentence.format(_named(names)) for names, sentence in sentences if names]
    for name, paths in newly_omitted(connection, omitted).items():
        said.append(
            f"{_named([name])}: {', '.join(paths)} are never written again, and are taken out of the rows there are."
        )
    return said


def moves(destinations: Iterable[Destination], before: Collection[str], after: Collection[str]) -> list[str]:
    """Say what follows from delivering to the destinations `after` rather than to those `before`."""
    changed = [one for one in destinations if (one.id in before) != (one.id in after)]
    return [f"{one.name} gets all history." for one in changed if one.id in after] + [
        f"Rows in {one.name} stay as they are and are not updated any more." for one in changed if one.id in before
    ]


def _left_out(form: MultiDictProxy[Any]) -> dict[str, list[str]]:
    """Return what a form has ticked and what it asks to be suggested, by resource."""
    omitted: dict[str, list[str]] = {}
    for value in form.getall(PICKED, ()):
        if match := TICK.match(str(value)):
            omitted.setdefault(match[1], []).append(match[2])
    suggested = str(form.get(SUGGEST, ""))
    omitted.setdefault(suggested, []).extend(PERSONAL.get(suggested, ()))
    return omitted


def _line(row: Resource) -> Line:
    return Line(row.name, label_of(row.name), row.toggle, row.read_permission, row.is_default)


def _named(names: Iterable[str]) -> str:
    return ", ".join(label_of(name) for name in names)


def _read_line(line: str) -> tuple[str, list[str]]:
    match = LINE.match(line)
    paths = [path for path in re.split(r"[,\s]+", match[2]) if path] if match else []
    if not match or not all(PATH.match(path) for path in paths):
        raise PayloadError(
            f"“{line[:80]}” can't be read. Write a resource, a colon and its fields, such as `customer: email, name`.",
            field=TYPED,
        )
    return match[1], paths
