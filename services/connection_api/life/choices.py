"""What of an account is synced, and where to: resources, fields that are left out, destinations.

What is added gets its own backfill; what is left out from now on is taken out of the rows that exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from services.connection_api.life.at_stripe import AtStripe
from services.connection_api.life.places import Places
from services.connection_api.settings import ApiSettings
from shared.audit import Actor, append
from shared.catalogue import BY_NAME, DEFAULT_RESOURCES, WEBHOOK_ENDPOINT, Resource
from shared.cleanups import Kind as CleanupKind
from shared.cleanups import request_cleanup
from shared.connections import Connection, ConnectionStore, State
from shared.db import Connection as Database
from shared.db import Pool, RowInUseError, transaction
from shared.errors import ConflictError, PayloadError
from shared.stripe_api import STAMP_MARGIN
from shared.syncs import EVENT_FEED, Kind, SyncStore

# What the rule of versions and the start date read; a row without them could not be kept right.
NEVER_OMITTED = frozenset({"id", "object", "created", "date"})

# What is read has a stamp of a few seconds before its request. An event that was written without a field just before it
# was let in again would be newer than a listing that came at once.
BEHIND_EVENTS = timedelta(seconds=STAMP_MARGIN + 5)

LOCK = "SELECT 1 FROM connections WHERE id = $1 FOR NO KEY UPDATE"
STORE = "UPDATE connections SET resources = $2, omitted_fields = $3 WHERE id = $1"
LINK = """
INSERT INTO connection_destinations (connection_id, destination_id, account_id, livemode)
SELECT $1, d, $3, $4 FROM unnest($2::text[]) AS d ON CONFLICT (destination_id, account_id, livemode) DO NOTHING
"""
LINKED = "SELECT destination_id FROM connection_destinations WHERE connection_id = $1"
UNLINK = "DELETE FROM connection_destinations WHERE connection_id = $1 AND destination_id = ANY ($2::text[])"
# Whoever parks looks at the stop first: so it goes first.
FORGET_STOPS = "DELETE FROM delivery_stops WHERE connection_id = $1 AND destination_id = ANY ($2::text[])"
FORGET_PARKED = """
DELETE FROM parked_records p USING (
    SELECT destination_id, resource, object_id FROM parked_records
    WHERE connection_id = $1 AND destination_id = ANY ($2::text[])
    ORDER BY destination_id, resource, object_id FOR UPDATE) gone
WHERE p.connection_id = $1 AND p.destination_id = gone.destination_id AND p.resource = gone.resource
  AND p.object_id = gone.object_id
"""
FORGET_FAULTS = """
DELETE FROM resource_faults WHERE connection_id = $1 AND resource IN (
    SELECT resource FROM resource_faults WHERE connection_id = $1 AND NOT resource = ANY ($2::text[])
    ORDER BY resource FOR UPDATE)
