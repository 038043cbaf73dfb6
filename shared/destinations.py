"""Destinations in the state database: where rows go, with the password encrypted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address
from typing import Any

from pydantic import SecretStr

from shared.addresses import AddressError, split_address
from shared.audit import Actor, append
from shared.catalogue import RESOURCES
from shared.certificates import CHECKS_CA, MODES, NEEDS_TLS, read_certificate_file, read_certificates
from shared.cleanups import Kind, request_cleanup
from shared.crypto import KeyRing, SecretUnreadableError, make_id
from shared.db import Connection, DuplicateRowError, Pool, Row, RowInUseError, affected, database_errors, transaction
from shared.delays import Work, end_delays, note_delay
from shared.errors import ConflictError, NotFoundError, PayloadError, TerminalError
from shared.log import get_logger

PARAMETERS = ("sslmode", "sslrootcert")  # of an address
SYSTEM = "system"  # as sslrootcert: the CAs that the system knows
IN_COLUMN = "ca"  # kept beside the settings: the release before knows no such setting
SCHEMA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}\Z")
RESERVED_SCHEMAS = ("pg_", "information_schema", "tillstream")
DEFAULT_SCHEMA = "stripe"
NAME_TAKEN = "destinations_name_key"

INSERT = """
INSERT INTO destinations (id, name, kind, settings, secret, address, ca, deleted_rows)
VALUES ($1, $2, 'postgres', $3, $4, $5, $6, $7)
"""
RENAME = "UPDATE destinations SET name = $2 WHERE id = $1"
# The version tells the writers that what they have open is of an older address or password.
MOVE = """
UPDATE destinations SET settings = $2, secret = $3, address = $4, ca = $5, version = version + 1
WHERE id = $1 RETURNING version
"""
CHOOSE = "UPDATE destinations SET deleted_rows = $2, version = version + 1 WHERE id = $1 AND deleted_rows <> $2"
REOPEN = "UPDATE destinations SET version = version + 1"
USERS = "SELECT connection_id, account_id, livemode FROM connection_destinations WHERE destination_id = $1 ORDER BY 1"
LOCK = "SELECT id FROM destinations WHERE id = $1 FOR UPDATE"


class DeletedRows(StrEnum):
    """What becomes of the row of an object that is deleted at Stripe."""

    MARKED = "marked"  # it stays, marked `_deleted`
    REMOVED = "removed"  # it goes, and leaves a tombstone


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """A Postgres database and schema, without the password."""

    host: str
    port: int
    database: str
    user: str
    schema: str
    sslmode: str = "prefer"
    ca: str | None = None  # certificates in PEM that the server's is checked with; the system's without

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
    version: int  # grows when address or password change, or what becomes of deleted rows
    created_at: datetime
    deleted_rows: DeletedRows = DeletedRows.MARKED


def parse_postgres_url(
    url: str, *, schema: str, password: SecretStr | None = None, ca: str | None = None
) -> tuple[PostgresAddress, SecretStr]:
    """Return address and password of `postgresql://user:password@host:port/database?sslmode=…`.

    A password that is given beside replaces the address's own; `ca` holds certificates in PEM. A file that the address
    names as `sslrootcert` is read on this machine, and its certificates are kept with the destination.

    Raises `PayloadError` naming the part that is wrong, and quoting nothing that may be the password.
    """
    try:
        parts = split_address(url)
    except AddressError as error:
        raise PayloadError(str(error), field="url") from None
    sslmode, root = _read_parameters(parts.parameters)
    address = PostgresAddress(
        host=parts.host,
        port=parts.port,
        database=parts.database,
        user=parts.user,
        schema=check_schema(schema),
        sslmode=sslmode or ("verify-full" if root or ca else default_mode(parts.host)),
        ca=_read_root(root) if root else None,
    )
    return with_ca(address, ca), SecretStr(parts.password) if password is None else password


def with_ca(address: PostgresAddress, ca: str | None) -> PostgresAddress:
    """Return the address with a CA in PEM, where one is given; raise `PayloadError` for what can't be used."""
    if ca:
        try:
            address = replace(address, ca=read_certificates(ca))
        except ValueError:
            raise PayloadError("The CA is no certificate in PEM (-----BEGIN CERTIFICATE-----).", field="ca") from None
    if address.ca and address.sslmode not in NEEDS_TLS:
        raise PayloadError(f"With sslmode={address.sslmode} no CA is used: write sslmode=verify-full.", field="url")
    return address


