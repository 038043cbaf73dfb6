"""Destinations in the state database: where rows go, with the password encrypted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from shared.crypto import KeyRing, make_id
from shared.db import DuplicateRowError, Pool, Row, RowInUseError, database_errors
from shared.errors import ConflictError, NotFoundError, PayloadError

SCHEMA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}\Z")
RESERVED_SCHEMAS = ("pg_", "information_schema", "tillstream")
DEFAULT_SCHEMA = "stripe"


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """A Postgres database and schema, without the password."""

    host: str
    port: int
    database: str
    user: str
    schema: str
    sslmode: str = "prefer"

    @property
    def identity(self) -> str:
        """What makes two destinations the same place."""
        return f"postgres://{self.host.lower()}:{self.port}/{self.database}#{self.schema}"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where rows go."""

    id: str
    name: str
    address: PostgresAddress
    created_at: datetime


def parse_postgres_url(url: str, *, schema: str) -> tuple[PostgresAddress, SecretStr]:
    """Return address and password of `postgresql://user:password@host:port/database?sslmode=…`.

    Raises `PayloadError` naming the part that is wrong.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port or 5432
    except ValueError as error:
        raise PayloadError("The address does not parse; its port is no number.", field="url") from error
    if parts.scheme not in ("postgresql", "postgres"):
        raise PayloadError("The address has to start with postgresql://.", field="url")
    database = unquote(parts.path.lstrip("/"))
    for name, value in (("host", parts.hostname), ("user", parts.username), ("database", database)):
        if not value:
            raise PayloadError(
                f"The address lacks the {name}: postgresql://user:password@host:5432/database.", field="url"
            )
    sslmode = next((v for k, _, v in (p.partition("=") for p in parts.query.split("&")) if k == "sslmode"), "prefer")
    if sslmode not in ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"):
        raise PayloadError(f"`sslmode={sslmode}` is unknown to Postgres.", field="url")
    address = PostgresAddress(
        host=parts.hostname or "",
        port=port,
        database=database,
        user=unquote(parts.username or ""),
        schema=check_schema(schema),
        sslmode=sslmode,
    )
    return address, SecretStr(unquote(parts.password or ""))


def check_schema(name: str) -> str:
    """Return the schema's name; raise `PayloadError` when it can't be one or is not ours to fill."""
    if not SCHEMA_NAME.match(name):
        raise PayloadError(
            "A schema's name has letters, digits and _, starts with a letter or _, and is at most 63 long.",
            field="schema",
        )
    if name.lower().startswith(RESERVED_SCHEMAS):
        raise PayloadError(
            f"The schema {name} is reserved. Choose another name, such as {DEFAULT_SCHEMA}.", field="schema"
        )
    return name


def _destination(row: Row) -> Destination:
    settings: Mapping[str, Any] = row["settings"]
    return Destination(row["id"], row["name"], PostgresAddress(**settings), row["created_at"])


class DestinationStore:
    """Reads and writes destinations; every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool, keys: KeyRing) -> None:
        self._pool = pool
        self._keys = keys

    async def insert(self, name: str, address: PostgresAddress, password: SecretStr) -> str:
        """Add a destination and return its id; raise `ConflictError` when its name or its place is taken."""
        destination_id = make_id("dst")
        sealed = self._keys.encrypt(password.get_secret_value(), owner=destination_id, name="secret")
        settings = {field: getattr(address, field) for field in PostgresAddress.__dataclass_fields__}
        sql = """
        INSERT INTO destinations (id, name, kind, settings, secret, address) VALUES ($1, $2, 'postgres', $3, $4, $5)
        """
        try:
            with database_errors():
                await self._pool.execute(sql, destination_id, name, settings, sealed, address.identity)
        except DuplicateRowError as error:
            what = f"called {name}" if "name" in error.constraint else "with this database and schema"
            raise ConflictError(f"There is already a destination {what}.", field="name") from error
        return destination_id

    async def get(self, destination_id: str) -> Destination:
        """Return the destination; raise `NotFoundError`."""
        with database_errors():
            row = await self._pool.fetchrow("SELECT * FROM destinations WHERE id = $1", destination_id)
        if row is None:
            raise NotFoundError(f"There is no destination {destination_id}.")
        return _destination(row)

    async def list_page(self, *, after: str = "", limit: int = 1000) -> list[Destination]:
        """Return destinations by id, those after `after`."""
        with database_errors():
            rows = await self._pool.fetch("SELECT * FROM destinations WHERE id > $1 ORDER BY id LIMIT $2", after, limit)
        return [_destination(row) for row in rows]

    async def password(self, destination_id: str) -> SecretStr:
        """Return the password; raise `NotFoundError`."""
        with database_errors():
            sealed = await self._pool.fetchval("SELECT secret FROM destinations WHERE id = $1", destination_id)
        if sealed is None:
            raise NotFoundError(f"There is no destination {destination_id}.")
        return SecretStr(self._keys.decrypt(sealed, owner=destination_id, name="secret"))

    async def delete(self, destination_id: str) -> None:
        """Remove the destination; raise `ConflictError` while a connection uses it."""
        try:
            with database_errors():
                status = await self._pool.execute("DELETE FROM destinations WHERE id = $1", destination_id)
        except RowInUseError as error:
            raise ConflictError(
                "A connection still delivers to this destination. Remove the connection first."
            ) from error
        if status == "DELETE 0":
            raise NotFoundError(f"There is no destination {destination_id}.")
