"""Finds the connection or the destination that a person means: by an id, or by a unique part of its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from services.console.client import ApiClient
from services.console.task import WrongUseError
from shared.errors import NotFoundError

LONGEST_QUERY = 100  # characters that the API searches for
SHOWN = 10  # candidates
Row = dict[str, Any]
CONNECTION_ID = re.compile(r"con_[a-z0-9]{1,64}\Z")


class AmbiguousError(WrongUseError):
    """More than one thing has this name."""

    code = "ambiguous"


async def pick_connection(api: ApiClient, named: str) -> Row:
    """Return the connection; raise `NotFoundError`, or `AmbiguousError` listing the candidates."""
    if CONNECTION_ID.match(named):
        found: Row = await api.get(f"/v1/connections/{named}")
        return found
    query = named.strip()[:LONGEST_QUERY]
    rows = (await api.list("/v1/connections", q=query)).data if query.isprintable() and query else []
    return pick(rows, named, names=_names_of_connection, noun="connection", describe=describe_connection)


async def only_connection(api: ApiClient) -> Row:
    """Return the connection where there is just one; raise `WrongUseError` where there is none or a choice."""
    rows = (await api.list("/v1/connections")).data
    if len(rows) != 1:
        raise WrongUseError("Name the connection. `tillstream connections list` shows all.", field="connection")
    return rows[0]


async def pick_destination(api: ApiClient, named: str) -> Row:
    """Return the destination; raise `NotFoundError`, or `AmbiguousError` listing the candidates."""
    rows = (await api.list("/v1/destinations")).data
    return pick(rows, named, names=_names_of_destination, noun="destination", describe=_describe_destination)


def pick(
    rows: Sequence[Row],
    named: str,
    *,
    names: Callable[[Row], Sequence[str]],
    noun: str,
    describe: Callable[[Row], str],
) -> Row:
    """Return the one row that is named exactly so, else the one whose names hold it; case does not count."""
    wanted = named.strip().casefold()
    exact = [row for row in rows if wanted in [name.casefold() for name in names(row)]]
    found = exact or [row for row in rows if wanted and any(wanted in name.casefold() for name in names(row))]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFoundError(f"There is no {noun} “{named}”. `tillstream {noun}s list` shows all.")
    lines = [f"  {describe(row)}" for row in found[:SHOWN]]
    more = [f"  … and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    raise AmbiguousError("\n".join([f"“{named}” fits {len(found)} {noun}s. Name one by its id:", *lines, *more]))


def describe_connection(row: Row) -> str:
    """Return what tells a connection from others."""
    return f"{row['id']}  {row['name']}  {row['account_id']}  {mode_of(row)}"


def mode_of(row: Row) -> str:
    """Return whether the account is a live or a test one."""
    return "live" if row["livemode"] else "test"


def _describe_destination(row: Row) -> str:
    return f"{row['id']}  {row['name']}  {row['host']}:{row['port']}/{row['database']}"


def _names_of_connection(row: Row) -> Sequence[str]:
    return row["id"], row["account_id"], row["account_name"], row["name"]


def _names_of_destination(row: Row) -> Sequence[str]:
    return row["id"], row["name"]
