"""Keeps destinations: an address is tried before it is kept, and marked as ours, so that no other fills it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from pydantic import SecretStr

from services.connection_api.settings import ApiSettings
from shared.audit import Actor
from shared.db import Pool
from shared.destinations import DeletedRows, DestinationStore, PostgresAddress
from shared.errors import ConflictError, DestinationUnavailableError, NotFoundError, PayloadError
from shared.installation import installation_id
from shared.postgres_mark import TAKEN, Claimant
from shared.postgres_probe import ProbeStep, claim_place, probe

# A destination that does not answer now may do so later: its records wait for it.
MAY_PASS = ("destination_unreachable", "destination_host_unknown", "destination_too_slow", "destination_busy")


class DestinationUnusableError(PayloadError):
    """The destination can't be used as it is."""

    def __init__(self, step: ProbeStep, *, field: str = "url") -> None:
        """Take the step that failed; its code becomes the error's."""
        super().__init__(_sentence(step), field=field)
        self.code = step.code or self.code  # type: ignore[misc]


class DestinationTakenError(ConflictError):
    """Another destination, or another installation, fills this schema."""

    code = TAKEN

    def __init__(self, step: ProbeStep, *, field: str = "url") -> None:
        """Take the step that found whose it is."""
        super().__init__(_sentence(step), field=field)


class Places:
    """The use cases of the places that rows go to."""

    def __init__(self, pool: Pool, settings: ApiSettings) -> None:
        self._pool = pool
        self._store = DestinationStore(pool, settings.key_ring)
        self._networks = settings.networks

    async def probe(
        self,
        address: PostgresAddress,
        password: SecretStr,
        *,
        destination_id: str | None = None,
        take_over: bool = False,
    ) -> list[ProbeStep]:
        """Try an address as the destination `destination_id`, or as one that is not kept yet."""
        claimant = await self._claimant(destination_id)
        return await probe(address, password, claimant, take_over=take_over, networks=self._networks)

    async def probe_kept(self, destination_id: str) -> list[ProbeStep]:
        """Try a destination with the password that is kept; raise `NotFoundError`."""
        known = await self._store.get(destination_id)
        return await self.probe(known.address, await self._store.password(known.id), destination_id=known.id)

    async def add(
        self,
        name: str,
        address: PostgresAddress,
        password: SecretStr,
        *,
        deleted_rows: DeletedRows = DeletedRows.MARKED,
        take_over: bool = False,
        by: Actor,
    ) -> str:
        """Keep a place that has passed its probe and return the destination's id.

        Raises `DestinationTakenError` when another one has marked it meanwhile, and `ConflictError` when its name or
        its address is taken.
        """
        destination_id = await self._store.insert(name, address, password, deleted_rows=deleted_rows, by=by)
        try:
            await self._claim(destination_id, address, password, by=by if take_over else None)
        except DestinationTakenError:
            await self._store.delete(destination_id, by=by)
            raise
        return destination_id

    async def mark(
        self, destination_id: str, address: PostgresAddress, password: SecretStr, *, take_over: bool, by: Actor
    ) -> None:
        """Mark a place to which a destination is about to move; raise `DestinationTakenError`."""
        await self._claim(destination_id, address, password, by=by if take_over else None)

    async def take_over(self, destination_id: str, *, by: Actor) -> None:
        """Mark the place of a destination as its own, whoever fills it: the other one writes nothing there any more.

        Raises `DestinationUnusableError` when something else is wrong with it.
        """
        known = await self._store.get(destination_id)
        password = await self._store.password(known.id)
        steps = await self.probe(known.address, password, destination_id=known.id, take_over=True)
        require_passed(steps, field="take_over")
        await self._claim(known.id, known.address, password, by=by)

    async def require_usable(self, destination_ids: Iterable[str]) -> None:
        """Raise `DestinationUnusableError` or `DestinationTakenError` for one that a person has to mend first.

        One that does not answer passes: what is delivered waits for it. So does an unknown one, which others refuse.
        """
        for destination_id in destination_ids:
            with suppress(NotFoundError):
                steps = await self.probe_kept(destination_id)
                if steps[-1].code not in MAY_PASS:
                    require_passed(steps, field="destination_ids")

    async def _claim(
        self, destination_id: str, address: PostgresAddress, password: SecretStr, *, by: Actor | None
    ) -> None:
        """Mark the place; with `by`, who takes it over, also one that another has marked."""
        claimant = await self._claimant(destination_id)
        with suppress(DestinationUnavailableError):  # else a writer marks it when it opens it
            rival = await claim_place(address, password, claimant, take_over=by is not None, networks=self._networks)
            if rival:
                fault = rival.fault(address.schema)
                raise DestinationTakenError(ProbeStep("owner", False, fault.message, fault.code, fault.fix))
        if by:
            await self._store.open_anew(by=by, taken_by=destination_id)

    async def _claimant(self, destination_id: str | None) -> Claimant:
        return Claimant(await installation_id(self._pool), destination_id, self._store)


def require_passed(steps: Sequence[ProbeStep], *, field: str = "url") -> None:
    """Raise `DestinationTakenError` or `DestinationUnusableError` unless all steps have passed."""
    last = steps[-1]
    if last.passed:
        return
    raise (DestinationTakenError if last.code == TAKEN else DestinationUnusableError)(last, field=field)


def _sentence(step: ProbeStep) -> str:
    return " ".join(part for part in (step.message, step.fix, step.sql) if part)
