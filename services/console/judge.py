"""Compares a destination with the simulator's truth, row by row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from shared.catalogue import BY_NAME, Resource
from shared.postgres_tables import quote
from simulator.client import ControlClient

EXAMPLES = 3  # differences that are shown of each table


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a table compares."""

    table: str
    truth: int
    rows: int
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    different: tuple[str, ...]  # ids, each with the fields that differ

    @property
    def is_equal(self) -> bool:
        """Whether the table is as it has to be."""
        return not (self.missing or self.extra or self.different)


def compare(table: str, truth: Mapping[str, Any], rows: Mapping[str, Any]) -> Verdict:
    """Compare the objects that live with the rows that are not deleted, both by id."""
    return Verdict(
        table,
        len(truth),
        len(rows),
        missing=tuple(sorted(truth.keys() - rows.keys())),
        extra=tuple(sorted(rows.keys() - truth.keys())),
        different=tuple(
            f"{key}: {', '.join(sorted(_differing(truth[key], rows[key])))}"
            for key in sorted(truth.keys() & rows.keys())
            if truth[key] != rows[key]
        ),
    )


async def judge(
    database_url: str, schema: str, control: ControlClient, resources: Iterable[str], *, account: str, livemode: bool
) -> list[Verdict]:
    """Compare every table of `resources` and of their children with the truth."""
    connection = await asyncpg.connect(database_url)
    try:
        verdicts = []
        for name in resources:
            resource = BY_NAME[name]
            for table, truth in _truths(resource, control):
                rows = await _rows(connection, schema, table, account, livemode)
                verdicts.append(compare(table, truth, rows))
        return verdicts
    finally:
        await connection.close()


def _truths(resource: Resource, control: ControlClient) -> Iterator[tuple[str, dict[str, Any]]]:
    if resource.is_singleton:
        own = (row for row in control.iter_truth("own") if row["object"]["object"] == resource.object)
        yield resource.table, {row["id"]: row["object"] for row in own}
        return
    living = (row for row in control.iter_truth(resource.object) if not row["deleted"])
    yield resource.table, {row["id"]: row["object"] for row in living}
    for child in resource.children:
        sets = control.iter_truth(resource.object, children=True)
        yield child.table, {row["id"]: row for parent in sets for row in parent["children"]}


async def _rows(
    connection: asyncpg.Connection, schema: str, table: str, account: str, livemode: bool
) -> dict[str, Any]:
    sql = f"""
    SELECT id, data::text AS data FROM {quote(schema)}.{quote(table)}
    WHERE _account = $1 AND _livemode = $2 AND NOT _deleted
    """
    return {row["id"]: json.loads(row["data"]) for row in await connection.fetch(sql, account, livemode)}


def _differing(one: Any, other: Any) -> Iterator[str]:
    if not isinstance(one, dict) or not isinstance(other, dict):
        yield "value"
        return
    yield from (str(key) for key in one.keys() | other.keys() if one.get(key) != other.get(key))