"""

Omitted = Mapping[str, Sequence[str]]


class Choices:
    """The use case of changing what is synced."""

    def __init__(self, pool: Pool, settings: ApiSettings, at_stripe: AtStripe) -> None:
        self._pool = pool
        self._at_stripe = at_stripe
        self._connections = ConnectionStore(pool, settings.key_ring)
        self._syncs = SyncStore(pool)
        self._places = Places(pool, settings)

    async def choose(
        self,
        connection_id: str,
        *,
        resources: Sequence[str] | None = None,
        omitted_fields: Omitted | None = None,
        destination_ids: Sequence[str] | None = None,
        by: Actor,
    ) -> None:
        """Change what is given and leave the rest; queue the backfills and the clean-up that follow from it.

        Raises `PayloadError` for what can't be chosen, `ConflictError` while the connection is being made or removed
        or when a destination receives this account already, and what `AtStripe.ensure_endpoint` raises.
        """
        connection = await self._connections.get(connection_id)
        if connection.state in (State.SETTING_UP, State.REMOVING):
            raise ConflictError(f"The connection is {connection.state.replace('_', ' ')}. Try again later.")
        chosen = [row.name for row in choose_resources(resources)] if resources else list(connection.resources)
        omitted = check_omitted(omitted_fields) if omitted_fields is not None else dict(connection.omitted_fields)
        new_places = [one for one in destination_ids or () if one not in connection.destination_ids]
        await self._places.require_usable(new_places)
        added = [name for name in chosen if name not in connection.resources]
        # Their events have to reach us before their history is read, or a change in between would be lost.
        if added and self._at_stripe.has_endpoint(connection):
            api = self._at_stripe.client(await self._connections.api_key(connection_id))
            await self._at_stripe.ensure_endpoint(connection, api, resources=chosen)
        try:
            async with transaction(self._pool) as db:
                await db.execute(LOCK, connection_id)
                await db.execute(STORE, connection_id, chosen, omitted)
                await db.execute(FORGET_FAULTS, connection_id, [*chosen, EVENT_FEED, WEBHOOK_ENDPOINT])
                new = await self._link(db, connection, destination_ids) if destination_ids else []
                await self._take_out(db, connection, omitted)
                again = chosen if new else [*added, *(n for n in restored(connection, omitted) if n in chosen)]
                await self._read(db, connection, list(dict.fromkeys(again)), is_new_place=bool(new))
                changes = {"resources": chosen, "omitted_fields": omitted, "destinations_added": new}
                await append(db, by, "connection.choice_changed", connection_id, **changes)
        except RowInUseError as error:
            raise PayloadError("There is no such destination any more.", field="destination_ids") from error

    async def _link(self, db: Database, connection: Connection, wanted: Sequence[str]) -> list[str]:
        """Let the connection deliver to these destinations alone; return those that are new."""
        before = {row["destination_id"] for row in await db.fetch(LINKED, connection.id)}
        new, gone = [one for one in dict.fromkeys(wanted) if one not in before], list(before - set(wanted))
        linked = await db.execute(LINK, connection.id, new, connection.account_id, connection.livemode)
        if linked != f"INSERT 0 {len(new)}":
            raise ConflictError(
                f"{connection.account_name} is already connected to this destination. Choose another destination or "
                "another schema.",
                field="destination_ids",
            )
        await db.execute(FORGET_STOPS, connection.id, gone)
        await db.execute(FORGET_PARKED, connection.id, gone)
        await db.execute(UNLINK, connection.id, gone)
        return new

    async def _take_out(self, db: Database, connection: Connection, omitted: Omitted) -> None:
        """Have the fields that are left out from now on taken out of the rows that exist."""
        fields = newly_omitted(connection, omitted)
        if not fields:
            return
        account = (connection.account_id, connection.livemode)
        for destination_id in connection.destination_ids:
            await request_cleanup(
                db,
                connection.id,
                destination_id,
                account,
                kind=CleanupKind.FIELDS,
                resources=list(fields),
                fields=fields,
            )

    async def _read(
        self, db: Database, connection: Connection, resources: Sequence[str], *, is_new_place: bool
    ) -> None:
        if resources:
            await self._syncs.create(
                connection.id,
                Kind.BACKFILL,
                trigger="destination added" if is_new_place else "choice changed",
                resources=resources,
                range_start=connection.start_date,
                after=BEHIND_EVENTS,
                db=db,
            )


def choose_resources(names: Sequence[str] | None) -> list[Resource]:
    """Return the resources by their names, in the catalogue's order; raise `PayloadError` for an unknown one."""
    if names is None:
        return list(DEFAULT_RESOURCES)
    unknown = [name for name in names if name not in BY_NAME]
    if unknown or not names:
        what = f"`{unknown[0][:80]}` is no resource" if unknown else "No resource is chosen"
        raise PayloadError(f"{what}. docs/resources.md lists them all.", field="resources")
    return [row for row in BY_NAME.values() if row.name in names]


def check_omitted(fields: Omitted) -> dict[str, list[str]]:
    """Return the fields, each once; raise `PayloadError` naming what can't be left out."""
    for name, paths in fields.items():
        if name not in BY_NAME:
            raise PayloadError(
                f"`{name[:80]}` is no resource. docs/resources.md lists them all.", field="omitted_fields"
            )
        for path in paths:
            if path.partition(".")[0] in NEVER_OMITTED:
                raise PayloadError(
                    f"`{path}` of {name} can't be left out: without it a row can't be kept right.",
                    field="omitted_fields",
                )
    return {name: sorted(set(paths)) for name, paths in sorted(fields.items()) if paths}


def newly_omitted(connection: Connection, omitted: Omitted) -> dict[str, list[str]]:
    """Return the fields that were written until now and are left out from now on."""
    new = {name: sorted(set(paths) - set(_before(connection, name))) for name, paths in omitted.items()}
    return {name: paths for name, paths in new.items() if paths}


def restored(connection: Connection, omitted: Omitted) -> Iterable[str]:
    """Yield the resources of which some field is written again."""
    return (name for name, paths in connection.omitted_fields.items() if set(paths) - set(omitted.get(name, ())))


def _before(connection: Connection, name: str) -> Sequence[str]:
    return connection.omitted_fields.get(name, ())
