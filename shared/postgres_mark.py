"""The mark in a Postgres schema that says which destination of which installation fills it.

An address is only a name: a host has several, and so has a server behind a pooler. What lies in the schema is the
same by whatever name one comes, so whoever is about to write there looks at the mark first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.db import Connection
from shared.postgres_faults import Fault
from shared.postgres_survey import look
from shared.postgres_tables import MARK, create_sql, quote

SETUP_LOCK = 7_114_101  # any number, the same everywhere: who makes tables or leaves a mark takes turns
TAKEN = "destination_taken"

_MAY_IDENTIFY = "SELECT has_function_privilege('pg_control_system()', 'EXECUTE')"
# What the server says of itself: no copy by a dump has the same, whatever its address.
_IDENTIFY = """
SELECT s.system_identifier || '/' || d.oid || '/' || n.oid FROM pg_control_system() s, pg_database d, pg_namespace n
WHERE d.datname = current_database() AND n.nspname = $1
"""
_READ = "SELECT installation_id, destination_id, place, since FROM {mark}"
_WRITE = """
INSERT INTO {mark} (installation_id, destination_id, place) VALUES ($1, $2, $3)
ON CONFLICT (is_only) DO UPDATE SET
    installation_id = excluded.installation_id, destination_id = excluded.destination_id, place = excluded.place,
    since = now()
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """Who fills a schema; `place` is where the mark was left, as the server said it."""

    installation_id: str
    destination_id: str
    place: str | None
    since: datetime


class Registry(Protocol):
    """What an installation knows of its destinations."""

    async def name_of(self, destination_id: str) -> str | None:
        """Return the name of a destination; `None` for one that is not there any more."""

    async def note_place(self, destination_id: str, place: str | None) -> None:
        """Note what the server says of the place that a destination fills."""


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who wants to fill a schema; without `destination_id` one that is not kept yet."""

    installation_id: str
    destination_id: str | None
    registry: Registry


@dataclass(frozen=True, slots=True)
class Rival:
    """Another one that fills the schema; `name` is that of a destination of the same installation."""

    mark: Mark
    name: str | None

    def fault(self, schema: str) -> Fault:
        """Say whose the schema is, and how it is taken over."""
        if self.name:
            whose = f"the destination {self.name} ({self.mark.destination_id}), maybe by another name of the server"
        else:
            whose = (
                f"another Tillstream installation ({self.mark.installation_id}, its destination "
                f"{self.mark.destination_id})"
            )
        return Fault(
            TAKEN,
            f"The schema {schema} is filled by {whose}, since {self.mark.since:%Y-%m-%d}.",
            "Choose another schema. If the other one does not write there any more, take the schema over: by the "
            "button, with `--take-over`, or with `take_over` over REST. From then on the other one writes nothing "
            "there.",
        )


async def find_rival(db: Connection, schema: str, claimant: Claimant) -> Rival | None:
    """Return who else fills the schema; `None` if nobody does, or the claimant itself. Changes nothing."""
    mark = await read_mark(db, schema)
    return await _judge(mark, await read_place(db, schema), claimant) if mark else None


async def claim(db: Connection, schema: str, claimant: Claimant, *, take_over: bool = False) -> Rival | None:
    """Leave the claimant's mark in the schema, which is made if it is missing; return who stands in the way.

    It works within the caller's transaction. Of two that claim at once, the second one finds the first one's mark.
    """
    assert claimant.destination_id
    if await _is_held(db, schema, claimant):
        return None
    await db.execute("SELECT pg_advisory_xact_lock($1)", SETUP_LOCK)
    survey = await look(db, schema, [MARK])
    if not survey.has_schema:
        await db.execute(f"CREATE SCHEMA {quote(schema)}")
    if survey.missing([MARK]):
        await db.execute(";\n".join(create_sql(schema, MARK)))
    elif not take_over and (rival := await find_rival(db, schema, claimant)):
        return rival
    place = await read_place(db, schema)
    await db.execute(_WRITE.format(mark=_name(schema)), claimant.installation_id, claimant.destination_id, place)
    await claimant.registry.note_place(claimant.destination_id, place)
    return None


async def read_mark(db: Connection, schema: str) -> Mark | None:
    """Return the schema's mark, if there is one."""
    if not await db.fetchval("SELECT to_regclass($1) IS NOT NULL", _name(schema)):
        return None
    row = await db.fetchrow(_READ.format(mark=_name(schema)))
    return Mark(**row) if row else None


async def read_place(db: Connection, schema: str) -> str | None:
    """Return what the server says of the schema's place; `None` where it does not tell."""
    return str(found) if await db.fetchval(_MAY_IDENTIFY) and (found := await db.fetchval(_IDENTIFY, schema)) else None


async def _is_held(db: Connection, schema: str, claimant: Claimant) -> bool:
    """Tell whether the mark is the claimant's, and was left at this place."""
    mark = await read_mark(db, schema)
    if mark is None or (mark.installation_id, mark.destination_id) != (
        claimant.installation_id,
        claimant.destination_id,
    ):
        return False
    return mark.place == await read_place(db, schema)


async def _judge(mark: Mark, place: str | None, claimant: Claimant) -> Rival | None:
    if mark.place and place and mark.place != place:
        return None  # it came with a copy of another place
    if mark.installation_id != claimant.installation_id:
        return Rival(mark, None)
    if mark.destination_id == claimant.destination_id:
        return None
    name = await claimant.registry.name_of(mark.destination_id)
    return Rival(mark, name) if name else None  # what was removed here fills nothing any more


def _name(schema: str) -> str:
    return f"{quote(schema)}.{quote(MARK.name)}"