def default_mode(host: str) -> str:
    """Return the `sslmode` of an address that gives none: TLS, unless no network lies between."""
    try:
        is_here = ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost"
    return "prefer" if is_here else "require"


def _read_parameters(given: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return `sslmode` and `sslrootcert`; refuse every other parameter, since nobody would heed it."""
    for name in given.keys() - PARAMETERS:
        meant = f" Write {name.lower()} in small letters." if name.lower() in PARAMETERS else ""
        raise PayloadError(
            f"The address's parameter {name} is not known here.{meant or ' Leave it out.'} Known are "
            f"{' and '.join(PARAMETERS)}.",
            field="url",
        )
    sslmode, root = given.get("sslmode"), given.get("sslrootcert")
    if sslmode is not None and sslmode not in MODES:
        raise PayloadError(f"The address's sslmode is none of {', '.join(MODES)}.", field="url")
    if root == SYSTEM and sslmode is not None and sslmode not in CHECKS_CA:
        raise PayloadError(f"With sslmode={sslmode} no CA is used: write sslmode=verify-full.", field="url")
    return sslmode, root


def _read_root(root: str) -> str | None:
    """Return the certificates of a file on this machine; None for the system's own."""
    if root == SYSTEM:
        return None
    try:
        return read_certificate_file(root)
    except (OSError, ValueError):
        raise PayloadError(
            "The address's sslrootcert can't be used here: Tillstream finds no certificate in PEM in this file on its "
            "own machine. Give the CA as text instead, or sslrootcert=system.",
            field="url",
        ) from None


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


class DestinationUnreadableError(TerminalError):
    """This release can't read how the destination is reached. Enter its address anew, or run the newer release."""

    code = "destination_unreadable"
    status = 422
    fix = "Enter the destination's address anew, or run the release that has made it."


def _destination(row: Row) -> Destination:
    settings: Mapping[str, Any] = row["settings"]
    try:
        address = PostgresAddress(**settings, ca=row["ca"])
        deleted_rows = DeletedRows(row["deleted_rows"])
    except (TypeError, ValueError) as error:
        raise DestinationUnreadableError from error
    if row["kind"] != "postgres":
        raise DestinationUnreadableError
    return Destination(row["id"], row["name"], address, row["version"], row["created_at"], deleted_rows)


class DestinationStore:
    """Reads and writes destinations; every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool, keys: KeyRing) -> None:
        self._pool = pool
        self._keys = keys

    async def insert(
        self,
        name: str,
        address: PostgresAddress,
        password: SecretStr,
        *,
        deleted_rows: DeletedRows = DeletedRows.MARKED,
        by: Actor,
    ) -> str:
        """Add a destination and return its id; raise `ConflictError` when its name or its place is taken."""
        destination_id = make_id("dst")
        values = self._place(destination_id, address, password)
        with _taken(name):
            async with transaction(self._pool) as db:
                await db.execute(INSERT, destination_id, name, *values, deleted_rows)
                await append(db, by, "destination.created", destination_id)
        return destination_id

    async def change(
        self,
        destination_id: str,
        *,
        name: str | None = None,
        place: tuple[PostgresAddress, SecretStr] | None = None,
        deleted_rows: DeletedRows | None = None,
        by: Actor,
    ) -> None:
        """Give the destination another name, another address and password, or another choice about deleted rows.

        Where they shall be removed from now on, those that are marked already are taken out by a writer.

        Raises `NotFoundError`, and `ConflictError` when the name or the place is taken.
        """
        with _taken(name):
            async with transaction(self._pool) as db:
                if not await db.fetchval(LOCK, destination_id):
                    raise NotFoundError(f"There is no destination {destination_id}.")
                done: dict[str, dict[str, Any]] = {}
                if name is not None:
                    await db.execute(RENAME, destination_id, name)
                    done["destination.renamed"] = {}
                if place is not None:
                    version = await db.fetchval(MOVE, destination_id, *self._place(destination_id, *place))
                    done["destination.address_changed"] = {"version": version}
                if deleted_rows is not None and affected(await db.execute(CHOOSE, destination_id, deleted_rows)):
                    done["destination.deleted_rows_changed"] = {"to": deleted_rows}
                    if deleted_rows is DeletedRows.REMOVED:
                        await _remove_marked(db, destination_id)
                for action, details in done.items():
                    await append(db, by, action, destination_id, **details)

    def _place(self, destination_id: str, address: PostgresAddress, password: SecretStr) -> tuple[Any, ...]:
        sealed = self._keys.encrypt(password.get_secret_value(), owner=destination_id, name="secret")
        settings = {name: value for name, value in asdict(address).items() if name != IN_COLUMN}
        return settings, sealed, address.identity, address.ca

    async def get(self, destination_id: str) -> Destination:
        """Return the destination; raise `NotFoundError`."""
        with database_errors():
            row = await self._pool.fetchrow("SELECT * FROM destinations WHERE id = $1", destination_id)
        if row is None:
            raise NotFoundError(f"There is no destination {destination_id}.")
        return _destination(row)

    async def list_page(self, *, after: str = "", limit: int = 1000) -> list[Destination]:
        """Return destinations by id, those after `after`; one that can't be read keeps no other from being listed."""
        with database_errors():
            rows = await self._pool.fetch("SELECT * FROM destinations WHERE id > $1 ORDER BY id LIMIT $2", after, limit)
        found = []
        for row in rows:
            try:
                found.append(_destination(row))
            except DestinationUnreadableError as error:
                get_logger().warning("destination_unreadable", destination=row["id"], reason=error.message)
        return found

    async def password(self, destination_id: str) -> SecretStr:
        """Return the password; raise `NotFoundError`."""
        with database_errors():
            sealed = await self._pool.fetchval("SELECT secret FROM destinations WHERE id = $1", destination_id)
        if sealed is None:
            raise NotFoundError(f"There is no destination {destination_id}.")
        return SecretStr(self._keys.decrypt(sealed, owner=destination_id, name="secret"))

    async def note_unopened(
        self,
        destination_id: str,
        error: SecretUnreadableError | DestinationUnreadableError,
        *,
        again_in: timedelta,
    ) -> None:
        """Note why the destination can't be opened, what a person does about it, and when it is tried again."""
        await note_delay(
            self._pool,
            Work.DESTINATION,
            destination_id,
            code=error.code,
            cause=(type(error).__doc__ or "").strip(),
            fix=error.fix,
            destination_id=destination_id,
            next_try_at=datetime.now(UTC) + again_in,
        )

    async def forget_unopened(self, destination_id: str) -> None:
        """Forget that the destination could not be opened."""
        codes = (SecretUnreadableError.code, DestinationUnreadableError.code)
        await end_delays(self._pool, Work.DESTINATION, [destination_id], codes=codes)

    async def name_of(self, destination_id: str) -> str | None:
        """Return the destination's name; `None` when there is none with this id."""
        with database_errors():
            name = await self._pool.fetchval("SELECT name FROM destinations WHERE id = $1", destination_id)
        return None if name is None else str(name)

    async def note_place(self, destination_id: str, place: str | None) -> None:
        """Note what the server says of the destination's place."""
        with database_errors():
            await self._pool.execute("UPDATE destinations SET place = $2 WHERE id = $1", destination_id, place)

    async def open_anew(self, *, taken_by: str, by: Actor) -> None:
        """Let the writers open all destinations anew: `taken_by` has taken a place over, maybe from one of them."""
        async with transaction(self._pool) as db:
            await db.execute(REOPEN)
            await append(db, by, "destination.taken_over", taken_by)

    async def delete(self, destination_id: str, *, by: Actor) -> None:
        """Remove the destination; raise `NotFoundError`, and `ConflictError` while a connection uses it."""
        try:
            async with transaction(self._pool) as db:
                if not affected(await db.execute("DELETE FROM destinations WHERE id = $1", destination_id)):
                    raise NotFoundError(f"There is no destination {destination_id}.")
                await append(db, by, "destination.deleted", destination_id)
        except RowInUseError as error:
            raise ConflictError(
                "A connection still delivers to this destination. Remove the connection first."
            ) from error


async def _remove_marked(db: Connection, destination_id: str) -> None:
    for user in await db.fetch(USERS, destination_id):
        account, everything = (user["account_id"], user["livemode"]), [resource.name for resource in RESOURCES]
        await request_cleanup(
            db, user["connection_id"], destination_id, account, kind=Kind.DELETED, resources=everything
        )


@contextmanager
def _taken(name: str | None) -> Iterator[None]:
    """Turn the refusal of a unique key into a `ConflictError` that says which one."""
    try:
        yield
    except DuplicateRowError as error:
        if error.constraint == NAME_TAKEN:
            raise ConflictError(f"There is already a destination called {name}.", field="name") from error
        raise ConflictError("There is already a destination with this database and schema.", field="url") from error
