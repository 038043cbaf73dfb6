"""Which dead letters are meant: by their ids, by a filter, or all, as SQL over `dead_letters`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.errors import NotFoundError

PREFIX = "dlt_"
# A record tells by a header which slice it came with.
OF_SYNC = "headers ->> 'slice' IN (SELECT id::text FROM slices WHERE sync_id = {parameter})"
FILTERED = ("group_id", "connection_id", "destination_id", "code", "resource")


def number_of(letter_id: str) -> int:
    """Return the number in a letter's id; raise `NotFoundError` for what can't be one."""
    number = letter_id.removeprefix(PREFIX)
    if not letter_id.startswith(PREFIX) or not number.isdecimal() or not number.isascii() or len(number) > 18:
        raise NotFoundError("There is no failed record with this id.")
    return int(number)


def condition_of(wanted: Mapping[str, Any], *, first: int) -> tuple[str, list[Any]]:
    """Return SQL that is true of the letters that are wanted, and its values, the first being parameter `first`."""
    conditions: list[str] = ["true"]
    values: list[Any] = []
    for name in FILTERED:
        if wanted.get(name):
            conditions.append(f"{name} = ${first + len(values)}")
            values.append(wanted[name])
    if wanted.get("sync_id"):
        conditions.append(OF_SYNC.format(parameter=f"${first + len(values)}"))
        values.append(wanted["sync_id"])
    if wanted.get("ids"):
        conditions.append(f"id = ANY (${first + len(values)}::bigint[])")
        values.append([number_of(one) for one in wanted["ids"]])
    return " AND ".join(conditions), values
