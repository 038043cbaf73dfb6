"""The name of a connection: what tells one account in two destinations apart, wherever people see it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from services.connection_api.life.confirmation import as_seen
from shared.audit import Actor, append
from shared.connections import NAME_TAKEN, NameTakenError, State
from shared.db import DuplicateRowError, Pool, transaction
from shared.errors import ConflictError, NotFoundError, PayloadError

LONGEST = 100  # characters, as the database has it
LONGEST_ACCOUNT, LONGEST_DESTINATION = 50, 40  # characters of each in a name that nobody gave
RENAME = """
UPDATE connections SET name = $2 FROM (SELECT id, name, state FROM connections WHERE id = $1 FOR NO KEY UPDATE) old
WHERE connections.id = old.id RETURNING old.name AS before, old.state
"""


def read_name(text: str) -> str:
    """Return the name as it is seen; raise `PayloadError` for one that can't be seen, or is too long."""
    name = "".join(letter for letter in as_seen(text) if letter.isprintable())
    if not name or len(name) > LONGEST:
        raise PayloadError(f"Give a name of 1 to {LONGEST} characters that can be seen.", field="name")
    return name


def default_names(account_name: str, account_id: str, destination: str) -> Iterator[str]:
    """Yield names for a connection that was given none, the best first: account → destination, then with a number."""
    account = _shown(account_name)[:LONGEST_ACCOUNT].strip() or account_id
    name = f"{account} → {_shown(destination)[:LONGEST_DESTINATION].strip()}"
    yield name
    yield from (f"{name} {number}" for number in itertools.count(2))


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in as_seen(text))


class Naming:
    """The use case of giving a connection another name."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def rename(self, connection_id: str, name: str, *, by: Actor) -> None:
        """Give the connection this name; the name that it has already is fine, and leaves no entry.

        Raises `NotFoundError`, `PayloadError` for a name that can't be seen or is too long, `NameTakenError` for one
        that another connection has, whatever its case, and `ConflictError` while the connection is being removed.
        """
        wanted = read_name(name)
        try:
            async with transaction(self._pool) as db:
                row = await db.fetchrow(RENAME, connection_id, wanted)
                if row is None:
                    raise NotFoundError(f"There is no connection {connection_id}.")
                if row["state"] == State.REMOVING:
                    raise ConflictError("This connection is being removed.")
                if row["before"] != wanted:
                    await append(db, by, "connection.renamed", connection_id)
        except DuplicateRowError as error:
            raise NameTakenError(NAME_TAKEN.format(wanted), field="name") from error
