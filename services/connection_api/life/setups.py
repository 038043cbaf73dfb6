"""Set-ups: a key that has passed and where its rows shall go, kept for a day until the person has finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import SecretStr

from services.connection_api.life.choices import Omitted, check_omitted
from services.connection_api.life.connect import Connect, NewConnection
from services.connection_api.life.keys import Keys
from services.connection_api.life.places import Places
from services.connection_api.settings import ApiSettings
from shared.api_keys import parse_api_key
from shared.audit import Actor, append
from shared.crypto import make_id
from shared.db import Pool, Row, database_errors, transaction
from shared.errors import ConflictError, NotFoundError, PayloadError
from shared.key_check import KeyPermissionsError

LIFE = timedelta(days=1)

INSERT = """
INSERT INTO setups (id, destination_ids, api_key, key_hint, account_id, account_name, livemode, key_check, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + $9::interval)
"""
SELECT = (
    "SELECT id, destination_ids, key_check, account_id, created_at, expires_at FROM setups WHERE expires_at > now()"
)
EXISTING = "SELECT count(*) FROM destinations WHERE id = ANY ($1::text[])"
TAKEN = """
SELECT EXISTS (SELECT FROM connection_destinations
               WHERE destination_id = ANY ($1::text[]) AND account_id = $2 AND livemode = $3)
"""
DELETE = "DELETE FROM setups WHERE id = $1"
# The key goes as the connection learns where it came from, so that whoever comes back finds it.
FINISH = """
WITH finished AS (DELETE FROM setups WHERE id = $1) UPDATE connections SET setup_id = $1 WHERE id = $2
"""
FINISHED = "SELECT id FROM connections WHERE setup_id = $1"


class SetupFinishedError(NotFoundError):
    """This set-up is finished: the account is connected."""

    def __init__(self, connection_id: str) -> None:
        """Take the connection that it has led to."""
        super().__init__()
        self.connection_id = connection_id


@dataclass(frozen=True, slots=True)
class Setup:
    """A connection that is being made."""

    id: str
    destination_ids: tuple[str, ...]
    key_check: Mapping[str, Any]  # a `KeyReport` as JSON
    created_at: datetime
    expires_at: datetime


class Setups:
    """The use cases of connecting an account in steps."""

    def __init__(self, pool: Pool, settings: ApiSettings, keys: Keys, connect: Connect) -> None:
        self._pool = pool
        self._settings = settings
        self._keys = keys
        self._connect = connect
        self._places = Places(pool, settings)

    async def begin(
        self, api_key: SecretStr, destination_ids: Sequence[str], *, account_id: str | None = None, by: Actor
    ) -> Setup:
        """Check the key and keep it for a day.

        Raises what `Keys.check` raises, `KeyPermissionsError` when something required is missing, `PayloadError` for
        an unknown destination, and `ConflictError` when one receives this account already.
        """
        wanted = list(dict.fromkeys(destination_ids))
        with database_errors():
            if not wanted or await self._pool.fetchval(EXISTING, wanted) != len(wanted):
                raise PayloadError("There is no such destination.", field="destination_ids")
        report = await self._keys.check(api_key, account_id=account_id)
        if not report.passed:
            raise KeyPermissionsError(report.sentence, field="api_key")
        await self._places.require_usable(wanted)
        await self._require_free(wanted, report.account_id, report.account_name, livemode=report.livemode)
        key = parse_api_key(api_key.get_secret_value(), allow_test=self._settings.allow_test_keys)
        setup_id = make_id("set")
        sealed = self._settings.key_ring.encrypt(key.secret.get_secret_value(), owner=setup_id, name="api_key")
        account = (report.account_id, report.account_name, report.livemode)
        async with transaction(self._pool) as db:
            await db.execute(INSERT, setup_id, wanted, sealed, key.hint, *account, asdict(report), LIFE)
            await append(db, by, "setup.begun", setup_id, account=report.account_id)
        return await self.get(setup_id)

    async def get(self, setup_id: str) -> Setup:
        """Return the set-up; raise `SetupFinishedError`, or `NotFoundError` when it was discarded or has expired."""
        with database_errors():
            row = await self._pool.fetchrow(f"{SELECT} AND id = $1", setup_id)
            connection_id = None if row else await self._pool.fetchval(FINISHED, setup_id)
        if connection_id:
            raise SetupFinishedError(connection_id)
        if row is None:
            raise NotFoundError("This set-up was discarded or has expired. Begin a new one.")
        return _setup(row)

    async def list(self) -> list[Setup]:
        """Return all that are unfinished, newest first."""
        with database_errors():
            rows = await self._pool.fetch(f"{SELECT} ORDER BY created_at DESC, id DESC LIMIT 100")
        return [_setup(row) for row in rows]

    async def api_key(self, setup_id: str) -> SecretStr:
        """Return the key of the set-up; raise `NotFoundError`."""
        await self.get(setup_id)
        with database_errors():
            sealed = await self._pool.fetchval("SELECT api_key FROM setups WHERE id = $1", setup_id)
        return SecretStr(self._settings.key_ring.decrypt(sealed, owner=setup_id, name="api_key"))

    async def discard(self, setup_id: str, *, by: Actor) -> None:
        """Forget the set-up and its key; raise `NotFoundError`."""
        await self.get(setup_id)
        async with transaction(self._pool) as db:
            await db.execute(DELETE, setup_id)
            await append(db, by, "setup.discarded", setup_id)

    async def complete(
        self,
        setup_id: str,
        *,
        start_date: datetime | None = None,
        resources: Sequence[str] | None = None,
        omitted_fields: Omitted | None = None,
        name: str | None = None,
        by: Actor,
    ) -> str:
        """Connect the account and return the connection's id; of a finished set-up, that of its connection.

        Raises what `Connect.connect` raises.
        """
        try:
            setup = await self.get(setup_id)
        except SetupFinishedError as finished:
            return finished.connection_id
        wanted = NewConnection(
            api_key=await self.api_key(setup_id),
            destination_ids=setup.destination_ids,
            start_date=start_date,
            resources=tuple(resources) if resources else None,
            account_id=setup.key_check["account_id"],
            omitted_fields=check_omitted(omitted_fields or {}),
            name=name,
        )
        connection_id = await self._connect.connect(wanted, by=by)
        with database_errors():
            await self._pool.execute(FINISH, setup_id, connection_id)
        return connection_id

    async def _require_free(
        self, destination_ids: Sequence[str], account_id: str, account_name: str, *, livemode: bool
    ) -> None:
        with database_errors():
            is_taken = await self._pool.fetchval(TAKEN, list(destination_ids), account_id, livemode)
        if is_taken:
            raise ConflictError(
                f"{account_name} ({account_id}) is already connected to this destination. Choose another destination "
                "or another schema.",
                field="destination_ids",
            )


def _setup(row: Row) -> Setup:
    return Setup(row["id"], tuple(row["destination_ids"]), row["key_check"], row["created_at"], row["expires_at"])
