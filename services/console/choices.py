"""`connections choose`: which resources, fields and destinations a connection has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from services.console import completion
from services.console.client import ApiClient
from services.console.consent import consent, tell
from services.console.options import AsJson, ConnectionName, Yes
from services.console.picking import pick_connection, pick_destination
from services.console.screen import show_done, show_json
from services.console.task import WrongUseError, with_api

EXAMPLE = "charge:billing_details.address"
Names = list[str] | None


@dataclass(frozen=True, slots=True)
class Edit:
    """What a person wants to be different in a set."""

    add: Sequence[str]
    drop: Sequence[str]

    def of(self, current: Sequence[str]) -> list[str] | None:
        """Return the new set in its order; `None` when it is as it was."""
        kept = [one for one in current if one not in self.drop]
        wanted = [*kept, *(one for one in self.add if one not in kept)]
        return None if set(wanted) == set(current) else wanted


def choose(
    connection: ConnectionName,
    add: Annotated[Names, typer.Option(help="Sync this resource too; all its history is fetched.")] = None,
    drop: Annotated[Names, typer.Option(help="Sync this resource no longer; its rows stay as they are.")] = None,
    omit: Annotated[Names, typer.Option(help=f"Never write this field, such as {EXAMPLE}.")] = None,
    write: Annotated[Names, typer.Option(help="Write this field again, which was left out.")] = None,
    add_destination: Annotated[
        Names, typer.Option(help="Write to this destination too.", autocompletion=completion.destinations)
    ] = None,
    drop_destination: Annotated[
        Names, typer.Option(help="Write to this destination no longer.", autocompletion=completion.destinations)
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Choose resources, fields and destinations; each option may be given more than once."""

    async def change(api: ApiClient) -> None:
        found = await pick_connection(api, connection)
        body = {
            "resources": Edit(add or (), drop or ()).of(found["resources"]),
            "omitted_fields": _omitted(found["omitted_fields"], Edit(omit or (), write or ())),
            "destination_ids": Edit(await _ids(api, add_destination), await _ids(api, drop_destination)).of(
                found["destination_ids"]
            ),
        }
        wanted = {name: value for name, value in body.items() if value is not None}
        if not wanted:
            raise WrongUseError("Nothing would change: give at least one of --add, --drop, --omit, --write, …")
        losses = list(_losses(drop, omit, drop_destination))
        if losses and not yes:
            tell("\n".join(losses))
            consent("Go on?", yes=False)
        changed = await api.put(f"/v1/connections/{found['id']}/choice", wanted)
        if as_json:
            show_json(changed)
        else:
            show_done(f"{changed['name']} now syncs {len(changed['resources'])} resources.")

    with_api(change, as_json=as_json)


async def _ids(api: ApiClient, named: Names) -> list[str]:
    return [(await pick_destination(api, one))["id"] for one in named or ()]


def _omitted(current: dict[str, list[str]], edit: Edit) -> dict[str, list[str]] | None:
    """Return the paths by resource that are left out from now on; `None` when they are as they were."""
    fields = [f"{resource}:{path}" for resource, paths in current.items() for path in paths]
    wanted = edit.of(fields)
    if wanted is None:
        return None
    by_resource: dict[str, list[str]] = {}
    for field in wanted:
        resource, path = _split(field)
        by_resource.setdefault(resource, []).append(path)
    return by_resource


def _split(field: str) -> tuple[str, str]:
    resource, _, path = field.partition(":")
    if not (resource and path):
        raise WrongUseError(f"“{field}” names no field: give resource and path, such as {EXAMPLE}.", field="omit")
    return resource, path


def _losses(drop: Names, omit: Names, drop_destination: Names) -> Iterable[str]:
    """Say what does not come any more, or goes."""
    if drop:
        yield f"No longer synced: {', '.join(drop)}. Rows that were written stay."
    if omit:
        yield f"Never written again, and taken out of the rows that were: {', '.join(omit)}."
    if drop_destination:
        yield f"No longer written to: {', '.join(drop_destination)}. Rows that were written stay."
