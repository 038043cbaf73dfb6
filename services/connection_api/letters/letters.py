"""Reads dead letters and their groups by keyset, and discards them with an entry in the audit log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from services.connection_api.rest.models import LetterAnswer, LetterChoice, LetterDetailAnswer, LetterGroupAnswer
from shared.audit import Actor, append
from shared.bounds import LONGEST_ID
from shared.db import Pool, Row, affected, database_errors, transaction
from shared.dead_letters import take_turn
from shared.errors import NotFoundError
from shared.letter_choice import OF_SYNC, PREFIX, condition_of, number_of
from shared.log import mask

LONGEST_BODY = 64 * 1024  # bytes that are shown
# Letters that were kept before ids were bounded may have very long ones.
COLUMNS = f"""id, group_id, stage, code, reason, connection_id, destination_id, resource,
              left(object_id, {LONGEST_ID}) AS object_id, topic, partition, record_offset, attempts, first_seen_at,
              last_seen_at, replay_id"""
LETTERS = "SELECT " + COLUMNS + " FROM dead_letters WHERE {filters} ORDER BY id DESC LIMIT $1"
LETTER = f"""
SELECT {COLUMNS}, headers, length(body) AS size, substr(body, 1, {LONGEST_BODY}) AS body FROM dead_letters WHERE id = $1
"""
GROUPS = """
SELECT g.*, (SELECT max(d.id) FROM dead_letters d WHERE d.group_id = g.id) AS example
FROM dead_letter_groups g WHERE {filters} ORDER BY g.last_seen_at DESC, g.id DESC LIMIT $1
"""
NAMES = "SELECT id, name FROM destinations WHERE id = ANY ($1::text[])"
CAUSES = "SELECT count(*) FROM (SELECT FROM dead_letter_groups LIMIT 1000) g"


class Letters:
    """Every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_newest(
        self, wanted: Mapping[str, Any], *, before: int | None = None, limit: int = 25
    ) -> list[LetterAnswer]:
        """Return letters, newest first; those older than the one with the number `before`."""
        filters, values = condition_of(wanted, first=2)
        if before is not None:
            filters += f" AND id < ${2 + len(values)}"
            values.append(before)
        with database_errors():
            rows = await self._pool.fetch(LETTERS.format(filters=filters), limit, *values)
        return [LetterAnswer(**_letter(row)) for row in rows]

    async def get(self, letter_id: str) -> LetterDetailAnswer:
        """Return a letter with its body; raise `NotFoundError`."""
        with database_errors():
            row = await self._pool.fetchrow(LETTER, number_of(letter_id))
        if row is None:
            raise NotFoundError(f"There is no failed record {letter_id}. It may have been written, or discarded.")
        return LetterDetailAnswer(
            **_letter(row),
            headers={name: mask(value) for name, value in row["headers"].items()},
            size=row["size"],
            body=mask(row["body"].decode("utf-8", "replace")),
            is_cut=row["size"] > len(row["body"]),
        )

    async def groups(
        self, wanted: Mapping[str, Any], *, before: tuple[datetime, str] | None = None, limit: int = 25
    ) -> list[LetterGroupAnswer]:
        """Return groups, that with the newest letter first; those after the place `before`."""
        of_sync = wanted.get("sync_id")
        filters, values = condition_of({**wanted, "sync_id": None}, first=2)
        if of_sync:
            letters = OF_SYNC.format(parameter=f"${2 + len(values)}")
            filters += f" AND g.id IN (SELECT group_id FROM dead_letters WHERE {letters})"
            values.append(of_sync)
        if before is not None:
            filters += f" AND (g.last_seen_at, g.id) < (${2 + len(values)}, ${3 + len(values)})"
            values += before
        return await self._groups(filters, limit, values)

    async def group(self, group_id: str) -> LetterGroupAnswer:
        """Return a group; raise `NotFoundError` when it has no letter any more."""
        found = await self._groups("g.id = $2", 1, [group_id])
        if not found:
            raise NotFoundError("No failed record has this cause any more.")
        return found[0]

    async def count_causes(self) -> int:
        """Return how many groups there are; of very many a thousand."""
        with database_errors():
            return int(await self._pool.fetchval(CAUSES))

    async def count(self, chosen: LetterChoice) -> int:
        """Return how many letters are meant."""
        filters, values = condition_of(chosen.model_dump(), first=1)
        with database_errors():
            return int(await self._pool.fetchval(f"SELECT count(*) FROM dead_letters WHERE {filters}", *values))

    async def destination_names(self, destination_ids: Iterable[str | None]) -> Mapping[str, str]:
        """Return the names of destinations by their ids; one that is gone is missing."""
        with database_errors():
            rows = await self._pool.fetch(NAMES, sorted({one for one in destination_ids if one}))
        return {row["id"]: row["name"] for row in rows}

    async def discard(self, chosen: LetterChoice, *, by: Actor) -> int:
        """Delete letters for good; return how many. Raises `NotFoundError` for one that is named and not there."""
        filters, values = condition_of(chosen.model_dump(), first=1)
        async with transaction(self._pool) as db:
            await take_turn(db)
            number = affected(await db.execute(f"DELETE FROM dead_letters WHERE {filters}", *values))
            if chosen.ids and not number:
                raise NotFoundError("There is no failed record with this id. It may have been written, or discarded.")
            await append(db, by, "dead_letters.discarded", subject_of(chosen), letters=number, **meant(chosen))
        return number

    async def _groups(self, filters: str, limit: int, values: Sequence[Any]) -> list[LetterGroupAnswer]:
        with database_errors():
            rows = await self._pool.fetch(GROUPS.format(filters=filters), limit, *values)
        return [_group(row) for row in rows]


def subject_of(chosen: LetterChoice) -> str:
    """Return what an entry of the audit log is about: one letter, a connection, a group, or dead letters."""
    if len(chosen.ids) == 1:
        return chosen.ids[0]
    return chosen.group_id or chosen.connection_id or "dead_letters"


def meant(chosen: LetterChoice) -> dict[str, Any]:
    """Return the choice as the audit log keeps it."""
    return {"chosen": chosen.model_dump(mode="json", exclude_defaults=True)}


def _letter(row: Row) -> dict[str, Any]:
    known = {name: row[name] for name in LetterAnswer.model_fields if name in row.keys()}  # noqa: SIM118 - a record
    return known | {
        "id": f"{PREFIX}{row['id']}",
        "destination_id": row["destination_id"] or None,
        "offset": row["record_offset"],
        "is_replaying": row["replay_id"] is not None,
    }


def _group(row: Row) -> LetterGroupAnswer:
    known = {name: row[name] for name in LetterGroupAnswer.model_fields if name != "example_id"}
    example = f"{PREFIX}{row['example']}" if row["example"] else None
    return LetterGroupAnswer(**known | {"destination_id": row["destination_id"] or None, "example_id": example})
